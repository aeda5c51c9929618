//! A KEK in this process's memory, from a file or the environment

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Kek, KekError, keyset_associated_data};
use crate::{Algorithm, Dek, KeyId, cipher::Cipher};

const VERSION: u8 = 1;
/// iv and tag
const SEALED_LEN_MIN: usize = 12 + 16;

/// Wrapped key: `01 ‖ iv 12 ‖ wrapped DEK 16 or 32 ‖ tag 16`, AES-256-GCM, with the
/// associated data `"reseal dek v1" ‖ 00 ‖ keyset ‖ 00 ‖ key id u32 BE`
///
/// Exported keyset: `iv 12 ‖ ciphertext ‖ tag 16`, AES-256-GCM: what Tink's `AES256_GCM_RAW` writes.
pub(super) struct LocalKek {
    id: String,
    cipher: Cipher,
}

impl LocalKek {
    /// `text` is standard base64 of 32 bytes, with at most one line end;
    /// `place` is for messages
    pub(super) fn from_base64(text: &[u8], place: &str) -> Result<Self, KekError> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        // Room for the decoder's estimate: a vector that grows leaves the key behind.
        let mut key = Zeroizing::new(Vec::with_capacity(text.len()));
        STANDARD.decode_vec(text, &mut key).map_err(|_| KekError::BadBase64(place.to_owned()))?;
        let wrong = || KekError::WrongLength { place: place.to_owned(), length: key.len() };
        let dek = Dek::from_slice(&key).map_err(|_| wrong())?;
        let cipher = Cipher::new(Algorithm::Aes256Gcm, &dek).ok_or_else(wrong)?;
        let digest = Sha256::new().chain_update(b"reseal kek id v1").chain_update(&key).finalize();
        Ok(Self { id: hex::encode(&digest[..8]), cipher })
    }
}

impl Kek for LocalKek {
    fn id(&self) -> &str {
        &self.id
    }

    fn wrap(&self, keyset: &str, key_id: KeyId, dek: &Dek) -> Result<Vec<u8>, KekError> {
        let bound_to = associated_data(keyset, key_id);
        Ok(self.cipher.seal(&[VERSION], dek.expose_dek_bytes(), &bound_to))
    }

    fn unwrap(&self, keyset: &str, key_id: KeyId, wrapped: &[u8]) -> Result<Dek, KekError> {
        let keyset_name = || keyset.to_owned();
        let malformed = || KekError::WrappedMalformed { keyset: keyset_name(), key_id };
        let sealed = wrapped.strip_prefix(&[VERSION]).filter(|s| s.len() >= SEALED_LEN_MIN).ok_or_else(malformed)?;
        let dek = self
            .cipher
            .open(sealed, &associated_data(keyset, key_id))
            .ok_or_else(|| KekError::NotAuthentic { keyset: keyset_name(), key_id })?;
        Dek::from_slice(&dek).map_err(|wrong| KekError::DekLength { keyset: keyset_name(), key_id, length: wrong.0 })
    }

    fn encrypt_keyset(&self, keyset: &str, serialized: &[u8]) -> Result<Vec<u8>, KekError> {
        Ok(self.cipher.seal(&[], serialized, &keyset_associated_data(keyset)))
    }

    fn decrypt_keyset(&self, keyset: &str, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, KekError> {
        let opened = self.cipher.open(ciphertext, &keyset_associated_data(keyset));
        opened.ok_or_else(|| KekError::KeysetNotAuthentic { keyset: keyset.to_owned() })
    }
}

// The id has a fixed length and comes last, so no two pairs give the same bytes.
fn associated_data(keyset: &str, key_id: KeyId) -> Vec<u8> {
    let id = key_id.0.to_be_bytes();
    [b"reseal dek v1\0", keyset.as_bytes(), b"\0", &id].concat()
}
