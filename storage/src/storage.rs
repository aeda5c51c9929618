//! The handle that an application holds

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use reseal_entities::ledger::Ledger;
use reseal_keyring::{Kek, KeyId};
use tokio::task::JoinHandle;

use crate::{
    Counters, Options, StorageError,
    agreed::Agreed,
    keysets::Keysets,
    payload::Payload,
    presence::{self, Presence},
    tables::{Messages, SyncQueue, UserProfiles},
};

/// An application that stops is not kept by a ledger that is down.
const CLOSING_MAX: Duration = Duration::from_secs(10);

/// Encrypted storage: keysets of one ledger, in memory and kept fresh
///
/// Values written through it are under the active key, and reads go on through every rotation. Clones
/// share everything; the background task ends with the last one. The price: the process holds keys, a
/// connection or two to the ledger, and asks it a small question every few seconds.
#[derive(Clone)]
pub struct Storage {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) keysets: Keysets,
    pub(crate) presence: Presence,
    pub(crate) agreed: Agreed,
    pub(crate) refresh_every: Duration,
    pub(crate) beat_every: Duration,
    pub(crate) closing: AtomicBool,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Storage {
    /// Connects to the ledger and opens the KEK (`file:/path`, `env:NAME`)
    ///
    /// Keysets are loaded at their first use, or by [`Storage::load_keyset`].
    ///
    /// # Errors
    ///
    /// Without a ledger that answers, and without the KEK, there is no key: the application cannot start.
    pub async fn open(ledger_url: &str, kek_uri: &str) -> Result<Self, StorageError> {
        Self::open_with(ledger_url, kek_uri, Options::default()).await
    }

    /// The same with options
    ///
    /// # Errors
    ///
    /// As [`Storage::open`], and for options that have no use.
    pub async fn open_with(ledger_url: &str, kek_uri: &str, options: Options) -> Result<Self, StorageError> {
        let kek = reseal_keyring::kek::open(kek_uri)?;
        let ledger = Ledger::connect_as_application(ledger_url).await.map_err(StorageError::Ledger)?;
        Self::with_kek(ledger, kek, options)
    }

    /// The same for a ledger that is connected, with any KEK
    ///
    /// # Errors
    ///
    /// For options that have no use.
    pub fn with_kek(ledger: Ledger, kek: Box<dyn Kek>, options: Options) -> Result<Self, StorageError> {
        if [options.refresh_every, options.confirmed_within, options.beat_every].iter().any(Duration::is_zero) {
            return Err(StorageError::Option(
                "refresh_every, confirmed_within and beat_every must be longer than nothing",
            ));
        }
        let name = options.name.clone().unwrap_or_else(presence::unique_name);
        if !presence::fits(&name) {
            return Err(StorageError::Option("an instance's name has 1 to 128 characters"));
        }
        let inner = Arc::new(Inner {
            keysets: Keysets::new(&name, ledger, kek, &options),
            name,
            presence: Presence::default(),
            agreed: Agreed::default(),
            refresh_every: options.refresh_every,
            beat_every: options.beat_every,
            closing: AtomicBool::new(false),
            task: Mutex::default(),
        });
        let task = tokio::spawn(presence::run(Arc::downgrade(&inner)));
        *inner.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(Self { inner })
    }

    /// Loads a keyset before its first use, so that a mistake shows at the start; says its active key
    ///
    /// # Errors
    ///
    /// An unreachable ledger, no such keyset, another KEK.
    pub async fn load_keyset(&self, keyset: &str) -> Result<KeyId, StorageError> {
        Ok(self.inner.keysets.for_reading(keyset).await?.keyset.active())
    }

    /// What this instance is called in `reseal status`
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What it did since it was opened
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner.keysets.counted.read()
    }

    /// An orderly stop: the last encryptions are counted, and the instance is no longer listed
    ///
    /// Takes ten seconds at most. Clones still read and write afterwards, with keysets that are only refreshed as they write.
    /// Without this call, as after a crash, the instance stays listed for half a minute.
    pub async fn close(&self) {
        let task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // Not aborted: a beat under way has taken the counts, and would list the instance again.
            self.inner.closing.store(true, Relaxed);
            self.inner.keysets.changed.notify_one();
            let left = async {
                let _ = task.await;
                self.inner.presence.leave(&self.inner.name, &self.inner.keysets).await;
            };
            if tokio::time::timeout(CLOSING_MAX, left).await.is_err() {
                tracing::warn!("the ledger does not answer: the last encryptions stay uncounted");
            }
        }
    }

    /// The reference table `user_profiles`, with values of a payload: `user_profiles::<Json<Profile>>()`
    #[must_use]
    pub fn user_profiles<P: Payload>(&self) -> UserProfiles<'_, P> {
        UserProfiles::new(self)
    }

    /// The reference table `messages`
    #[must_use]
    pub fn messages<P: Payload>(&self) -> Messages<'_, P> {
        Messages::new(self)
    }

    /// The reference table `sync_queue`
    #[must_use]
    pub fn sync_queue<P: Payload>(&self) -> SyncQueue<'_, P> {
        SyncQueue::new(self)
    }
}
