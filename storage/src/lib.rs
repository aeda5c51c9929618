//! The application's side: encrypted tables that live through rotations; knows no engine and no queue
//!
//! ```no_run
#![doc = include_str!("../examples/ten_lines.rs")]
//! ```
//!
//! [`Storage`] keeps the keysets of one ledger fresh in memory. A [`Field`] says which column of an
//! entity is encrypted, and how; [`Storage::messages`], [`Storage::user_profiles`] and
//! [`Storage::sync_queue`] are ready-made. Every function runs on a connection or in the caller's
//! transaction. `docs/storage.md` says what is guaranteed, and at what price.

mod agreed;
mod cells;
mod counters;
mod error;
mod field;
#[cfg(feature = "http")]
pub mod http;
mod keysets;
mod options;
mod payload;
mod presence;
mod rekey;
mod rows;
mod storage;
mod tables;
mod transaction;

pub use counters::Counters;
pub use error::{Fenceable, FieldFault, Refused, StorageError, is_fenced};
pub use field::{Cell, Field, Fields, KeyOf};
pub use options::Options;
pub use payload::{Bytes, Json, Payload, Text, Wiping};
pub use reseal_entities::ledger::Ledger;
pub use reseal_keyring::{Encoding, Format, Kek, KeyId, Layout, kek};
pub use storage::Storage;
pub use tables::{Entry, Messages, SyncQueue, UserProfiles};
pub use transaction::Begin;
