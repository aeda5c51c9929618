//! Keys from the backup, for a ledger that has lost them.

use super::Keyring;
use crate::error::EngineError;
use reseal_entities::{ledger::keys as ledger_keys, state::KeyState};
use reseal_keyring::{Algorithm, BackupRecord, Prefix};

impl Keyring {
    /// Puts every key of the backup back that the ledger has lost. Keys whose KEK is another one are
    /// refused before anything is written.
    pub async fn recover(&self, actor: &str) -> Result<Vec<BackupRecord>, EngineError> {
        let mut records = self.backup.list()?;
        records.sort_by_key(|r| std::cmp::Reverse(r.version));
        for record in &records {
            self.kek.unwrap(&record.keyset, record.key_id, &record.wrapped_dek)?;
            if record.algorithm.parse::<Algorithm>().is_err() || record.prefix.parse::<Prefix>().is_err() {
                return Err(EngineError::refused(
                    "unknown_algorithm",
                    format!("key {} of the backup is {}", record.key_id, record.algorithm),
                ));
            }
        }
        let txn = self.ledger.begin().await?;
        let mut recovered = Vec::new();
        for record in records {
            ledger_keys::create_keyset(&txn, actor, &record.keyset).await?;
            let key = ledger_keys::NewKey {
                key_id: record.key_id.0.into(),
                state: KeyState::Deactivated,
                algorithm: record.algorithm.clone(),
                prefix: record.prefix.clone(),
                kek_id: record.kek_id.clone(),
                wrapped_dek: record.wrapped_dek.clone(),
            };
            let version = i32::try_from(record.version).unwrap_or(1);
            if ledger_keys::recover(&txn, actor, &record.keyset, version, key).await? {
                recovered.push(record);
            }
        }
        txn.commit().await?;
        Ok(recovered)
    }
}
