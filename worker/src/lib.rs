//! Runs the engine off the queue; knows no HTTP.
//!
//! [`run`] is the whole worker: it hears the queue's messages and performs them in lanes, runs the
//! dispatch loop and tells the ledger that it is alive, until it is asked to stop or cannot work.
//! What the messages mean is behind [`Steps`].

mod crew;
mod drain;
mod engine;
mod jobs;
mod loops;
mod pace;
mod presence;
mod process;
mod pulse;
mod run;

pub use drain::Drain;
pub use engine::EngineSteps;
pub use jobs::{Asked, Steps};
pub use presence::{Jobs, Presence, State, WorkerName};
pub use process::protect_keys;
pub use run::{RunOptions, Summary, WorkerError, run};
