//! The promises of the ledger, on every database.
//!
//! Each test runs on PostgreSQL and on SQLite, in a database of its own ([`ground`]).

mod approval;
mod asking_twice;
mod audit;
mod claim;
mod close;
mod dispatch;
mod ground;
mod guards;
mod laws;
mod laws_on_batches;
mod laws_on_rotations;
mod migrating;
mod open;
mod requests;
mod retry;
mod rows;
mod schema;
mod tables;
mod tokens;
mod waiting;
