//! What can go wrong with a source, and what is done about it.

/// What is done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// Tried again in place: deadlock, serialization, lock time-out, connection.
    Transient,
    /// Tried again in halves: statement time-out, packet, memory.
    Size,
    /// Bisected to the row that causes it: constraint, trigger.
    Deterministic,
    /// The fence refused a cell: this worker's keyset is stale; it abandons its batch.
    Fenced,
    /// The table or the role does not fit; waits for a person.
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

    /// Says where.
    pub(super) fn at(self, path: &str) -> Self {
        Self { message: format!("{path}: {}", self.message), ..self }
    }

    fn new(kind: SourceErrorKind, code: &'static str, message: String) -> Self {
        Self { kind, code, message }
    }

    pub(crate) fn is(&self, kind: SourceErrorKind) -> bool {
        self.kind == kind
    }
}

/// What a statement is made to fail with that met a value which a trigger had changed.
pub(super) const ALTERED: &str = "reseal: altered";

/// SQLSTATE of our own refusals on PostgreSQL.
pub(super) const FENCED_SQLSTATE: &str = "RS001";

impl From<sqlx::Error> for SourceError {
    fn from(error: sqlx::Error) -> Self {
        use SourceErrorKind::{Deterministic, Fenced, Refused, Size, Transient};
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
                    Deterministic,
                    "source_type",
                    "the source returned a value of another type than its schema says".into(),
                ),
                _ => Self::new(Transient, "source_failed", "the connection to the source failed".into()),
            };
        };
        let code = db.code().unwrap_or_default().into_owned();
        let what = |text: &str| match (db.constraint(), db.table()) {
            (Some(constraint), _) => format!("{text} (code {code}, constraint {constraint})"),
            (None, Some(table)) => format!("{text} (code {code}, table {table})"),
            (None, None) => format!("{text} (code {code})"),
        };
        match code.as_str() {
            FENCED_SQLSTATE => Self::new(Fenced, "fenced", "the fence refused a cell under a retired key".into()),
            "1811" if db.message().starts_with("reseal:") => {
                Self::new(Fenced, "fenced", "the fence refused a cell under a retired key".into())
            }
            "22P02" if db.message().contains(ALTERED) => Self::altered(db.table().unwrap_or("the table")),
            "40001" | "40P01" => {
                Self::new(Transient, "source_conflict", what("the source resolved a conflict against us"))
            }
            "55P03" | "5" | "6" | "261" | "262" | "517" | "773" => {
                Self::new(Transient, "source_lock_timeout", what("a lock in the source was not free in time"))
            }
            "53300" | "57P01" | "57P02" | "57P03" => {
                Self::new(Transient, "source_unreachable", what("the source does not take connections"))
            }
            "13" | "53100" => Self::new(Transient, "source_disk_full", what("the source's disk is full")),
            "57014" => {
                Self::new(Size, "source_statement_timeout", what("a statement took longer than the source allows"))
            }
            "53200" | "54000" | "7" | "18" => {
                Self::new(Size, "source_too_large", what("a statement was too large for the source"))
            }
            "42501" => Self::new(Refused, "source_rights", what("the role lacks a right in the source")),
            "42P01" | "42703" | "3F000" => {
                Self::new(Refused, "source_schema", what("the source's schema is not what it was"))
            }
            "28P01" | "28000" | "3D000" => Self::new(Refused, "source_login", what("the source refused the login")),
            _ if code.starts_with("08") => {
                Self::new(Transient, "source_unreachable", what("the connection to the source failed"))
            }
            _ => Self::new(Deterministic, "write_refused", what("the source refused the statement")),
        }
    }
}
