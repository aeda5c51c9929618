//! The promises of the ledger, on every database.
//!
//! Each test runs on PostgreSQL and on SQLite, in a database of its own ([`ground`]).

mod audit;
mod claim;
mod close;
mod dispatch;
mod ground;
mod guards;
mod laws;
mod laws_on_batches;
mod laws_on_rotations;
mod limits;
mod migrating;
mod open;
mod retry;
mod rows;
mod samples;
mod schema;
mod tables;
mod waiting;
