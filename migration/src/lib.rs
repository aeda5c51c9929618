//! The schema of the ledger and of the reference tables, in order
