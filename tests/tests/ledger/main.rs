//! The promises of the ledger, on every database.
//!
//! Each test runs on PostgreSQL and on SQLite, in a database of its own ([`ground`]).

mod approval;
mod asking_twice;
mod attempts;
mod audit;
mod claim;
mod clearing;
mod clocks;
mod close;
mod deadlocks;
mod dispatch;
mod exemptions;
mod failures;
mod ground;
mod guards;
mod laws;
mod laws_on_batches;
mod laws_on_rotations;
mod limits;
mod migrating;
mod open;
mod operations;
mod operations_at_work;
mod presence;
mod requests;
mod retry;
mod retry_by_filter;
mod retry_counted;
mod rows;
mod samples;
mod schema;
mod sessions;
mod split;
mod standing_still;
mod strip;
mod tables;
mod tokens;
mod waiting;
