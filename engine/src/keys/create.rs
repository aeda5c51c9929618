//! Keys that are made here.

use super::Keyring;
use crate::error::EngineError;
use reseal_entities::{ledger::keys as ledger_keys, state::KeyState};
use reseal_keyring::Algorithm;

impl Keyring {
    /// Makes a key: the keyset's first becomes active, a later one pre_active. Its algorithm is that of
    /// the active key where keys may be rotated to it, else AES-256-GCM.
    pub async fn create(&self, actor: &str, keyset: &str) -> Result<(i64, KeyState), EngineError> {
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
        let key = self.generate_for(keyset, algorithm, KeyState::PreActive).await?;
        self.store(actor, keyset, key).await
    }

    async fn store(
        &self,
        actor: &str,
        keyset: &str,
        mut key: ledger_keys::NewKey,
    ) -> Result<(i64, KeyState), EngineError> {
        let key_id = key.key_id;
        let txn = self.ledger.begin().await?;
        ledger_keys::create_keyset(&txn, actor, keyset).await?;
        if ledger_keys::locked(&txn, keyset).await?.is_empty() {
            key.state = KeyState::Active;
        }
        let state = key.state;
        ledger_keys::insert(&txn, actor, keyset, key).await?;
        txn.commit().await?;
        self.secure(keyset, key_id).await?;
        Ok((key_id, state))
    }
}
