//! From a ledger's rows, through the KEK, to a keyset

use super::{KeyInfo, Keyset, KeysetError};
use crate::{Kek, KekError, KeyId, KeyState};

/// A key as a ledger holds it, every word still text
#[derive(Clone, Copy, Debug)]
pub struct StoredKey<'a> {
    /// Stands in every cell's header
    pub key_id: KeyId,
    /// 1, 2, 3 …
    pub version: u32,
    /// A [`KeyState`](crate::KeyState)
    pub state: &'a str,
    /// An [`Algorithm`](crate::Algorithm)
    pub algorithm: &'a str,
    /// A [`Prefix`](crate::Prefix)
    pub prefix: &'a str,
    /// As [`Kek::wrap`] returned it; none once destroyed
    pub wrapped_dek: Option<&'a [u8]>,
}

impl Keyset {
    /// Unwraps every key that is not destroyed. A suspended one is refused for every use, but a cell that
    /// still authenticates under it can be told: see [`Keyset::suspended_use`]
    ///
    /// # Errors
    ///
    /// A word that is none, a KEK that does not open a key, a keyset that does not hold together.
    pub fn unwrap<'a>(
        name: &str,
        kek: &dyn Kek,
        stored: impl IntoIterator<Item = StoredKey<'a>>,
    ) -> Result<Self, UnwrapError> {
        let mut keys = Vec::new();
        for key in stored {
            let word = |text: &str| UnwrapError::Word { key_id: key.key_id, text: text.to_owned() };
            let info = KeyInfo {
                key_id: key.key_id,
                version: key.version,
                state: key.state.parse().map_err(|_| word(key.state))?,
                algorithm: key.algorithm.parse().map_err(|_| word(key.algorithm))?,
                prefix: key.prefix.parse().map_err(|_| word(key.prefix))?,
            };
            let wrapped = key.wrapped_dek.filter(|_| info.state != KeyState::Destroyed);
            let dek = wrapped.map(|wrapped| kek.unwrap(name, key.key_id, wrapped)).transpose()?;
            keys.push((info, dek));
        }
        Ok(Self::new(name, keys)?)
    }
}

/// Why a ledger's keys make no keyset
#[derive(Debug, thiserror::Error)]
pub enum UnwrapError {
    /// A newer version wrote it, or a hand
    #[error("key {key_id} says {text:?}, which this version does not know: run the version that wrote it")]
    Word {
        /// The key
        key_id: KeyId,
        /// What stands there
        text: String,
    },
    /// The KEK
    #[error(transparent)]
    Kek(#[from] KekError),
    /// The keys do not fit together
    #[error(transparent)]
    Keyset(#[from] KeysetError),
}

impl UnwrapError {
    /// Stable: what the ledger, the API and alerts group by
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Word { .. } => "key_unknown_word",
            Self::Kek(e) => e.code(),
            Self::Keyset(e) => e.code(),
        }
    }
}
