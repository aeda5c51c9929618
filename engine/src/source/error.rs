//! What can go wrong with a source, and what is done about it.
//!
//! A row is at fault only where the database says that its values break a rule: integrity, data, or an error that a
//! trigger raised. Every other code, unknown ones included, is the source's fault: no row is to blame for a server that
//! is read-only, full, shut down or set up in another way.

use sqlx::{error::DatabaseError, postgres::PgDatabaseError};

/// What is done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// Tried again in place: deadlock, serialization, lock time-out, connection. Then the source is at fault.
    Transient,
    /// Tried again in halves: statement time-out, packet, memory. Where one row is left, the source is at fault.
    Size,
    /// Bisected to the row that causes it: integrity, data, a raised error. The row is at fault where others pass.
    Row,
    /// The fence refused a cell: this worker's keyset is stale; it abandons its batch.
    Fenced,
    /// The source is at fault: its table, role, settings or state. Its batches pause until that has changed.
    Refused,
}

/// A failure of a source. Its text is ours, or a code: a driver's text can carry a row's values.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What is done about it.
    pub kind: SourceErrorKind,
    /// Stable.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl SourceError {
    pub(crate) fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: SourceErrorKind::Refused, code, message: message.into() }
    }

    /// A trigger stored something else than what was written.
    pub(super) fn altered(table: &str) -> Self {
        Self::refused(
            "value_altered",
            format!(
                "a trigger on {table} changes re-encrypted values before they are stored, which would destroy them, so nothing \
                 of the chunk was kept: let the trigger leave encrypted columns alone"
            ),
        )
    }

    pub(super) fn lock_timeout(message: impl Into<String>) -> Self {
        Self::new(SourceErrorKind::Transient, "source_lock_timeout", message.into())
    }

    /// Says where.
    pub(super) fn at(self, path: &str) -> Self {
        Self { message: format!("{path}: {}", self.message), ..self }
    }

    fn new(kind: SourceErrorKind, code: &'static str, message: String) -> Self {
        Self { kind, code, message }
    }

    /// Tried again later it may go through: a lock, a statement that took too long, a connection.
    pub(crate) fn passes(&self) -> bool {
        matches!(self.kind, SourceErrorKind::Transient | SourceErrorKind::Size)
    }

    pub(crate) fn is(&self, kind: SourceErrorKind) -> bool {
        self.kind == kind
    }
}

/// What a statement is made to fail with that met a value which a trigger had changed.
pub(super) const ALTERED: &str = "reseal: altered";

/// What a statement is made to fail with where a trigger runs that was not there when the table was looked at.
pub(super) const WATCHED: &str = "reseal: watched";
/// The code of that; no caller sees it.
pub(super) const WATCHED_CODE: &str = "source_watched";

/// SQLSTATE of our own refusals on PostgreSQL.
pub(super) const FENCED_SQLSTATE: &str = "RS001";
/// The same for a value that is no cell.
pub(super) const NOT_ENCRYPTED_SQLSTATE: &str = "RS002";

impl From<sqlx::Error> for SourceError {
    fn from(error: sqlx::Error) -> Self {
        use SourceErrorKind::{Refused, Row, Transient};
        let Some(db) = error.as_database_error() else {
            return match error {
                sqlx::Error::Io(e) => {
                    Self::new(Transient, "source_unreachable", format!("the source cannot be reached: {}", e.kind()))
                }
                sqlx::Error::PoolTimedOut => {
                    Self::new(Transient, "source_busy", "no connection to the source became free in time".into())
                }
                sqlx::Error::Tls(_) => {
                    Self::new(Refused, "source_tls", "the TLS handshake with the source failed".into())
                }
                sqlx::Error::Configuration(_) => Self::new(Refused, "source_url", "the source's URL is not one".into()),
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::new(
                    Row,
                    "source_type",
                    "the source returned a value of another type than its schema says".into(),
                ),
                _ => Self::new(Transient, "source_failed", "the connection to the source failed".into()),
            };
        };
        if let Some(postgres) = db.try_downcast_ref::<PgDatabaseError>() {
            return of_postgres(postgres);
        }
        match db.code().as_deref().map(str::parse) {
            Some(Ok(code)) => of_sqlite(db, code),
            _ => Self::new(Transient, "source_failed", "the connection to the source failed".into()),
        }
    }
}

fn fenced() -> SourceError {
    SourceError::new(SourceErrorKind::Fenced, "fenced", "the fence refused a cell under a retired key".into())
}

/// By SQLSTATE.
fn of_postgres(db: &PgDatabaseError) -> SourceError {
    use SourceErrorKind::{Refused, Row, Size, Transient};
    let code = db.code();
    let what = |text: &str| match (db.constraint(), db.table()) {
        (Some(constraint), Some(table)) => format!("{text} (code {code}, table {table}, constraint {constraint})"),
        (Some(constraint), None) => format!("{text} (code {code}, constraint {constraint})"),
        (None, Some(table)) => format!("{text} (code {code}, table {table})"),
        (None, None) => format!("{text} (code {code})"),
    };
    let (kind, ours, text) = match code {
        FENCED_SQLSTATE | NOT_ENCRYPTED_SQLSTATE => return fenced(),
        "22P02" if db.message().contains(WATCHED) => {
            return SourceError::refused(WATCHED_CODE, "a trigger came since the table was looked at");
        }
        "22P02" if db.message().contains(ALTERED) => return SourceError::altered(db.table().unwrap_or("the table")),
        "40001" | "40P01" => (Transient, "source_conflict", "the source resolved a conflict against us"),
        "55P03" => (Transient, "source_lock_timeout", "a lock in the source was not free in time"),
        "53300" | "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03" | "25P04" => {
            (Transient, "source_unreachable", "the source does not take connections, or ended this one")
        }
        "53100" => (Transient, "source_disk_full", "the source's disk is full"),
        "25006" => (Refused, "source_read_only", "the source is read-only"),
        "57014" => (Size, "source_statement_timeout", "a statement took longer than the source allows"),
        "53200" | "54000" => (Size, "source_too_large", "a statement was too large for the source"),
        "55000" if db.message().contains("replica identity") => (
            Refused,
            "source_refused",
            "the table is in a publication and has no replica identity, so that no row can be updated: give it one",
        ),
        "42501" => (Refused, "source_rights", "the role lacks a right in the source"),
        "42P01" | "42703" | "3F000" => (Refused, "source_schema", "the source's schema is not what it was"),
        "28P01" | "28000" | "3D000" => (Refused, "source_login", "the source refused the login"),
        _ if code.starts_with("08") => (Transient, "source_unreachable", "the connection to the source failed"),
        _ if is_raised(db) => {
            let function = raised_in(db).map(|name| format!(" in trigger function {name}")).unwrap_or_default();
            return SourceError::new(Row, "write_refused", what(&format!("the source raised an error{function}")));
        }
        _ if code.starts_with("22") || code.starts_with("23") => {
            (Row, "write_refused", "the source refused the row's values")
        }
        _ => (Refused, "source_refused", "the source refused the statement"),
    };
    SourceError::new(kind, ours, what(text))
}

/// By an error of PL/pgSQL's own class, or by RAISE, which may carry any code.
fn is_raised(db: &PgDatabaseError) -> bool {
    db.code().starts_with("P0") || db.routine() == Some("exec_stmt_raise")
}

/// `PL/pgSQL function NAME(…) line N at …`: the name is an identifier of the schema. The rest of the context can hold
/// values, and is dropped.
fn raised_in(db: &PgDatabaseError) -> Option<&str> {
    let (name, _) = db.r#where()?.lines().next()?.strip_prefix("PL/pgSQL function ")?.split_once('(')?;
    Some(name)
}

/// By the extended result code, whose low byte is the primary one.
fn of_sqlite(db: &dyn DatabaseError, code: u32) -> SourceError {
    use SourceErrorKind::{Refused, Row, Size, Transient};
    let (kind, ours, text) = match code & 0xff {
        19 if db.message().starts_with("reseal:") => return fenced(),
        19 if code == 1811 => (Row, "write_refused", "a trigger of the source raised an error"),
        19 | 20 => (Row, "write_refused", "the source refused the row's values"),
        5 | 6 => (Transient, "source_lock_timeout", "a lock in the source was not free in time"),
        4 | 9 | 10 | 15 | 17 => (Transient, "source_failed", "the source's file could not be read or written"),
        13 => (Transient, "source_disk_full", "the source's disk is full"),
        14 => (Transient, "source_unreachable", "the source's file, or the journal beside it, cannot be opened"),
        7 | 18 => (Size, "source_too_large", "a statement was too large for the source"),
        8 => (Refused, "source_read_only", "the source is read-only: its file, its folder or its connection"),
        11 | 26 => (
            Refused,
            "source_damaged",
            "the source's file is not a SQLite database, or is damaged or encrypted: restore it or correct the URL",
        ),
        3 | 23 => (Refused, "source_rights", "the source's file may not be used in this way"),
        _ => (Refused, "source_refused", "the source refused the statement"),
    };
    let missing = missing_in_sqlite(db.message()).map(|name| format!(", {name}")).unwrap_or_default();
    SourceError::new(kind, ours, format!("{text} (code {code}{missing})"))
}

/// What the schema names and this process does not have. Only these messages are shown: others can hold values.
fn missing_in_sqlite(message: &str) -> Option<&str> {
    let known = ["no such function: ", "no such collation sequence: ", "no such module: ", "no such table: "];
    known.iter().any(|start| message.starts_with(start)).then_some(message)
}
