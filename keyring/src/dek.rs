//! A data-encryption key: 32 bytes that nothing prints, copies or serializes

use std::fmt;

use zeroize::Zeroize;

/// Bytes of a DEK
pub(crate) const DEK_LEN: usize = 32;

/// One key's material, wiped when dropped
///
/// It lives on the heap, so that moving a `Dek` leaves no copy on the stack.
pub struct Dek(Box<[u8; DEK_LEN]>);

impl Drop for Dek {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Dek {
    /// 256 bits from the operating system
    ///
    /// # Panics
    ///
    /// When the operating system has no random bytes to give.
    #[must_use]
    pub fn generate() -> Self {
        let mut dek = Self(Box::new([0; DEK_LEN]));
        getrandom::fill(dek.0.as_mut_slice()).expect("the operating system gives random bytes");
        dek
    }

    /// A copy of `bytes`; wiping the original is the caller's duty
    ///
    /// # Errors
    ///
    /// When there are not exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, WrongDekLength> {
        if bytes.len() != DEK_LEN {
            return Err(WrongDekLength(bytes.len()));
        }
        let mut dek = Self(Box::new([0; DEK_LEN]));
        dek.0.copy_from_slice(bytes);
        Ok(dek)
    }

    /// The secret itself: for a cipher, a KEK and an export, and nothing else
    pub(crate) fn expose_dek_bytes(&self) -> &[u8; DEK_LEN] {
        &self.0
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dek(redacted)")
    }
}

/// The bytes are no AES-256 key; holds how many there were
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a DEK has {DEK_LEN} bytes, found {0}")]
pub struct WrongDekLength(pub usize);
