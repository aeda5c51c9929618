//! Keysets in memory: loaded from the ledger, refreshed, and looked up again at an unknown key

#[cfg(feature = "http")]
mod reencrypting;
mod slot;
mod suspended;
mod unknown;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use reseal_entities::ledger::{Ledger, LedgerError, keys as ledger_keys};
use reseal_keyring::{CellError, Format, Kek, KeyId, Keyset, Layout, StoredKey};
use sea_orm::ActiveEnum;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use slot::Known;
pub(crate) use slot::{Loaded, Slot};

use crate::{Options, StorageError, counters::Counted};

/// A ledger that does not answer for so long is taken for unreachable.
pub(crate) const LOADING_MAX: Duration = Duration::from_secs(5);
/// After a load that failed nobody tries again for so long: readers and writers must not queue up
/// behind a ledger that is down.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// Whoever asks for an unknown key waits this long for others who ask the same.
const GATHERING: Duration = Duration::from_millis(5);
/// Cells that name made-up keys cause no more than one load in this time.
const PACE: Duration = Duration::from_millis(50);

pub(crate) struct Keysets {
    /// What the instance is called in the ledger.
    name: String,
    ledger: Ledger,
    kek: Box<dyn Kek>,
    refresh_every: Duration,
    confirmed_within: Duration,
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
    pub(crate) counted: Counted,
    /// Rung when a keyset has another active key than before.
    pub(crate) changed: Arc<Notify>,
}

/// Why stored bytes could not be decrypted with the keyset at hand.
enum Miss {
    /// They begin with the id of a key that this keyset does not know: the ledger may.
    Unknown(KeyId, CellError),
    Refused(CellError),
}

impl Keysets {
    pub(crate) fn new(name: &str, ledger: Ledger, kek: Box<dyn Kek>, options: &Options) -> Self {
        Self {
            name: name.to_owned(),
            ledger,
            kek,
            refresh_every: options.refresh_every,
            confirmed_within: options.confirmed_within,
            slots: Mutex::default(),
            counted: Counted::default(),
            changed: Arc::default(),
        }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How old a keyset becomes at most while the ledger answers: what a rotation's `writer_ttl` is compared with.
    pub(crate) fn refresh_ms(&self) -> i64 {
        i64::try_from(self.refresh_every.min(self.confirmed_within).as_millis()).unwrap_or(i64::MAX)
    }

    fn slot(&self, keyset: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(keyset.to_owned()).or_insert_with(|| Arc::new(Slot::new(keyset))).clone()
    }

    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The keyset to read with. Take it before the cell is read: then no key can have been suspended
    /// between the two.
    pub(crate) async fn for_reading(&self, keyset: &str) -> Result<Arc<Loaded>, StorageError> {
        let slot = self.slot(keyset);
        match slot.loaded() {
            Some(loaded) => Ok(loaded),
            None => self.first(&slot).await,
        }
    }

    /// The keyset to write with, not older than `refresh_every`; while the ledger does not answer, not older than
    /// `confirmed_within`. A key that was destroyed meanwhile would make whatever is encrypted now unreadable.
    pub(crate) async fn for_writing(&self, keyset: &str) -> Result<Arc<Loaded>, StorageError> {
        let slot = self.slot(keyset);
        let Some(loaded) = slot.loaded() else { return self.first(&slot).await };
        let fresh = |l: &Loaded| l.began.elapsed() < self.refresh_every.min(self.confirmed_within);
        if fresh(&loaded) {
            return Ok(loaded);
        }
        // The background task was held up, as in a process that was stopped for a while, or the ledger is away.
        match self.reload(&slot, Duration::ZERO, fresh).await {
            Ok(loaded) => Ok(loaded),
            Err(_) if loaded.began.elapsed() < self.confirmed_within => Ok(loaded),
            Err(error) => Err(StorageError::Unconfirmed { keyset: keyset.to_owned(), error: Box::new(error) }),
        }
    }

    async fn first(&self, slot: &Arc<Slot>) -> Result<Arc<Loaded>, StorageError> {
        let _flight = slot.flight.lock().await;
        if let Some(loaded) = slot.loaded() {
            return Ok(loaded);
        }
        let loaded = self.load(slot).await;
        if let Err(StorageError::NoKeyset(name)) = &loaded {
            // Names come over HTTP, too: made-up ones must not fill the memory.
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            if slots.get(name).is_some_and(|kept| Arc::ptr_eq(kept, slot)) {
                slots.remove(name);
            }
        }
        loaded
    }

    /// Refreshes what will be too old before the next look.
    pub(crate) async fn refresh_what_ages(&self) {
        for slot in self.slots() {
            if slot.loaded().is_some_and(|l| l.began.elapsed() >= self.refresh_every.mul_f32(0.75)) {
                self.refresh(&slot).await;
            }
        }
    }

    /// One at a time; whoever comes meanwhile goes on with the old one, and so does everybody when it fails.
    async fn refresh(&self, slot: &Slot) {
        let Ok(_flight) = slot.flight.try_lock() else { return };
        if !slot.failed_within(FAILED_PAUSE) {
            let _ = self.load(slot).await; // which warns
        }
    }

    /// A keyset that is `enough`, or one whose loading began after this was called: what it does not know
    /// then, the ledger did not. One flight for all who ask at the same time.
    async fn reload(
        &self,
        slot: &Slot,
        gathering: Duration,
        enough: impl Fn(&Loaded) -> bool,
    ) -> Result<Arc<Loaded>, StorageError> {
        let asked = Instant::now();
        let _flight = slot.flight.lock().await;
        let last = slot.loaded();
        if let Some(loaded) = last.clone().filter(|l| l.began > asked || enough(l)) {
            return Ok(loaded);
        }
        if slot.failed_within(FAILED_PAUSE) {
            return Err(unreachable());
        }
        if !gathering.is_zero() {
            let pace = last.map_or(Duration::ZERO, |l| PACE.saturating_sub(l.began.elapsed()));
            tokio::time::sleep(gathering.max(pace)).await;
        }
        self.load(slot).await
    }

    /// After a refusal: a keyset whose active key is another than the refused one, if the ledger has one.
    pub(crate) async fn reload_refused(&self, keyset: &str, refused: KeyId) -> Result<(), StorageError> {
        let slot = self.slot(keyset);
        self.reload(&slot, Duration::ZERO, |l| l.keyset.active() != refused).await.map(drop)
    }

    /// Loads every keyset again that is in memory.
    pub(crate) async fn reload_all(&self) {
        for slot in self.slots() {
            let _ = self.reload(&slot, Duration::ZERO, |_| false).await; // which warns
        }
    }

    /// The only question that the ledger is asked for keys. The caller holds the flight.
    async fn load(&self, slot: &Slot) -> Result<Arc<Loaded>, StorageError> {
        let began = Instant::now();
        self.counted.loads.fetch_add(1, Relaxed);
        let loaded = match tokio::time::timeout(LOADING_MAX, self.ask(&slot.name)).await {
            Err(_) => Err(unreachable()),
            Ok(asked) => asked,
        };
        match loaded {
            Ok((keyset, known)) => {
                let before = slot.loaded().map(|l| l.keyset.active());
                let loaded = slot.keep(Loaded { keyset, known, began });
                if before != Some(loaded.keyset.active()) {
                    self.changed.notify_one();
                }
                Ok(loaded)
            }
            Err(error) => {
                if slot.failed() && slot.loaded().is_some() {
                    tracing::warn!(
                        keyset = slot.name,
                        %error,
                        "the keyset could not be refreshed: it decrypts on, and stops encrypting soon"
                    );
                }
                Err(error)
            }
        }
    }

    async fn ask(&self, keyset: &str) -> Result<(Keyset, Known), StorageError> {
        let all = ledger_keys::all(self.ledger.db()).await.map_err(StorageError::Ledger)?;
        let id_of = |key_id: i64| KeyId(u32::try_from(key_id).unwrap_or_default());
        let known: Known = all.iter().map(|k| (id_of(k.key_id), k.compromised_at.is_some())).collect();
        let own: Vec<_> = all.iter().filter(|k| k.keyset == keyset).map(|k| (k, k.state.to_value())).collect();
        if own.is_empty() {
            return Err(StorageError::NoKeyset(keyset.to_owned()));
        }
        let stored = own.iter().map(|(key, state)| StoredKey {
            key_id: id_of(key.key_id),
            version: u32::try_from(key.version).unwrap_or_default(),
            state,
            algorithm: &key.algorithm,
            prefix: &key.prefix,
            wrapped_dek: key.wrapped_dek.as_deref(),
        });
        let unwrapped = Keyset::unwrap(keyset, &*self.kek, stored);
        let unwrapped = unwrapped.map_err(|error| StorageError::Keys { keyset: keyset.to_owned(), error })?;
        Ok((unwrapped.knowing(known.keys().copied()), known))
    }

    /// The plaintext of what a column holds. An id that the keyset does not know is looked up in the
    /// ledger, once for all who ask, and not again for a while when the ledger does not know it either.
    pub(crate) async fn open(
        &self,
        loaded: Arc<Loaded>,
        layout: Layout,
        stored: &[u8],
        associated_data: &[u8],
        place: impl Fn() -> String,
    ) -> Result<Zeroizing<Vec<u8>>, StorageError> {
        let (key_id, error) = match decrypt(&loaded, layout, stored, associated_data) {
            Ok(plaintext) => return Ok(plaintext),
            Err(Miss::Refused(error)) => {
                return self.refuse(&loaded, layout, stored, associated_data, place(), error).await;
            }
            Err(Miss::Unknown(key_id, error)) => (key_id, error),
        };
        let slot = self.slot(loaded.keyset.name());
        if !slot.is_unknown(key_id) {
            let newer = self.reload(&slot, GATHERING, |l| l.knows(key_id)).await?;
            match decrypt(&newer, layout, stored, associated_data) {
                Ok(plaintext) => return Ok(plaintext),
                Err(Miss::Refused(error)) => {
                    return self.refuse(&newer, layout, stored, associated_data, place(), error).await;
                }
                Err(Miss::Unknown(key_id, _)) => slot.note_unknown(key_id),
            }
        }
        // Bytes can look like a cell by chance; a text that is base64 of one does not.
        let by_chance = !layout.encoding.is_text() || loaded.keyset.stranger(layout, stored).is_none();
        if layout.format == Format::Plaintext && by_chance {
            return Ok(Zeroizing::new(stored.to_vec()));
        }
        // A raw cell can begin like a cell of an unknown key, too.
        let last = slot.loaded().unwrap_or(loaded);
        self.refuse(&last, layout, stored, associated_data, place(), error).await
    }

    /// The error for a cell that was refused. One that authenticates under a suspended key is needed by
    /// somebody: its clearing is held, once in a while per key. One that the ledger has restored since is read.
    async fn refuse(
        &self,
        loaded: &Loaded,
        layout: Layout,
        stored: &[u8],
        associated_data: &[u8],
        place: String,
        error: CellError,
    ) -> Result<Zeroizing<Vec<u8>>, StorageError> {
        let Some(key_id) = loaded.keyset.suspended_use(layout, stored, associated_data) else {
            return Err(StorageError::Cell { place, error });
        };
        let slot = self.slot(loaded.keyset.name());
        if slot.is_news_of_suspended(key_id) {
            // First, and begun before anything is awaited: whoever drops this must not take the alarm with it.
            suspended::hold_clearing(self.ledger.clone(), self.name.clone(), key_id, place.clone()).await;
            let newer = self.reload(&slot, GATHERING, |_| false).await;
            if let Ok(Ok(plaintext)) = newer.map(|newer| decrypt(&newer, layout, stored, associated_data)) {
                return Ok(plaintext);
            }
        }
        Err(StorageError::Suspended { place, key_id })
    }
}

/// Refuses to take bytes for a plaintext while they might be a cell of a key that was made a moment ago.
fn decrypt(loaded: &Loaded, layout: Layout, stored: &[u8], associated_data: &[u8]) -> Result<Zeroizing<Vec<u8>>, Miss> {
    let stranger = layout.key_id(stored).filter(|id| !loaded.knows(*id));
    if let (Format::Plaintext, Some(key_id)) = (layout.format, stranger) {
        return Err(Miss::Unknown(key_id, CellError::UnknownKey { key_id }));
    }
    loaded.keyset.decrypt_from(layout, stored, associated_data).map_err(|error| match (&error, stranger) {
        (CellError::UnknownKey { .. } | CellError::RawNotAuthentic { .. }, Some(key_id)) => {
            Miss::Unknown(key_id, error)
        }
        _ => Miss::Refused(error),
    })
}

fn unreachable() -> StorageError {
    StorageError::Ledger(LedgerError::refused(
        "ledger_unreachable",
        "the ledger does not answer: check its URL and server",
    ))
}
