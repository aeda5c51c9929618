//! The harness: real servers on free ports, Python's Tink as the witness, and the binary itself.
//!
//! Nothing that a test starts outlives the test process, however that ends; see [`Leash`].

mod browser;
mod databases;
mod eventually;
mod graph;
mod kms;
mod leash;
mod node;
mod pgbouncer;
mod port;
mod postgres;
mod proxy;
mod python;
mod redis;
mod reseal;
mod screenshots;

pub use browser::Browser;
pub use databases::{for_each_database, for_each_ledger};
pub use eventually::{eventually, wait_until};
pub use graph::Graph;
pub use kms::{Kms, shared_kms};
pub use leash::{Job, Leash, Output};
pub use node::node_modules;
pub use pgbouncer::PgBouncer;
pub use postgres::{Postgres, shared_postgres};
pub use proxy::Proxy;
pub use python::{python, run_python, spawn_python};
pub use redis::Redis;
pub use reseal::{Child, Reseal, example_bin, reseal_bin};
pub use rustix::process::Signal;
pub use screenshots::{keep_screenshots, screenshots_wanted};
