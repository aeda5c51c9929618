//! Why a Tink keyset cannot be imported

use crate::KeyId;

/// Names the key and what is not supported; never shows key bytes
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TinkError {
    /// Shows the place only: the parser's own words can quote a key
    #[error("not a tink keyset in JSON: line {line}, column {column}; a binary one is read with --format tink-binary")]
    Json {
        /// From 1
        line: usize,
        /// From 1
        column: usize,
    },
    /// No message, or another one
    #[error(
        "not a tink keyset in binary protobuf: it is truncated, or of another format; JSON is read with --format tink-json"
    )]
    Binary,
    /// It needs the AEAD that encrypted it
    #[error("the keyset is encrypted: say with --under what decrypts it")]
    Encrypted,
    /// It needs none
    #[error("the keyset is in the clear: say --insecure-cleartext instead of --under")]
    NotEncrypted,
    /// Neither keys nor ciphertext
    #[error("not an encrypted tink keyset: it has no ciphertext")]
    NoCiphertext,
    /// Nothing to import
    #[error("the keyset has no keys")]
    NoKeys,
    /// No `primaryKeyId`
    #[error("the keyset has no primary key: promote one with tink first")]
    MissingPrimary,
    /// `primaryKeyId` names none of the keys
    #[error("the primary key {0} is not in the keyset")]
    UnknownPrimary(KeyId),
    /// A key without id, or with id 0
    #[error("a key has no id, or id 0: cells could not name it")]
    ZeroKeyId,
    /// Two keys with one id
    #[error("key id {0} is there twice: tink would try both, cells here name one")]
    DuplicateKeyId(KeyId),
    /// Another primitive
    #[error("key {key_id} is of type {name}: supported are AesGcmKey, AesGcmSivKey and XChaCha20Poly1305Key")]
    Type {
        /// The key
        key_id: KeyId,
        /// Its type, without Tink's package when that is usual
        name: String,
    },
    /// Not a symmetric key in the clear
    #[error("key {key_id} ({name}) has material type {found}: only SYMMETRIC is supported")]
    Material {
        /// The key
        key_id: KeyId,
        /// Its type
        name: &'static str,
        /// What it says
        found: String,
    },
    /// Cells without a key id, or with another prefix
    #[error("key {key_id} ({name}) has output prefix {found}: supported are TINK, and RAW for an AesGcmKey")]
    Prefix {
        /// The key
        key_id: KeyId,
        /// Its type
        name: &'static str,
        /// What it says
        found: String,
    },
    /// Disabled, or of an unknown status
    #[error("key {key_id} ({name}) is {found}: enable it, or remove it from the keyset first")]
    Status {
        /// The key
        key_id: KeyId,
        /// Its type
        name: &'static str,
        /// What it says
        found: String,
    },
    /// Not base64, or not a key message of version 0
    #[error("key {key_id} ({name}) has a value that is no {name} of version 0")]
    Value {
        /// The key
        key_id: KeyId,
        /// Its type
        name: &'static str,
    },
    /// A length that the algorithm does not have, or that nobody should use
    #[error("key {key_id} ({name}) has {bits} bits: supported are {}", supported.iter().map(usize::to_string).collect::<Vec<_>>().join(" and "))]
    KeyLength {
        /// The key
        key_id: KeyId,
        /// Its type
        name: &'static str,
        /// Bits found
        bits: usize,
        /// Bits that its type may have
        supported: Vec<usize>,
    },
}

impl TinkError {
    /// Stable: what the CLI and the API group by
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json { .. } => "tink_json",
            Self::Binary => "tink_binary",
            Self::Encrypted => "tink_encrypted",
            Self::NotEncrypted => "tink_not_encrypted",
            Self::NoCiphertext => "tink_no_ciphertext",
            Self::NoKeys => "tink_no_keys",
            Self::MissingPrimary => "tink_missing_primary",
            Self::UnknownPrimary(_) => "tink_unknown_primary",
            Self::ZeroKeyId => "tink_zero_key_id",
            Self::DuplicateKeyId(_) => "tink_duplicate_key_id",
            Self::Type { .. } => "tink_type",
            Self::Material { .. } => "tink_material",
            Self::Prefix { .. } => "tink_prefix",
            Self::Status { .. } => "tink_status",
            Self::Value { .. } => "tink_value",
            Self::KeyLength { .. } => "tink_key_length",
        }
    }
}
