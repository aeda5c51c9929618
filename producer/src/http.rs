//! The HTTP API: what other services and the dashboard ask of the ledger. Holds no key.
//!
//! One resource, one file. [`TABLE`] says which right each route asks for; a route that is not in it is answered
//! to nobody. [`router`] puts them together, [`serve`] listens.

#![expect(clippy::result_large_err, reason = "a problem is made once, and answered")]

mod app;
mod audit;
mod auth;
mod batches;

mod census;
mod docs;
mod events;
mod guard;
mod guesses;
mod health;
mod hub;
mod idempotency;
mod keys;
mod listen;
mod metrics;

mod operations;
mod paging;
mod problem;
mod rotations;
mod steering;
mod table;
mod tell;
mod workers;

pub use app::{App, Rules, Settings};
pub use docs::{openapi, router};
pub use listen::{Listen, Listening, Tls, serve};
pub use problem::problem;
pub use table::{Access, Route, TABLE};
