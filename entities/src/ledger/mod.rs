//! Every statement that reads or changes the ledger.
//!
//! A statement that changes a state carries its condition in its `WHERE`, taken from the law in
//! [`crate::state`], and its name says it. What returns `false` or `None` changed nothing. Time is
//! the database's; transactions that write begin IMMEDIATE on SQLite.

pub mod approve;
pub mod attempts;
pub mod audit;
pub mod cancel;
pub mod catalog;
pub mod claim;
pub mod clear;
pub mod clearing;
pub mod close;
pub mod compromise;
pub mod connect;
pub mod dispatch;
pub mod exclude;
pub mod failures;
pub mod faults;
mod file;
mod gate;
pub mod hold;
pub mod keys;
pub mod open;
pub mod operations;
pub mod pages;
pub mod plan;
pub mod pooled;
pub mod presence;
pub mod prove;
pub mod quarantine;
pub mod reach;
pub mod read;
pub mod report;
pub mod retry;
pub mod samples;
pub mod scope;
mod secrets;
pub mod sessions;
pub mod sources;
pub mod split;
pub mod steps;
pub mod strip;
mod summary;
pub mod throttle;
pub mod time;
mod time_left;
pub mod tokens;
pub mod writers;

pub use connect::Ledger;
pub use summary::length;
pub use time::now_ms;

use crate::state::Law;
use sea_orm::{ColumnTrait, DbErr, Value, sea_query::SimpleExpr};

/// Why the ledger did not do as asked. Nothing of the call was kept.
#[derive(thiserror::Error)]
pub enum LedgerError {
    /// The database failed; the text is the driver's short one, without the row.
    #[error("the ledger's database failed: {}", without_source_line(.0))]
    Database(DbErr),
    /// Somebody else holds the step or the batch now.
    #[error("somebody else holds it now (lease lost)")]
    LeaseLost,
    /// Asked for something that is not there or not allowed; the text says what to do.
    #[error("{message}")]
    Refused {
        /// Stable.
        code: &'static str,
        /// What happened, then what to do.
        message: String,
    },
}

impl LedgerError {
    /// A refusal with a stable code.
    pub fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }

    /// The stable code of it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Database(_) => "ledger_failed",
            Self::LeaseLost => "lease_lost",
            Self::Refused { code, .. } => code,
        }
    }
}

// Not derived: Debug of a DbErr prints PostgreSQL's DETAIL, with the failing row.
impl std::fmt::Debug for LedgerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl From<DbErr> for LedgerError {
    fn from(error: DbErr) -> Self {
        match error {
            DbErr::Custom(text) if text.starts_with(file::REPLACED) => Self::refused("ledger_replaced", text),
            other => Self::Database(other),
        }
    }
}

/// PostgreSQL's driver appends the line of PostgreSQL's own source at which it failed.
fn without_source_line(error: &DbErr) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((said, line)) if line.chars().all(|c| c.is_ascii_digit()) => said.to_owned(),
        _ => text,
    }
}

/// `column IN (the states from which event may happen)`.
pub(crate) fn may<L: Law + Into<Value>>(column: impl ColumnTrait, event: L::Event) -> SimpleExpr {
    column.is_in(L::edge(event).0.iter().copied())
}

/// The state in which `event` ends.
pub(crate) fn after<L: Law>(event: L::Event) -> L {
    L::edge(event).1
}
