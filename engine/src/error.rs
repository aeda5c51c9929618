//! Why a step of the engine did not go on.

use crate::source::SourceError;
use reseal_entities::ledger::LedgerError;
use reseal_keyring::{BackupError, CellError, KekError, TemplateError, TinkError, UnwrapError};

/// Why a step did not go on. Its text never carries a value of a row or a key.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A source.
    #[error("{0}")]
    Source(#[from] SourceError),
    /// The KEK.
    #[error(transparent)]
    Kek(#[from] KekError),
    /// A keyset whose keys do not open or do not fit together.
    #[error(transparent)]
    Keyset(#[from] UnwrapError),
    /// A keyset that does not hold together.
    #[error(transparent)]
    Trial(#[from] reseal_keyring::KeysetError),
    /// A key that does not work.
    #[error("the key does not encrypt and decrypt: {0}")]
    Probe(#[from] CellError),
    /// The backup of the wrapped keys.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// An associated data template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A Tink keyset.
    #[error(transparent)]
    Tink(#[from] TinkError),
    /// Not possible or not allowed; the text says what to do.
    #[error("{message}")]
    Refused {
        /// Stable.
        code: &'static str,
        /// What happened, then what to do.
        message: String,
    },
}

impl EngineError {
    /// A refusal with a stable code.
    pub fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }

    /// The stable code of it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ledger(e) => e.code(),
            Self::Source(e) => e.code,
            Self::Kek(e) => e.code(),
            Self::Keyset(e) => e.code(),
            Self::Trial(e) => e.code(),
            Self::Probe(e) => e.code(),
            Self::Backup(e) => e.code(),
            Self::Template(e) => e.code(),
            Self::Tink(e) => e.code(),
            Self::Refused { code, .. } => code,
        }
    }

    /// What is outside a batch is at fault, so that no batch is given up for it: a source, a ledger or a KEK that is
    /// away or set up in another way works again some day.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self, Self::Source(_) | Self::Ledger(_) | Self::Kek(_))
    }

    /// Its text for whoever asked, who need not see what a driver says of the ledger.
    pub fn told(&self) -> String {
        match self {
            Self::Ledger(LedgerError::Database(_)) => "the ledger's database failed: see the worker's log".to_owned(),
            told => told.to_string(),
        }
    }
}

impl From<sea_orm::DbErr> for EngineError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Ledger(error.into())
    }
}
