//! Keysets to and from applications: stored only wrapped, handed out only on the record.

use super::Keyring;
use crate::error::EngineError;
use reseal_entities::{
    ledger::{audit, keys as ledger_keys},
    state::KeyState,
};
use reseal_keyring::{Dek, ImportedKey, Keyset, KeysetFormat, tink};
use serde_json::json;
use zeroize::Zeroizing;

impl Keyring {
    /// Stores an application's keys as a new keyset, all of them or none: the primary key becomes active once
    /// the backup is on the disk, every other one deactivated, so that the next rotation retires it. `how` is for the audit.
    pub async fn import(
        &self,
        actor: &str,
        keyset: &str,
        imported: &[(ImportedKey, Dek)],
        how: &str,
    ) -> Result<Vec<(i64, KeyState)>, EngineError> {
        self.refuse_another_kek().await?;
        if let Some(key) = self.unfinished(keyset).await? {
            let message = format!(
                "keyset `{keyset}` has its keys from a command that did not finish: run `reseal keys create {keyset}`, which \
                 makes key {} active",
                key.key_id
            );
            return Err(EngineError::refused("keyset_unfinished", message));
        }
        let txn = self.ledger.begin().await?;
        if !ledger_keys::of_keyset(&txn, keyset).await?.is_empty() {
            return Err(EngineError::refused(
                "keyset_exists",
                format!("keyset `{keyset}` has keys already: import under another name"),
            ));
        }
        ledger_keys::create_keyset(&txn, actor, keyset).await?;
        let mut stored = Vec::new();
        for (key, dek) in imported {
            let state = if key.primary { KeyState::PreActive } else { KeyState::Deactivated };
            let new = self.wrapped(keyset, key.key_id, (key.algorithm, key.prefix), dek, state)?;
            ledger_keys::insert(&txn, actor, keyset, new).await?;
            stored.push((i64::from(key.key_id.0), state));
        }
        // Whoever made these keys holds them: the next one must be published like that of an export.
        let ids: Vec<i64> = stored.iter().map(|(id, _)| *id).collect();
        ledger_keys::mark_published(&txn, &ids).await?;
        let entry = audit::Entry {
            actor,
            action: "keyset.imported",
            subject: format!("keyset {keyset}"),
            before: json!(null),
            after: json!({"keys": ids, "format": how}),
        };
        audit::record(&txn, entry).await?;
        txn.commit().await?;
        for (id, state) in stored.iter_mut().filter(|(_, state)| *state == KeyState::PreActive) {
            *state = self.finish(actor, keyset, *id).await?.1;
        }
        Ok(stored)
    }

    /// What `write` makes of the keyset: its bytes for a file. The export is recorded after they are
    /// made and before they are handed out. `how` is for the audit.
    pub async fn export<E: From<EngineError>>(
        &self,
        actor: &str,
        keyset: &str,
        how: &str,
        write: impl AsyncFnOnce(&Keyset) -> Result<Zeroizing<Vec<u8>>, E>,
    ) -> Result<Zeroizing<Vec<u8>>, E> {
        self.back_up(keyset).await?; // from here on rows may be written under any of these keys
        let loaded = self.load(keyset).await?;
        let ids: Vec<i64> = loaded.keys().filter(|k| k.state.decrypts()).map(|k| k.key_id.0.into()).collect();
        let written = write(&loaded).await?;
        let txn = self.ledger.begin().await.map_err(EngineError::from)?;
        ledger_keys::record_export(&txn, actor, keyset, &ids, how).await.map_err(EngineError::from)?;
        txn.commit().await.map_err(EngineError::from)?;
        Ok(written)
    }

    /// The keyset encrypted under the KEK, as Tink writes encrypted keysets.
    pub fn encrypted_under_kek(&self, keyset: &Keyset, format: KeysetFormat) -> Result<Vec<u8>, EngineError> {
        let clear = tink::export(keyset, KeysetFormat::Binary);
        let ciphertext = self.kek.encrypt_keyset(keyset.name(), &clear)?;
        Ok(tink::encrypted(keyset, &ciphertext, format))
    }

    /// The keys of a Tink keyset that was encrypted under the KEK for this name.
    pub fn decrypted_under_kek(
        &self,
        keyset: &str,
        file: &[u8],
        format: KeysetFormat,
    ) -> Result<Vec<(ImportedKey, Dek)>, EngineError> {
        let clear = self.kek.decrypt_keyset(keyset, &tink::ciphertext_of(file, format)?)?;
        Ok(tink::import(&clear, KeysetFormat::Binary)?)
    }
}
