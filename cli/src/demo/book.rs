//! What the application wrote: a fingerprint for every row that exists.

use super::tables::Key;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

/// Length and SipHash of a plaintext, under a key of this process.
pub(super) type Print = (usize, u64);

/// One table's rows.
#[derive(Default)]
pub(super) struct Rows {
    prints: HashMap<Key, Print>,
    /// The keys again, so that one can be picked.
    keys: Vec<Key>,
    /// The largest integer key ever given.
    pub last: i64,
}

impl Rows {
    pub(super) fn put(&mut self, key: Key, print: Print) {
        if self.prints.insert(key, print).is_none() {
            self.keys.push(key);
        }
    }

    /// The `at`th key, in no order.
    pub(super) fn key(&self, at: usize) -> Key {
        self.keys[at]
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.prints.remove(&self.keys.swap_remove(at));
    }

    pub(super) fn get(&self, key: &Key) -> Option<Print> {
        self.prints.get(key).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// All tables' rows, in the order of [`super::tables::TABLES`].
#[derive(Default)]
pub(super) struct Book {
    pub tables: [Rows; 3],
    hasher: RandomState,
}

impl Book {
    pub(super) fn print(&self, plaintext: &[u8]) -> Print {
        (plaintext.len(), self.hasher.hash_one(plaintext))
    }

    pub(super) fn rows(&self) -> usize {
        self.tables.iter().map(Rows::len).sum()
    }
}
