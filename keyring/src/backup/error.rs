//! What can be wrong with the key backup

use std::{io, path::PathBuf};

use crate::KeyId;

/// Why the key backup could not do as asked
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The operating system's answer
    #[error("{action} {}: the key backup must be writable and durable", path.display())]
    Io {
        /// What was tried
        action: &'static str,
        /// The file or directory
        path: PathBuf,
        /// Why it failed
        source: io::Error,
    },
    /// The file is not the record of the key that its name says
    #[error("{} is not a key's record: restore it or move it away", path.display())]
    Malformed {
        /// The file
        path: PathBuf,
    },
    /// The key is there with other wrapped bytes
    #[error("{} holds key {key_id} with other wrapped bytes: it was not touched, find out which of the two the ledger holds", path.display())]
    Conflict {
        /// The key
        key_id: KeyId,
        /// Its file
        path: PathBuf,
    },
}

impl BackupError {
    /// Stable: what the ledger, the API and alerts group by
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "backup_io",
            Self::Malformed { .. } => "backup_malformed",
            Self::Conflict { .. } => "backup_conflict",
        }
    }
}
