//! Keys on their way between ledger, KEK, backup and memory. The DEKs' bytes stay in `keyring`.

mod create;
mod recover;
mod transfer;

use crate::error::EngineError;
use reseal_entities::{
    keys,
    ledger::{Ledger, keys as ledger_keys},
    rotations,
    state::KeyState,
};
use reseal_keyring::{Algorithm, BackupRecord, Dek, Kek, KeyBackup, KeyId, Keyset, Prefix, StoredKey};
use sea_orm::ActiveEnum;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A keyset in memory is looked up in the ledger again after so long.
const FRESH: Duration = Duration::from_secs(10);

/// The keys of this process.
pub struct Keyring {
    ledger: Ledger,
    kek: Box<dyn Kek>,
    backup: KeyBackup,
    loaded: Mutex<BTreeMap<String, Loaded>>,
}

/// A keyset in memory.
struct Loaded {
    keyset: Arc<Keyset>,
    at: Instant,
    /// The rotation for whose rows it was loaded.
    rotation_id: Option<i64>,
}

impl Loaded {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH
    }
}

/// `key_id` as the ledger holds it.
pub fn id_of(key: &keys::Model) -> KeyId {
    KeyId(u32::try_from(key.key_id).unwrap_or_default())
}

impl Keyring {
    /// Opens KEK and backup.
    pub fn open(ledger: Ledger, kek_uri: &str, backup: &Path) -> Result<Self, EngineError> {
        let (kek, backup) = (reseal_keyring::kek::open(kek_uri)?, KeyBackup::open(backup)?);
        Ok(Self { ledger, kek, backup, loaded: Mutex::default() })
    }

    /// The backup of the wrapped keys.
    pub fn backup(&self) -> &KeyBackup {
        &self.backup
    }

    /// The keyset as the ledger has it, at most ten seconds old.
    pub async fn keyset(&self, name: &str) -> Result<Arc<Keyset>, EngineError> {
        if let Some(loaded) = self.lock().get(name).filter(|loaded| loaded.is_fresh()) {
            return Ok(loaded.keyset.clone());
        }
        self.remember(name, None).await
    }

    /// The same for the rows of a rotation that has promoted its key, which is its active one.
    ///
    /// What was loaded before is not enough, however fresh: after a rollback the active key is one that was active before, and a
    /// keyset from then knows nothing of the key between. Its cells would be quarantined as nobody's.
    pub(crate) async fn keyset_for(&self, rotation: &rotations::Model) -> Result<Arc<Keyset>, EngineError> {
        let name = &rotation.keyset;
        let serves = |loaded: &&Loaded| loaded.is_fresh() && loaded.rotation_id == Some(rotation.id);
        let known = self.lock().get(name).filter(serves).map(|loaded| loaded.keyset.clone());
        let keyset = match known {
            Some(keyset) => keyset,
            None => self.remember(name, Some(rotation.id)).await?,
        };
        if rotation.to_key_id != Some(keyset.active().0.into()) {
            self.lock().remove(name);
            return Err(EngineError::refused(
                "active_key_differs",
                format!("keyset `{name}` has another active key than its rotation promoted"),
            ));
        }
        Ok(keyset)
    }

    async fn remember(&self, name: &str, rotation_id: Option<i64>) -> Result<Arc<Keyset>, EngineError> {
        let keyset = Arc::new(self.load(name).await?);
        let loaded = Loaded { keyset: keyset.clone(), at: Instant::now(), rotation_id };
        self.lock().insert(name.to_owned(), loaded);
        Ok(keyset)
    }

    /// The keyset as it will be once these keys are gone, in memory only.
    pub(crate) async fn without(&self, name: &str, gone: &[i64]) -> Result<Keyset, EngineError> {
        self.load_with(name, None, gone).await
    }

    async fn load(&self, name: &str) -> Result<Keyset, EngineError> {
        self.load_with(name, None, &[]).await
    }

    /// Without the keys that are `gone`; with `first` taken for active where no key is: for trying a keyset's first key before
    /// it encrypts.
    async fn load_with(&self, name: &str, first: Option<i64>, gone: &[i64]) -> Result<Keyset, EngineError> {
        let mut keys = ledger_keys::of_keyset(self.ledger.db(), name).await?;
        keys.retain(|key| !gone.contains(&key.key_id));
        if keys.iter().all(|k| k.state != KeyState::Active) {
            keys.iter_mut().filter(|k| Some(k.key_id) == first).for_each(|k| k.state = KeyState::Active);
        }
        let states: Vec<String> = keys.iter().map(|k| k.state.to_value()).collect();
        let stored = keys.iter().zip(&states).map(|(key, state)| StoredKey {
            key_id: id_of(key),
            version: u32::try_from(key.version).unwrap_or_default(),
            state,
            algorithm: &key.algorithm,
            prefix: &key.prefix,
            wrapped_dek: key.wrapped_dek.as_deref(),
        });
        let loaded = Keyset::unwrap(name, &*self.kek, stored)?;
        Ok(loaded.knowing(self.known_ids().await?))
    }

    /// The ids of all keys whose cells name them, of every keyset, also those that only the backup knows: a
    /// restored ledger has forgotten keys that rows are under.
    pub(crate) async fn known_ids(&self) -> Result<Vec<KeyId>, EngineError> {
        let everywhere = ledger_keys::all(self.ledger.db()).await?;
        let named = everywhere.iter().filter(|k| k.names_its_cells()).map(id_of);
        Ok(named.chain(self.backup.ids()?).collect())
    }

    /// The keyset as it would be once a key that exists nowhere else was promoted: for trying, in memory only.
    pub(crate) async fn trial(&self, name: &str, key_id: KeyId, algorithm: Algorithm) -> Result<Keyset, EngineError> {
        Ok(self.load(name).await?.with_trial_key(key_id, algorithm)?)
    }

    /// Keys that the backup has and the ledger does not.
    pub async fn lost(&self) -> Result<Vec<KeyId>, EngineError> {
        let known: Vec<KeyId> = ledger_keys::all(self.ledger.db()).await?.iter().map(id_of).collect();
        Ok(self.backup.ids()?.into_iter().filter(|id| !known.contains(id)).collect())
    }

    /// The ids of the keys in memory. Keysets that nobody used for a while are dropped first.
    pub fn loaded(&self) -> Vec<u32> {
        let mut loaded = self.lock();
        loaded.retain(|_, loaded| loaded.at.elapsed() < 6 * FRESH);
        loaded
            .values()
            .flat_map(|loaded| loaded.keyset.keys().filter(|i| i.state.decrypts()).map(|i| i.key_id.0))
            .collect()
    }

    /// Forgets every key in memory.
    pub fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new DEK under the KEK, with an id that the ledger has never seen; of the active key's algorithm
    /// where keys may be rotated to that, else AES-256-GCM.
    pub async fn generate(&self, keyset: &str, state: KeyState) -> Result<ledger_keys::NewKey, EngineError> {
        let keys = ledger_keys::of_keyset(self.ledger.db(), keyset).await?;
        let active = keys.iter().find(|k| k.state == KeyState::Active).and_then(|k| k.algorithm.parse().ok());
        let algorithm = active.filter(|a: &Algorithm| a.may_be_rotated_to()).unwrap_or(Algorithm::Aes256Gcm);
        self.generate_for(keyset, algorithm, state).await
    }

    async fn generate_for(
        &self,
        keyset: &str,
        algorithm: Algorithm,
        state: KeyState,
    ) -> Result<ledger_keys::NewKey, EngineError> {
        self.refuse_another_kek().await?;
        let taken: Vec<i64> = ledger_keys::all(self.ledger.db()).await?.iter().map(|k| k.key_id).collect();
        let key_id = std::iter::repeat_with(KeyId::random)
            .find(|id| !taken.contains(&i64::from(id.0)))
            .unwrap_or_else(KeyId::random);
        self.wrapped(keyset, key_id, (algorithm, Prefix::Tink), &Dek::generate(algorithm), state)
    }

    /// Refuses a KEK that is not the one under which the ledger's keys are wrapped: a key wrapped under
    /// another than the rest would make its whole keyset unreadable.
    pub async fn refuse_another_kek(&self) -> Result<(), EngineError> {
        let keys = ledger_keys::all(self.ledger.db()).await?;
        match keys.iter().find(|k| k.wrapped_dek.is_some() && k.kek_id != self.kek.id()) {
            None => Ok(()),
            Some(key) => Err(EngineError::refused(
                "kek_differs",
                format!(
                    "the ledger's keys are wrapped under KEK {} (key {}), and this process has KEK {}: give it the right one in kek.uri",
                    key.kek_id,
                    key.key_id,
                    self.kek.id()
                ),
            )),
        }
    }

    fn wrapped(
        &self,
        keyset: &str,
        key_id: KeyId,
        (algorithm, prefix): (Algorithm, Prefix),
        dek: &Dek,
        state: KeyState,
    ) -> Result<ledger_keys::NewKey, EngineError> {
        let wrapped_dek = self.kek.wrap(keyset, key_id, dek)?;
        Ok(ledger_keys::NewKey {
            key_id: key_id.0.into(),
            state,
            algorithm: algorithm.to_string(),
            prefix: prefix.to_string(),
            kek_id: self.kek.id().to_owned(),
            wrapped_dek,
        })
    }

    /// Makes the keyset's backup complete, then reads `key_id` back from ledger and backup, unwraps
    /// both and encrypts with it. Nothing may be written under a key before this has passed.
    pub async fn secure(&self, keyset: &str, key_id: i64) -> Result<(), EngineError> {
        self.back_up(keyset).await?;
        let stored = ledger_keys::of_keyset(self.ledger.db(), keyset).await?;
        let key = stored.iter().find(|k| k.key_id == key_id);
        let key =
            key.ok_or_else(|| EngineError::refused("unknown_key", format!("key {key_id} is not in the ledger")))?;
        let copy = self.backup.read(id_of(key))?;
        if copy.map(|c| c.wrapped_dek) != key.wrapped_dek || key.wrapped_dek.is_none() {
            return Err(EngineError::refused(
                "key_backup_differs",
                format!("the backup of key {key_id} is not what the ledger holds"),
            ));
        }
        let loaded = self.load_with(keyset, Some(key_id), &[]).await?;
        if matches!(key.state, KeyState::Active | KeyState::PreActive) {
            loaded.probe(id_of(key))?;
        }
        Ok(())
    }

    /// Writes the backup of every key of the keyset that has one missing. Says how many.
    pub async fn back_up(&self, keyset: &str) -> Result<usize, EngineError> {
        let mut written = 0;
        for key in ledger_keys::of_keyset(self.ledger.db(), keyset).await? {
            let Some(wrapped_dek) = key.wrapped_dek.clone() else { continue };
            written += usize::from(self.backup.read(id_of(&key))?.is_none());
            self.backup.write(&BackupRecord {
                keyset: keyset.to_owned(),
                key_id: id_of(&key),
                version: u32::try_from(key.version).unwrap_or_default(),
                generation: key.generation,
                algorithm: key.algorithm.clone(),
                prefix: key.prefix.clone(),
                kek_id: key.kek_id.clone(),
                wrapped_dek,
                created_at_ms: key.created_at,
            })?;
        }
        // A key that was destroyed while this went on must not come back by its copy.
        for key in ledger_keys::of_keyset(self.ledger.db(), keyset).await? {
            if key.state == KeyState::Destroyed {
                self.backup.remove(id_of(&key))?;
            }
        }
        Ok(written)
    }
}
