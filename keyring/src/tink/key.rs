//! One key of a Tink keyset: what is supported, by name
//!
//! The three key messages have the same two fields that matter:
//!
//! ```proto
//! message AesGcmKey { uint32 version = 1; bytes key_value = 3; }
//! ```

use zeroize::Zeroizing;

use super::TinkError;
use crate::{Algorithm, Dek, KeyId, KeyInfo, Prefix};

pub(super) const TYPE_PREFIX: &str = "type.googleapis.com/google.crypto.tink.";
/// No type's name that is written here is longer
pub(super) const TYPE_LEN_MAX: usize = TYPE_PREFIX.len() + "XChaCha20Poly1305Key".len();
/// Bytes of the longest key message that is written here
pub(super) const VALUE_LEN_MAX: usize = 2 + 32;

const TYPES: [(&str, &[Algorithm]); 3] = [
    ("AesGcmKey", &[Algorithm::Aes128Gcm, Algorithm::Aes256Gcm]),
    ("AesGcmSivKey", &[Algorithm::Aes128GcmSiv, Algorithm::Aes256GcmSiv]),
    ("XChaCha20Poly1305Key", &[Algorithm::XChaCha20Poly1305]),
];

/// The words of the enums, from number 1
pub(super) const MATERIALS: &[&str] = &["SYMMETRIC", "ASYMMETRIC_PRIVATE", "ASYMMETRIC_PUBLIC", "REMOTE"];
pub(super) const STATUSES: &[&str] = &["ENABLED", "DISABLED", DESTROYED];
pub(super) const PREFIXES: &[&str] = &["TINK", "LEGACY", "RAW", "CRUNCHY"];
/// A key without material, which stays in a keyset so that its id is not used again
pub(super) const DESTROYED: &str = "DESTROYED";

/// The word that JSON has for an enum's number
pub(super) fn word(number: u32, words: &[&str]) -> String {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    index.and_then(|index| words.get(index)).map_or_else(|| number.to_string(), |word| (*word).to_owned())
}

const VERSION_TAG: u8 = 1 << 3;
const KEY_VALUE_TAG: u8 = (3 << 3) | 2;

/// A keyset as it was read; nothing of it is checked yet
pub(super) struct TinkKeyset {
    pub(super) primary: Option<KeyId>,
    pub(super) keys: Vec<TinkKey>,
}

/// One of its keys
pub(super) struct TinkKey {
    pub(super) type_url: String,
    /// None when the text is no base64
    pub(super) value: Option<Zeroizing<Vec<u8>>>,
    pub(super) material: String,
    pub(super) status: String,
    pub(super) key_id: KeyId,
    pub(super) prefix: String,
}

/// The key, if it is one that reads our cells
pub(super) fn check(key: &TinkKey) -> Result<(Algorithm, Prefix, Dek), TinkError> {
    let key_id = key.key_id;
    let short = key.type_url.strip_prefix(TYPE_PREFIX);
    let known = TYPES.iter().find(|(name, _)| short == Some(name));
    let Some(&(name, algorithms)) = known else {
        let name = short.unwrap_or(&key.type_url).to_owned();
        return Err(TinkError::Type { key_id, name });
    };
    if key.material != "SYMMETRIC" {
        let found = key.material.clone();
        return Err(TinkError::Material { key_id, name, found });
    }
    let prefix = match key.prefix.as_str() {
        "TINK" => Prefix::Tink,
        "RAW" if name == "AesGcmKey" => Prefix::Raw,
        other => return Err(TinkError::Prefix { key_id, name, found: other.to_owned() }),
    };
    if key.status != "ENABLED" {
        let found = key.status.clone();
        return Err(TinkError::Status { key_id, name, found });
    }
    let value = key.value.as_ref().and_then(|value| material(value));
    let bytes = value.ok_or(TinkError::Value { key_id, name })?;
    let algorithm = algorithms.iter().find(|algorithm| algorithm.key_len() == bytes.len());
    match (algorithm, Dek::from_slice(bytes)) {
        (Some(algorithm), Ok(dek)) => Ok((*algorithm, prefix, dek)),
        _ => {
            let supported: Vec<_> = algorithms.iter().map(|algorithm| 8 * algorithm.key_len()).collect();
            Err(TinkError::KeyLength { key_id, name, bits: 8 * bytes.len(), supported })
        }
    }
}

/// The key value of a version 0 key; `None` for whatever this cannot be sure of:
/// unknown, repeated or out-of-place fields, another version, bytes left over
fn material(mut bytes: &[u8]) -> Option<&[u8]> {
    if let [VERSION_TAG, version, rest @ ..] = bytes {
        if *version != 0 {
            return None;
        }
        bytes = rest;
    }
    // A length above 127 takes two bytes; no such key is that long.
    match bytes {
        [KEY_VALUE_TAG, length, value @ ..] if *length < 128 => (value.len() == usize::from(*length)).then_some(value),
        _ => None,
    }
}

/// The key message of a DEK
pub(super) fn value(dek: &Dek) -> Zeroizing<Vec<u8>> {
    let key = dek.expose_dek_bytes();
    let mut out = Zeroizing::new(Vec::with_capacity(2 + key.len()));
    out.extend([KEY_VALUE_TAG, u8::try_from(key.len()).expect("a DEK has 16 or 32 bytes")]);
    out.extend_from_slice(key);
    out
}

/// The name of its key message, without Tink's package
pub(super) fn type_name(info: &KeyInfo) -> &'static str {
    let of = TYPES.iter().find(|(_, algorithms)| algorithms.contains(&info.algorithm));
    of.expect("every algorithm has its key message").0
}

/// Its output prefix, as JSON says it and as protobuf numbers it
pub(super) fn prefix(info: &KeyInfo) -> (&'static str, u64) {
    match info.prefix {
        Prefix::Tink => ("TINK", 1),
        Prefix::Raw => ("RAW", 3),
    }
}
