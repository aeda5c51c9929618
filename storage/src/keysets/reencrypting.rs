//! The keyset that values of somebody else's are re-encrypted with

use std::{collections::HashSet, sync::Arc, time::Instant};

use reseal_keyring::{KeyId, KeyState};

use super::{GATHERING, Keysets, Loaded};
use crate::StorageError;

impl Keysets {
    /// The keyset to re-encrypt values with that name these keys, to this key if one is asked for
    ///
    /// It is loaded again where it may be older than the values: what is under the next key already would
    /// otherwise be brought back under the one that was just retired. It is loaded again, too, where a value is
    /// under its active key: that value is answered as unchanged, and whoever hears that keeps it.
    pub(crate) async fn for_reencrypting(
        &self,
        keyset: &str,
        named: &HashSet<KeyId>,
        to: Option<KeyId>,
    ) -> Result<Arc<Loaded>, StorageError> {
        let asked = Instant::now();
        let loaded = self.for_writing(keyset).await?;
        let slot = self.slot(keyset);
        let leaves = |l: &Loaded| named.contains(&l.keyset.active());
        let is_enough = |l: &Loaded| {
            let is_news = |id: &KeyId| l.may_be_older_than(*id) && !slot.is_unknown(*id);
            let confirmed = l.began > asked || !leaves(l);
            confirmed && to.is_none_or(|to| l.keyset.active() == to) && !named.iter().any(is_news)
        };
        if is_enough(&loaded) {
            return Ok(loaded);
        }
        match self.reload(&slot, GATHERING, is_enough).await {
            Ok(newer) => {
                named.iter().filter(|id| !newer.knows(**id)).for_each(|id| slot.note_unknown(*id));
                Ok(newer)
            }
            // Whether the key that was asked for is the active one nobody can say, nor whether a value may stay.
            Err(error) if leaves(&loaded) || to.is_some_and(|to| loaded.keyset.active() != to) => Err(error),
            Err(_) => Ok(loaded),
        }
    }
}

impl Loaded {
    /// A cell under this key proves that this keyset is stale.
    fn may_be_older_than(&self, key_id: KeyId) -> bool {
        let pre_active = self.keyset.info(key_id).is_some_and(|key| key.state == KeyState::PreActive);
        pre_active || !self.knows(key_id)
    }

    pub(crate) fn is_compromised(&self, key_id: KeyId) -> bool {
        self.known.get(&key_id).copied().unwrap_or_default()
    }
}
