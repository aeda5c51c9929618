//! One keyset in memory

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use reseal_keyring::{KeyId, Keyset};

use super::{suspended::Uses, unknown::Unknown};

/// Every key of the ledger, of whatever keyset, and whether people take it for compromised.
pub(super) type Known = HashMap<KeyId, bool>;

/// A keyset as the ledger had it at one moment.
pub(crate) struct Loaded {
    pub(crate) keyset: Keyset,
    pub(super) known: Known,
    /// Before the question was sent.
    pub(super) began: Instant,
}

impl Loaded {
    pub(super) fn knows(&self, key_id: KeyId) -> bool {
        self.known.contains_key(&key_id)
    }
}

pub(crate) struct Slot {
    pub(crate) name: String,
    loaded: RwLock<Option<Arc<Loaded>>>,
    /// Whoever holds it may load.
    pub(super) flight: tokio::sync::Mutex<()>,
    failed_at: Mutex<Option<Instant>>,
    unknown: Mutex<Unknown>,
    uses: Mutex<Uses>,
}

impl Slot {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            loaded: RwLock::default(),
            flight: tokio::sync::Mutex::default(),
            failed_at: Mutex::default(),
            unknown: Mutex::default(),
            uses: Mutex::default(),
        }
    }

    pub(crate) fn loaded(&self) -> Option<Arc<Loaded>> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn keep(&self, loaded: Loaded) -> Arc<Loaded> {
        let loaded = Arc::new(loaded);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(loaded.clone());
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
        loaded
    }

    /// Notes a failure; true when it is the first in a row, which is worth a warning.
    pub(super) fn failed(&self) -> bool {
        self.failed_at.lock().unwrap_or_else(PoisonError::into_inner).replace(Instant::now()).is_none()
    }

    pub(super) fn failed_within(&self, pause: Duration) -> bool {
        self.failed_at.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < pause)
    }

    pub(super) fn is_unknown(&self, key_id: KeyId) -> bool {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).contains(key_id, Instant::now())
    }

    pub(super) fn note_unknown(&self, key_id: KeyId) {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).note(key_id, Instant::now());
    }

    pub(super) fn is_news_of_suspended(&self, key_id: KeyId) -> bool {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).is_news(key_id, Instant::now())
    }
}
