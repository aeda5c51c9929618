//! What can be wrong with a keyset

use crate::{Algorithm, KeyId, KeyState};

/// The invariant that does not hold
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysetError {
    /// Invariant 1
    #[error("a keyset needs a name")]
    NoName,
    /// Invariant 2
    #[error("the keyset has no keys: create one with `reseal keys create`")]
    NoKeys,
    /// Invariant 3
    #[error("0 is no key id")]
    ZeroKeyId,
    /// Invariant 4
    #[error("key id {0} is there twice")]
    DuplicateKeyId(KeyId),
    /// Invariant 5
    #[error("key {0} has version 0: versions begin at 1")]
    ZeroVersion(KeyId),
    /// Invariant 6
    #[error("key {0} has version {1}, which another key has too")]
    DuplicateVersion(KeyId, u32),
    /// Invariant 7
    #[error("key {0} is {1} and its DEK is missing: try `reseal keys recover`")]
    MissingDek(KeyId, KeyState),
    /// Invariant 8
    #[error("key {0} is destroyed and yet has a DEK")]
    DestroyedWithDek(KeyId),
    /// Invariant 9
    #[error("key {0} is for {1}, and its DEK has another length")]
    WrongDekLength(KeyId, Algorithm),
    /// Invariant 9
    #[error("key {0} is a raw key for {1}: raw cells are supported for AES-GCM only")]
    RawAlgorithm(KeyId, Algorithm),
    /// Invariant 10
    #[error(
        "a keyset has exactly one active key: if this one has none, `reseal keys create` makes active what an earlier command left"
    )]
    NotOneActive,
}

impl KeysetError {
    /// Stable: what the ledger, the API and alerts group by
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoName => "keyset_no_name",
            Self::NoKeys => "keyset_no_keys",
            Self::ZeroKeyId => "keyset_zero_key_id",
            Self::DuplicateKeyId(..) => "keyset_duplicate_key_id",
            Self::ZeroVersion(..) => "keyset_zero_version",
            Self::DuplicateVersion(..) => "keyset_duplicate_version",
            Self::MissingDek(..) => "keyset_missing_dek",
            Self::DestroyedWithDek(..) => "keyset_destroyed_with_dek",
            Self::WrongDekLength(..) => "keyset_wrong_dek_length",
            Self::RawAlgorithm(..) => "keyset_raw_algorithm",
            Self::NotOneActive => "keyset_not_one_active",
        }
    }
}
