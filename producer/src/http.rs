//! The HTTP API: what other services and the dashboard ask of the ledger. Holds no key.
//!
//! One resource, one file. [`TABLE`] and [`PAGES`] say which right each route asks for; a route that is in neither is
//! answered to nobody. [`router`] puts them together, [`serve`] listens.

#![expect(clippy::result_large_err, reason = "a problem is made once, and answered")]

mod app;
mod audit;
mod auth;
mod batches;
mod bearer;
mod census;
mod cookie;
mod docs;
mod events;
mod guard;
mod guesses;
mod health;
mod hub;
mod idempotency;
mod keys;
mod listen;
mod local;
mod metrics;
mod operations;
mod paging;
mod problem;
mod rotations;
mod same_origin;
mod session;
pub(crate) mod steering;
mod table;
mod tell;
mod workers;

// What the dashboard's pages do is done here.
pub(crate) use {
    audit::export as export_audit,
    auth::Caller,
    batches::{filter as retry_filter, retry_matching, split_matching},
    events::events as live,
    health::queue as queue_health,
    keys::clear_if_ready as clear_key,
    local::local,
    operations::{asker_with as operations_asker, write_down as request_operation},
    paging::{Paging, page},
    rotations::{open as create_rotation, word},
    session::{sign_in, sign_out},
};

pub use app::{App, Rules, Settings};
pub use docs::{openapi, router};
pub use listen::{Listen, Listening, Tls, serve};
pub use problem::problem;
pub use table::{Access, PAGES, Route, TABLE};
