//! A KEK in this process's memory, from a file or the environment

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Kek, KekError};
use crate::{
    Dek, KeyId,
    cell::{IV_LEN, TAG_LEN},
    cipher::Cipher,
};

const VERSION: u8 = 1;

/// Wrapped key: `01 ‖ iv 12 ‖ wrapped DEK 32 ‖ tag 16`, AES-256-GCM, with the
/// associated data `"reseal dek v1" ‖ 00 ‖ keyset ‖ 00 ‖ key id u32 BE`
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
        let key = key
            .as_slice()
            .try_into()
            .map_err(|_| KekError::WrongLength { place: place.to_owned(), length: key.len() })?;
        Ok(Self::new(key))
    }

    pub(super) fn new(key: &[u8; 32]) -> Self {
        let digest = Sha256::new().chain_update(b"reseal kek id v1").chain_update(key).finalize();
        Self { id: hex::encode(&digest[..8]), cipher: Cipher::new(key) }
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
        let (iv, body) = split(wrapped).ok_or_else(|| KekError::WrappedMalformed { keyset: keyset_name(), key_id })?;
        let dek = self
            .cipher
            .open(iv, body, &associated_data(keyset, key_id))
            .ok_or_else(|| KekError::NotAuthentic { keyset: keyset_name(), key_id })?;
        Dek::from_slice(&dek).map_err(|wrong| KekError::DekLength { keyset: keyset_name(), key_id, length: wrong.0 })
    }
}

fn split(wrapped: &[u8]) -> Option<(&[u8; IV_LEN], &[u8])> {
    let (&VERSION, rest) = wrapped.split_first()? else {
        return None;
    };
    let (iv, body) = rest.split_first_chunk()?;
    (body.len() >= TAG_LEN).then_some((iv, body))
}

// The id has a fixed length and comes last, so no two pairs give the same bytes.
fn associated_data(keyset: &str, key_id: KeyId) -> Vec<u8> {
    let id = key_id.0.to_be_bytes();
    [b"reseal dek v1\0", keyset.as_bytes(), b"\0", &id].concat()
}
