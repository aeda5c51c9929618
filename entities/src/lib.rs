//! The ledger: its rows and its laws. Knows no key.

pub mod job;
