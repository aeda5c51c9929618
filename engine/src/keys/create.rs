//! Keys that are made here.

use super::Keyring;
use crate::error::EngineError;
use reseal_entities::{keys, ledger::keys as ledger_keys, state::KeyState};
use reseal_keyring::Algorithm;

impl Keyring {
    /// Makes a key: the keyset's first becomes active, a later one pre_active. Its algorithm is that of
    /// the active key where keys may be rotated to it, else AES-256-GCM. A first key whose maker died before
    /// it was active is finished instead.
    pub async fn create(&self, actor: &str, keyset: &str) -> Result<(i64, KeyState), EngineError> {
        if let Some(key) = self.unfinished(keyset).await? {
            return self.finish(actor, keyset, key.key_id).await;
        }
        let key = self.generate(keyset, KeyState::PreActive).await?;
        self.store(actor, keyset, key).await
    }

    /// The same with an algorithm of choice.
    pub async fn create_for(
        &self,
        actor: &str,
        keyset: &str,
        algorithm: Algorithm,
    ) -> Result<(i64, KeyState), EngineError> {
        if !algorithm.may_be_rotated_to() {
            let new = Algorithm::ALL.iter().filter(|a| a.may_be_rotated_to()).map(|a| a.as_str());
            return Err(EngineError::refused(
                "algorithm_not_for_new_keys",
                format!(
                    "{algorithm} keys are read and rotated from, never made: choose {}",
                    new.collect::<Vec<_>>().join(" or ")
                ),
            ));
        }
        if let Some(key) = self.unfinished(keyset).await? {
            if key.algorithm != algorithm.as_str() {
                let message = format!(
                    "keyset `{keyset}` has key {} for {} from a command that did not finish: run `reseal keys create \
                     {keyset}` without an algorithm, which makes that key active, then rotate to another",
                    key.key_id, key.algorithm
                );
                return Err(EngineError::refused("keyset_unfinished", message));
            }
            return self.finish(actor, keyset, key.key_id).await;
        }
        let key = self.generate_for(keyset, algorithm, KeyState::PreActive).await?;
        self.store(actor, keyset, key).await
    }

    async fn store(&self, actor: &str, keyset: &str, key: ledger_keys::NewKey) -> Result<(i64, KeyState), EngineError> {
        let key_id = key.key_id;
        let txn = self.ledger.begin().await?;
        ledger_keys::create_keyset(&txn, actor, keyset).await?;
        let is_first = ledger_keys::locked(&txn, keyset).await?.is_empty();
        ledger_keys::insert(&txn, actor, keyset, key).await?;
        txn.commit().await?;
        if is_first {
            return self.finish(actor, keyset, key_id).await;
        }
        self.secure(keyset, key_id).await?;
        Ok((key_id, KeyState::PreActive))
    }

    /// Makes a keyset's first key active once its backup is on the disk. Applications encrypt from then on, and a
    /// ledger that is lost would take the only copy of a key without a backup. Dying before leaves the key
    /// pre_active, for the next `keys create`.
    pub(super) async fn finish(&self, actor: &str, keyset: &str, key_id: i64) -> Result<(i64, KeyState), EngineError> {
        self.secure(keyset, key_id).await?;
        let txn = self.ledger.begin().await?;
        ledger_keys::activate_first(&txn, actor, keyset, key_id).await?;
        txn.commit().await?;
        Ok((key_id, KeyState::Active))
    }

    /// The pre_active key of a keyset that has no active one: a command stored it and died.
    pub(super) async fn unfinished(&self, keyset: &str) -> Result<Option<keys::Model>, EngineError> {
        let keys = ledger_keys::of_keyset(self.ledger.db(), keyset).await?;
        let has_active = keys.iter().any(|k| k.state == KeyState::Active);
        Ok(keys.into_iter().find(|k| !has_active && k.state == KeyState::PreActive))
    }
}
