//! plan → re-encrypt → prove → clear. Knows no queue: a job is a value, the queue a small trait.
//!
//! One step, one file, in the order of the story. Every step can be dropped or killed at any line and
//! done again by another worker; the ledger decides what is due.

mod engine;
mod error;
mod heard;
mod retry;

pub mod keys;
pub mod source;

mod blame;
mod blocked;
mod chunk;
mod chunk_size;
mod durable;
mod fences;
mod length;
mod memo;
mod older;
mod opened;
mod owner;
mod pace;
mod patience;
mod ready;
mod resolve;
mod samples;
mod split;
mod step;
mod sweep;
mod throttle;
mod walk;
mod wipe;

pub mod plan;

pub mod dry_run;

pub mod dispatch;

pub mod reencrypt;

pub mod prove;

pub mod clear;

pub mod census;

pub mod check;

pub mod operate;

pub mod operation;

pub use engine::{Engine, Stop};
pub use error::EngineError;
pub use step::Stepped;
