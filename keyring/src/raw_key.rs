//! A bare AES key, as applications without Tink keep it: one line of base64 or hex

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

use crate::{Algorithm, Dek, ImportedKey, KeyId, Prefix};

/// The only key of a keyset-to-be: a raw AES-GCM key under a new random id
///
/// `text` is one line of hex, or of base64 in either alphabet, with at most one line end. Hex comes
/// first: 32 hex digits are an AES-128 key, and would be base64 of 24 bytes, which are none.
/// Wiping `text` is the caller's duty.
///
/// # Errors
///
/// [`RawKeyError::NotOneLine`], or [`RawKeyError::Length`] when there are neither 16 nor 32 bytes.
pub fn import(text: &[u8]) -> Result<(ImportedKey, Dek), RawKeyError> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let bytes = from_hex(text).or_else(|| from_base64(text)).ok_or(RawKeyError::NotOneLine)?;
    let dek = Dek::from_slice(&bytes).map_err(|wrong| RawKeyError::Length(wrong.0))?;
    let algorithm = if bytes.len() == 16 { Algorithm::Aes128Gcm } else { Algorithm::Aes256Gcm };
    Ok((ImportedKey { key_id: KeyId::random(), primary: true, algorithm, prefix: Prefix::Raw }, dek))
}

fn from_hex(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; text.len() / 2]);
    let is_key = matches!(bytes.len(), 16 | 32);
    (is_key && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

fn from_base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].iter().find_map(|alphabet| {
        // Room for the decoder's estimate: a vector that grows leaves the key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
        alphabet.decode_vec(text, &mut bytes).ok()?;
        Some(bytes)
    })
}

/// Why a file holds no raw AES key; shows nothing of it
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RawKeyError {
    /// Binary, empty, or more than a key
    #[error("not a raw key: it is to be one line of base64 or hex")]
    NotOneLine,
    /// No AES key is so long; holds the bytes found
    #[error("the raw key has {0} bytes: an AES key that is supported has 16 or 32")]
    Length(usize),
}

impl RawKeyError {
    /// Stable: what the CLI and the API group by
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotOneLine => "raw_key_not_one_line",
            Self::Length(_) => "raw_key_length",
        }
    }
}
