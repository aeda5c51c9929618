//! Tink's keysets, in JSON and in binary protobuf, in the clear and encrypted: keys to and from
//! applications in any language
//!
//! Imported is what a [`Keyset`] can read: AES-GCM, AES-GCM-SIV and XChaCha20-Poly1305 with the
//! output prefix `TINK`, and AES-GCM with `RAW`. All of a keyset but its destroyed keys, or nothing of it.

mod error;
mod json;
mod key;
mod proto;
mod wire;

use std::collections::HashSet;

pub use error::TinkError;
use zeroize::Zeroizing;

use crate::{Algorithm, Dek, KeyId, Keyset, Prefix};

/// How a keyset is written
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysetFormat {
    /// Protobuf's JSON
    Json,
    /// Protobuf's bytes
    Binary,
}

/// What a keyset says of a key besides its material
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportedKey {
    /// Stands in the cells that applications wrote, unless it is a raw key
    pub key_id: KeyId,
    /// The one that encrypts; exactly one key is
    pub primary: bool,
    /// Its cipher
    pub algorithm: Algorithm,
    /// Whether its cells name it
    pub prefix: Prefix,
}

/// All keys of a cleartext keyset but the destroyed ones, in its order, or none of them
///
/// `serialized` holds keys in the clear: wiping it is the caller's duty. JSON
/// strings with escapes pass through a buffer of the parser that is not wiped.
/// Binary keysets carry no length: one that was cut between two keys and still
/// has its primary key is a keyset, and is imported.
///
/// # Errors
///
/// Names the first key that cannot be imported, and why.
pub fn import(serialized: &[u8], format: KeysetFormat) -> Result<Vec<(ImportedKey, Dek)>, TinkError> {
    let keyset = match format {
        KeysetFormat::Json => json::read(serialized)?,
        KeysetFormat::Binary => proto::read(serialized)?,
    };
    if keyset.keys.is_empty() {
        return Err(TinkError::NoKeys);
    }
    let primary = keyset.primary.ok_or(TinkError::MissingPrimary)?;
    let mut seen = HashSet::new();
    let mut imported = Vec::with_capacity(keyset.keys.len());
    for key in &keyset.keys {
        let key_id = key.key_id;
        if key_id == KeyId(0) {
            return Err(TinkError::ZeroKeyId);
        }
        if !seen.insert(key_id) {
            return Err(TinkError::DuplicateKeyId(key_id));
        }
        if key.status == key::DESTROYED {
            continue; // there is nothing to import, and nothing is under it that could be read
        }
        let (algorithm, prefix, dek) = key::check(key)?;
        imported.push((ImportedKey { key_id, primary: key_id == primary, algorithm, prefix }, dek));
    }
    if imported.iter().all(|(key, _)| !key.primary) {
        return Err(TinkError::UnknownPrimary(primary));
    }
    Ok(imported)
}

/// The keyset for applications: the active key is primary, pre_active and
/// deactivated ones decrypt, suspended and destroyed ones stay here
///
/// Anyone with the bytes can decrypt every cell, and no encryption with them is counted.
#[must_use]
pub fn export(keyset: &Keyset, format: KeysetFormat) -> Zeroizing<Vec<u8>> {
    match format {
        KeysetFormat::Json => json::write(keyset),
        KeysetFormat::Binary => proto::write(keyset),
    }
}

/// The ciphertext in an encrypted keyset; what it decrypts to is a [`KeysetFormat::Binary`] keyset
/// for [`import`]
///
/// What else the file says of its keys is authenticated by nothing, and not read.
///
/// # Errors
///
/// When it is no encrypted keyset, or one in the clear.
pub fn ciphertext_of(serialized: &[u8], format: KeysetFormat) -> Result<Vec<u8>, TinkError> {
    match format {
        KeysetFormat::Json => json::read_encrypted(serialized),
        KeysetFormat::Binary => proto::read_encrypted(serialized),
    }
}

/// An encrypted keyset around the ciphertext of `keyset`'s binary export
///
/// Ids, types and prefixes of the keys stand beside it in the clear, as Tink writes them.
#[must_use]
pub fn encrypted(keyset: &Keyset, ciphertext: &[u8], format: KeysetFormat) -> Vec<u8> {
    match format {
        KeysetFormat::Json => json::write_encrypted(keyset, ciphertext),
        KeysetFormat::Binary => proto::write_encrypted(keyset, ciphertext),
    }
}
