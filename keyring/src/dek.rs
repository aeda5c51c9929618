//! A data-encryption key: 16 or 32 bytes that nothing prints, copies or serializes

use std::fmt;

use zeroize::Zeroize;

use crate::Algorithm;

/// One key's material, wiped when dropped
///
/// It lives on the heap, so that moving a `Dek` leaves no copy on the stack.
pub struct Dek(Box<[u8]>);

impl Drop for Dek {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Dek {
    /// As many bytes from the operating system as the algorithm's keys have
    ///
    /// # Panics
    ///
    /// When the operating system has no random bytes to give.
    #[must_use]
    pub fn generate(algorithm: Algorithm) -> Self {
        let mut dek = Self(vec![0; algorithm.key_len()].into_boxed_slice());
        getrandom::fill(&mut dek.0).expect("the operating system gives random bytes");
        dek
    }

    /// A copy of `bytes`; wiping the original is the caller's duty
    ///
    /// # Errors
    ///
    /// When there are neither 16 nor 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, WrongDekLength> {
        if bytes.len() != 16 && bytes.len() != 32 {
            return Err(WrongDekLength(bytes.len()));
        }
        Ok(Self(bytes.into()))
    }

    /// The secret itself: for a cipher, a KEK and an export, and nothing else
    pub(crate) fn expose_dek_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dek(redacted)")
    }
}

/// The bytes are no algorithm's key; holds how many there were
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a DEK has 16 or 32 bytes, found {0}")]
pub struct WrongDekLength(pub usize);
