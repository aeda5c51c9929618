//! Keys, the cells they encrypt, and the KEKs that wrap them; knows no database
//!
//! A [`Keyset`] holds every version of one logical key and is the only thing
//! that encrypts, decrypts and re-encrypts cells. A [`Kek`] wraps its DEKs for
//! the ledger and for the [`KeyBackup`]. [`tink`] carries them to and from
//! applications that use Tink, [`raw_key`] from those that use a bare AES key;
//! [`Template`] says what a cell is bound to.

mod algorithm;
pub mod associated_data;
pub mod backup;
pub mod cell;
mod cipher;
mod dek;
pub mod kek;
mod key;
mod keyset;
mod layout;
pub mod raw_key;
pub mod tink;

pub use algorithm::{Algorithm, Prefix, UnknownWord};
pub use associated_data::{Ambiguity, KeyKind, Template, TemplateError};
pub use backup::{BackupError, BackupRecord, KeyBackup};
pub use cell::{Cell, CellError};
pub use dek::{Dek, WrongDekLength};
pub use kek::{Kek, KekError};
pub use key::{KeyId, KeyState};
pub use keyset::{KeyInfo, Keyset, KeysetError, StoredKey, UnwrapError};
pub use layout::{Encoding, Format, Layout};
pub use raw_key::RawKeyError;
pub use tink::{ImportedKey, KeysetFormat, TinkError};
