//! What a key is called, and the states it goes through

use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::algorithm::words;

/// The number in a cell's header that names its key; unique in the whole ledger
///
/// Zero is no key's id, but a `KeyId` read from a cell can hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub u32);

impl KeyId {
    /// Never zero; from the operating system
    ///
    /// Two calls can return the same id: the ledger refuses the second key.
    ///
    /// # Panics
    ///
    /// When the operating system has no random bytes to give.
    #[must_use]
    pub fn random() -> Self {
        loop {
            let id = getrandom::u32().expect("the operating system gives random bytes");
            if id != 0 {
                return Self(id);
            }
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for KeyId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

words! {
    /// NIST SP 800-57's states; *compromised* is an attribute, not a state
    KeyState: "key state" {
        /// Stored and probed, not yet used to encrypt
        PreActive = "pre_active",
        /// The one key of a keyset that encrypts
        Active = "active",
        /// Decrypts only; being emptied
        Deactivated = "deactivated",
        /// Refused for every use, still restorable
        Suspended = "suspended",
        /// Key material gone; the tombstone stays
        Destroyed = "destroyed",
    }
}

impl KeyState {
    /// May encrypt: the active key, and a pre_active one for its probe
    #[must_use]
    pub fn encrypts(self) -> bool {
        matches!(self, Self::PreActive | Self::Active)
    }

    /// May decrypt: every key but a suspended or destroyed one
    #[must_use]
    pub fn decrypts(self) -> bool {
        matches!(self, Self::PreActive | Self::Active | Self::Deactivated)
    }
}
