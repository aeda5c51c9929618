//! Key-encryption keys: wrap DEKs for the ledger and the key backup

mod env;
mod error;
mod file;
mod local;

pub use error::KekError;
use zeroize::Zeroizing;

use crate::{Dek, KeyId};

/// A key that wraps DEKs, wherever it lives
///
/// A crash in either call loses nothing: neither writes anything.
pub trait Kek: Send + Sync {
    /// Names the key and not its place: a KEK that moved from a file to the
    /// environment keeps its id, another one at the same URI has another
    fn id(&self) -> &str;

    /// Wraps a DEK so that it unwraps only for this keyset and key id
    ///
    /// # Errors
    ///
    /// When the KEK cannot be reached.
    fn wrap(&self, keyset: &str, key_id: KeyId, dek: &Dek) -> Result<Vec<u8>, KekError>;

    /// The DEK, if it was wrapped under this KEK for this keyset and key id
    ///
    /// # Errors
    ///
    /// [`KekError::NotAuthentic`] for another KEK, keyset or key id,
    /// [`KekError::WrappedMalformed`], [`KekError::DekLength`].
    fn unwrap(&self, keyset: &str, key_id: KeyId, wrapped: &[u8]) -> Result<Dek, KekError>;

    /// Encrypts an exported keyset as one AEAD ciphertext, bound to [`keyset_associated_data`]: Tink
    /// opens it with the same key
    ///
    /// Whoever can open it with the KEK can also unwrap every DEK of the ledger.
    ///
    /// # Errors
    ///
    /// When the KEK cannot be reached.
    fn encrypt_keyset(&self, keyset: &str, serialized: &[u8]) -> Result<Vec<u8>, KekError>;

    /// What [`Kek::encrypt_keyset`] or Tink encrypted under this KEK for a keyset of this name
    ///
    /// # Errors
    ///
    /// [`KekError::KeysetNotAuthentic`] for another KEK or name.
    fn decrypt_keyset(&self, keyset: &str, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, KekError>;
}

/// What an exported keyset under a KEK is bound to: `"reseal keyset v1:" ‖ name`
///
/// No wrapped DEK has associated data that begins so, hence neither can stand in for the other.
#[must_use]
pub fn keyset_associated_data(keyset: &str) -> Vec<u8> {
    [b"reseal keyset v1:", keyset.as_bytes()].concat()
}

const KNOWN: &str = "file:PATH, env:NAME";

/// Opens the KEK of a URI: `file:/path` or `env:NAME`, standard base64 of 32 bytes
///
/// # Errors
///
/// Every [`KekError`] about the URI, the file or the variable. None shows the
/// text after an unknown scheme, which may be a secret.
pub fn open(uri: &str) -> Result<Box<dyn Kek>, KekError> {
    match split(uri)? {
        ("file", path) => Ok(Box::new(file::open(path.as_ref())?)),
        ("env", name) => Ok(Box::new(env::open(name)?)),
        (scheme, _) => Err(KekError::UnknownScheme(scheme.to_owned())),
    }
}

/// Makes a new random KEK at a `file:` URI and opens it; never overwrites
///
/// On return the file (mode 0600) and its directory entry are on the disk.
/// Whoever loses the file loses every key wrapped under it: back it up.
///
/// # Errors
///
/// [`KekError::AlreadyExists`], [`KekError::NotCreatable`] for other schemes,
/// [`KekError::Io`].
pub fn create(uri: &str) -> Result<Box<dyn Kek>, KekError> {
    match split(uri)? {
        ("file", path) => Ok(Box::new(file::create(path.as_ref())?)),
        ("env", _) => Err(KekError::NotCreatable("env".to_owned())),
        (scheme, _) => Err(KekError::UnknownScheme(scheme.to_owned())),
    }
}

fn split(uri: &str) -> Result<(&str, &str), KekError> {
    match uri.split_once(':') {
        Some((scheme, rest)) if !scheme.is_empty() && !rest.is_empty() => Ok((scheme, rest)),
        _ => Err(KekError::NotAUri),
    }
}
