//! What an instance did

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// What an instance did since it was opened, for its metrics
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Questions to the ledger for keys
    pub loads: u64,
    /// Writes that the fence refused
    pub refused: u64,
    /// Writes and transactions that went through after they were refused
    pub written_again: u64,
}

#[derive(Default)]
pub(crate) struct Counted {
    pub(crate) loads: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) written_again: AtomicU64,
    /// Encryptions by key that the ledger has not been told of yet.
    encryptions: Mutex<BTreeMap<u32, i64>>,
}

impl Counted {
    pub(crate) fn read(&self) -> Counters {
        Counters {
            loads: self.loads.load(Relaxed),
            refused: self.refused.load(Relaxed),
            written_again: self.written_again.load(Relaxed),
        }
    }

    /// A write or transaction went through at this try.
    pub(crate) fn went_through_at(&self, tried: usize) {
        self.written_again.fetch_add(u64::from(tried > 1), Relaxed);
    }

    pub(crate) fn encryptions(&self, key_id: u32, more: i64) {
        *self.encryptions.lock().unwrap_or_else(PoisonError::into_inner).entry(key_id).or_default() += more;
    }

    /// Takes them out; whoever cannot pass them on puts them back.
    pub(crate) fn take_encryptions(&self) -> BTreeMap<u32, i64> {
        std::mem::take(&mut *self.encryptions.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
