//! The ledger: its rows and its laws. Knows no key.
//!
//! [`state`] holds the laws, one module per table the rows, and [`ledger`] every statement that
//! changes them. [`app`] are the reference tables.

pub mod state;

pub mod attempts;
pub mod audit;
pub mod audit_head;
pub mod batches;
pub mod catalog;
pub mod exclusions;
pub mod exemptions;
pub mod identity;
pub mod keys;
pub mod keysets;
pub mod operations;
pub mod planned_tables;
pub mod progress;
pub mod proofs;
pub mod quarantine;
pub mod rotation_keys;
pub mod rotations;
pub mod samples;
pub mod sessions;
pub mod source_addresses;
pub mod sources;
pub mod tokens;
pub mod workers;
pub mod writers;

pub mod app;
pub mod job;
pub mod key_limits;
pub mod ledger;
