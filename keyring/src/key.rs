//! What a key is called, and the states it goes through

use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};

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

/// NIST SP 800-57's states; *compromised* is an attribute, not a state
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Stored and probed, not yet used to encrypt
    PreActive,
    /// The one key of a keyset that encrypts
    Active,
    /// Decrypts only; being emptied
    Deactivated,
    /// Refused for every use, still restorable
    Suspended,
    /// Key material gone; the tombstone stays
    Destroyed,
}

impl KeyState {
    /// Every state, in the order of a key's life
    pub const ALL: [Self; 5] = [Self::PreActive, Self::Active, Self::Deactivated, Self::Suspended, Self::Destroyed];

    /// The name in the ledger, the API and on the command line
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreActive => "pre_active",
            Self::Active => "active",
            Self::Deactivated => "deactivated",
            Self::Suspended => "suspended",
            Self::Destroyed => "destroyed",
        }
    }

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

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no key state
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown key state {0:?}: known are pre_active, active, deactivated, suspended, destroyed")]
pub struct UnknownKeyState(pub String);

impl FromStr for KeyState {
    type Err = UnknownKeyState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownKeyState(text.to_owned()))
    }
}
