//! What can be wrong with a KEK, and what to do then

use std::{io, path::PathBuf};

use super::KNOWN;
use crate::KeyId;

/// Why a KEK could not be opened, made or used; holds no secret
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KekError {
    /// The text has no scheme, or nothing behind it; it is not shown
    #[error("the kek uri has no scheme: known are {KNOWN}")]
    NotAUri,
    /// Only the scheme is shown
    #[error("unknown kek scheme {0:?}: known are {KNOWN}")]
    UnknownScheme(String),
    /// The scheme opens KEKs and cannot make one
    #[error("a {0}: kek cannot be made here: make it where it lives, or use file:PATH")]
    NotCreatable(String),
    /// No file there
    #[error("there is no KEK at {}: restore it from its backup, or, for a ledger without keys, make one with `reseal keys init`", .0.display())]
    FileMissing(PathBuf),
    /// A KEK is there already
    #[error("{} exists and is not overwritten: keys wrapped under it would be lost", .0.display())]
    AlreadyExists(PathBuf),
    /// Others than the owner may use the file
    #[error("{} has mode {mode:04o}, others may use it: chmod 600 {}", path.display(), path.display())]
    LoosePermissions {
        /// The file
        path: PathBuf,
        /// Its permission bits
        mode: u32,
    },
    /// The operating system's answer
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried
        action: &'static str,
        /// The file or directory
        path: PathBuf,
        /// Why it failed
        source: io::Error,
    },
    /// What follows `env:` is no variable's name; it is not shown
    #[error("env: needs a variable's name (letters, digits, _), not a value")]
    NotAVariable,
    /// The variable is not set
    #[error("the kek variable {0} is not set: set it to 32 bytes in base64")]
    VariableMissing(String),
    /// Not one line of standard base64
    #[error("the kek in {0} is not one line of standard base64")]
    BadBase64(String),
    /// Base64 of another number of bytes
    #[error("the kek in {place} has {length} bytes instead of 32")]
    WrongLength {
        /// The file or variable
        place: String,
        /// Bytes found
        length: usize,
    },
    /// The tag does not verify
    #[error(
        "the wrapped key {key_id} of keyset {keyset:?} does not unwrap: this is another kek than the one that wrapped it, or the row was altered or swapped; compare the kek ids"
    )]
    NotAuthentic {
        /// The keyset asked for
        keyset: String,
        /// The key asked for
        key_id: KeyId,
    },
    /// The tag of an exported keyset does not verify
    #[error(
        "the encrypted keyset does not open for keyset {keyset:?}: it was encrypted under another kek, for another name, or altered; compare the kek ids, and import it under the name that it was exported from"
    )]
    KeysetNotAuthentic {
        /// The name that it was tried for
        keyset: String,
    },
    /// The bytes are not laid out as a wrapped key
    #[error(
        "the wrapped key {key_id} of keyset {keyset:?} is truncated or of another version: try `reseal keys recover`"
    )]
    WrappedMalformed {
        /// The keyset asked for
        keyset: String,
        /// The key asked for
        key_id: KeyId,
    },
    /// It authenticates and is no DEK
    #[error("the wrapped key {key_id} of keyset {keyset:?} unwraps to {length} bytes instead of 16 or 32")]
    DekLength {
        /// The keyset asked for
        keyset: String,
        /// The key asked for
        key_id: KeyId,
        /// Bytes found
        length: usize,
    },
}

impl KekError {
    /// Stable: what the ledger, the API and alerts group by
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAUri => "kek_not_a_uri",
            Self::UnknownScheme(_) => "kek_unknown_scheme",
            Self::NotCreatable(_) => "kek_not_creatable",
            Self::FileMissing(_) | Self::VariableMissing(_) => "kek_missing",
            Self::AlreadyExists(_) => "kek_exists",
            Self::LoosePermissions { .. } => "kek_loose_permissions",
            Self::Io { .. } => "kek_io",
            Self::NotAVariable => "kek_not_a_variable",
            Self::BadBase64(_) => "kek_bad_base64",
            Self::WrongLength { .. } => "kek_wrong_length",
            Self::NotAuthentic { .. } | Self::KeysetNotAuthentic { .. } => "kek_not_authentic",
            Self::WrappedMalformed { .. } => "wrapped_malformed",
            Self::DekLength { .. } => "dek_wrong_length",
        }
    }
}
