//! What can go wrong; nothing here shows a value

use std::{error::Error, fmt};

use reseal_entities::ledger::LedgerError;
use reseal_keyring::{CellError, KekError, KeyId, TemplateError, UnwrapError};
use sea_orm::{DbErr, RuntimeErr};

/// Why a value was not stored or not read
///
/// Neither `Display` nor `Debug` shows a value or a cell. A place is `table.column:key`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The application's database; `Debug` of what is in here would show the failing row
    #[error("the application's database failed: {0}")]
    Database(DbErr),
    /// The ledger, where no keyset in memory could stand in for it
    #[error("no usable keyset: {0}")]
    Ledger(LedgerError),
    /// The KEK could not be opened
    #[error(transparent)]
    Kek(#[from] KekError),
    /// The ledger's keys make no keyset with this KEK
    #[error("keyset `{keyset}`: {error}")]
    Keys {
        /// The keyset
        keyset: String,
        /// Why not
        error: UnwrapError,
    },
    /// The ledger has no key of that name
    #[error("the ledger has no keyset `{0}`: make its first key with `reseal keys create {0}`")]
    NoKeyset(String),
    /// The ledger has not confirmed the keyset for too long: its active key may be retired by now, and destroyed soon.
    /// Nothing was encrypted; reading goes on
    #[error(
        "keyset `{keyset}` was not confirmed for too long, so nothing is encrypted until the ledger answers again: {error}"
    )]
    Unconfirmed {
        /// The keyset
        keyset: String,
        /// Why the ledger could not be asked
        error: Box<StorageError>,
    },
    /// A cell was refused
    #[error("{place}: {error}")]
    Cell {
        /// Table, column and key
        place: String,
        /// Why
        error: CellError,
    },
    /// The value stands under a key that is about to be destroyed. Its clearing is held where this instance may do
    /// that, so nothing is lost as long as a person looks
    #[error(
        "{place}: its key {key_id} is suspended, and about to be destroyed unless that is held: see `reseal status`; \
         `reseal cancel` or `reseal rollback` lets it be read again"
    )]
    Suspended {
        /// Table, column and key
        place: String,
        /// The suspended key
        key_id: KeyId,
    },
    /// The field is not what its entity or the ledger's catalog says of the column; nothing was written
    #[error("{place}: {why}")]
    Field {
        /// Table and column
        place: String,
        /// What is wrong
        fault: FieldFault,
        /// Both sides, in words
        why: String,
    },
    /// The value cannot be written as its type, or what was decrypted is none of it
    #[error("{place}: the value is not {expected}")]
    Payload {
        /// Table, column and key
        place: String,
        /// What it should be
        expected: &'static str,
    },
    /// The field's associated data is no template over the primary key
    #[error("{place}: {error}")]
    Template {
        /// Table and column
        place: String,
        /// Why
        error: TemplateError,
    },
    /// A primary key of a type that has no canonical text
    #[error("{0}: its primary key is neither integers, uuids, text nor bytes, or not all of it is there")]
    Key(String),
    /// The fence refused a write: the key was retired. The keyset was reloaded; where a transaction was
    /// aborted by it, run that again, as [`Storage::transaction`](crate::Storage::transaction) does
    #[error(transparent)]
    Fenced(#[from] Refused),
    /// The fence refused a value that is no cell, from a statement of the application's own: running it again does not
    /// help. Encrypt the value with [`Storage::seal`](crate::Storage::seal), or write it through [`Storage`](crate::Storage)
    #[error(
        "the fence refused a value that is not encrypted: encrypt it before it is stored, running this again does not help"
    )]
    NotEncrypted,
    /// The row was changed by others each time it was tried
    #[error("{0}: changed by others at each of several tries: try again")]
    Contended(String),
    /// A statement failed in the transaction, and its error was not passed on
    #[error(
        "the transaction was aborted by a statement whose error was swallowed: nothing of it is kept, pass errors on"
    )]
    Aborted,
    /// An option has no use
    #[error("{0}")]
    Option(&'static str),
}

/// What is wrong with a field
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldFault {
    /// The entity's column holds text and the field's cells are bytes, or text where bytes are
    ColumnType,
    /// The catalog has another keyset, template, key, format or encoding
    Differs,
    /// The catalog has columns of this keyset and not this one
    NotRegistered,
    /// The catalog could not be read
    Unchecked,
    /// A changed key leaves out a field that is bound to it
    Missing,
    /// A row sets another encrypted column to a plaintext
    Plaintext,
}

impl FieldFault {
    /// Stable: for an application to decide and to group by
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::ColumnType => "field_column_type",
            Self::Differs => "field_differs",
            Self::NotRegistered => "field_not_registered",
            Self::Unchecked => "field_unchecked",
            Self::Missing => "field_missing",
            Self::Plaintext => "plaintext_in_row",
        }
    }
}

/// The fence refused a cell under a retired key
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fence refused a value under a retired key: the keyset is reloaded, run the transaction again")]
pub struct Refused;

impl StorageError {
    /// Stable: for an application to decide and to group by
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Database(_) => "database_failed",
            Self::Ledger(e) => e.code(),
            Self::Kek(e) => e.code(),
            Self::Keys { error, .. } => error.code(),
            Self::NoKeyset(_) => "no_keyset",
            Self::Unconfirmed { .. } => "keyset_unconfirmed",
            Self::Cell { error, .. } => error.code(),
            Self::Suspended { .. } => "key_suspended",
            Self::Field { fault, .. } => fault.code(),
            Self::Payload { .. } => "payload_malformed",
            Self::Template { error, .. } => error.code(),
            Self::Key(_) => "key_type",
            Self::Fenced(_) => "fenced",
            Self::NotEncrypted => "not_encrypted",
            Self::Contended(_) => "contended",
            Self::Aborted => "transaction_aborted",
            Self::Option(_) => "option",
        }
    }
}

// Not derived: Debug of a DbErr prints PostgreSQL's DETAIL, with the failing row.
impl fmt::Debug for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.code())
    }
}

impl From<DbErr> for StorageError {
    fn from(error: DbErr) -> Self {
        match () {
            () if refused_by_fence(&error) => Self::Fenced(Refused),
            () if refused_as_plaintext(&error) => Self::NotEncrypted,
            () => Self::Database(error),
        }
    }
}

/// An error that can say whether a fence is behind it, so that a transaction is run again
///
/// For an error type of one's own that is one line: `reseal_storage::is_fenced(self)`.
pub trait Fenceable {
    /// The fence refused a write
    fn is_fenced(&self) -> bool;
}

impl Fenceable for StorageError {
    fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced(_))
    }
}

impl Fenceable for Box<dyn Error + Send + Sync> {
    fn is_fenced(&self) -> bool {
        is_fenced(&**self)
    }
}

/// Whether the fence is behind an error, or behind one of its sources
#[must_use]
pub fn is_fenced(error: &(dyn Error + 'static)) -> bool {
    let mut at = Some(error);
    while let Some(error) = at {
        if error.is::<Refused>()
            || error.downcast_ref::<StorageError>().is_some_and(Fenceable::is_fenced)
            || error.downcast_ref::<DbErr>().is_some_and(refused_by_fence)
        {
            return true;
        }
        at = error.source();
    }
    false
}

/// How SQLite's trigger begins its refusal of what is no cell.
const NOT_ENCRYPTED: &str = "reseal: this column takes only encrypted values,";

/// PostgreSQL's trigger raises RS001 and its constraint is called after the fence; SQLite's trigger
/// aborts (1811) with our words.
pub(crate) fn refused_by_fence(error: &DbErr) -> bool {
    with_code(error, |code, message, constraint| match code {
        "RS001" => true,
        "23514" => constraint.is_some_and(|name| name.starts_with("zz_reseal_fence_")),
        "1811" => message.starts_with("reseal:") && !message.starts_with(NOT_ENCRYPTED),
        _ => false,
    })
}

/// The fence refused a value that no key encrypted: no reload of a keyset helps.
fn refused_as_plaintext(error: &DbErr) -> bool {
    with_code(error, |code, message, _| code == "RS002" || (code == "1811" && message.starts_with(NOT_ENCRYPTED)))
}

/// An earlier statement of the transaction failed.
pub(crate) fn aborted(error: &DbErr) -> bool {
    with_code(error, |code, _, _| code == "25P02")
}

/// The role may not, or the table is not there.
pub(crate) fn not_allowed(error: &LedgerError) -> bool {
    let LedgerError::Database(error) = error else { return false };
    with_code(error, |code, message, _| matches!(code, "42501" | "42P01") || message.contains("no such table"))
}

fn with_code(error: &DbErr, is: impl Fn(&str, &str, Option<&str>) -> bool) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(e)) | DbErr::Query(RuntimeErr::SqlxError(e))) = error else { return false };
    let Some(e) = e.as_database_error() else { return false };
    e.code().is_some_and(|code| is(&code, e.message(), e.constraint()))
}
