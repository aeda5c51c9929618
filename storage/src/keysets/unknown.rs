//! Ids that the ledger does not know, so that it is not asked for them again and again

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use reseal_keyring::KeyId;

/// A key that is made later has another id, but a ledger can be restored and get its own back.
const KEPT: Duration = Duration::from_secs(5);
/// Somebody who writes cells with made-up ids must not fill the memory.
const IDS_MAX: usize = 1_024;

#[derive(Default)]
pub(super) struct Unknown(HashMap<u32, Instant>);

impl Unknown {
    pub(super) fn contains(&self, key_id: KeyId, now: Instant) -> bool {
        self.0.get(&key_id.0).is_some_and(|at| now.duration_since(*at) < KEPT)
    }

    pub(super) fn note(&mut self, key_id: KeyId, now: Instant) {
        if self.0.len() >= IDS_MAX {
            self.0.retain(|_, at| now.duration_since(*at) < KEPT);
        }
        if self.0.len() >= IDS_MAX {
            self.0.clear(); // they are asked for once more, at the pace of any unknown id
        }
        self.0.insert(key_id.0, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_id_is_remembered_for_seconds_and_not_for_ever() {
        let (mut unknown, now) = (Unknown::default(), Instant::now());
        unknown.note(KeyId(7), now);
        assert!(unknown.contains(KeyId(7), now + KEPT / 2));
        assert!(!unknown.contains(KeyId(8), now));
        assert!(!unknown.contains(KeyId(7), now + KEPT));
    }

    #[test]
    fn made_up_ids_do_not_fill_the_memory() {
        let (mut unknown, now) = (Unknown::default(), Instant::now());
        for id in 1..=100_000 {
            unknown.note(KeyId(id), now);
            assert!(unknown.0.len() <= IDS_MAX);
        }
        assert!(unknown.contains(KeyId(100_000), now));
    }
}
