//! The background task: refreshes keysets, and says which key this instance writes with

use std::{
    sync::{
        Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use reseal_entities::ledger::{LedgerError, keys as ledger_keys, writers};

use crate::{error::not_allowed, keysets::Keysets, storage::Inner};

const FORGETTING_EVERY: Duration = Duration::from_secs(3_600);
const NAME_LEN_MAX: usize = 128;

/// What the ledger was told, and what it did not take.
#[derive(Default)]
pub(crate) struct Presence {
    beats_fail: AtomicBool,
    counts_fail: AtomicBool,
}

/// Host, process id and 32 random bits.
pub(crate) fn unique_name() -> String {
    let mut random = [0; 4];
    // Without randomness two starts can only be told apart by their process ids.
    let _ = getrandom::fill(&mut random);
    let end = format!(".{}.{}", std::process::id(), hex::encode(random));
    let mut name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    while name.len() + end.len() > NAME_LEN_MAX {
        name.pop();
    }
    name + &end
}

pub(crate) fn fits(name: &str) -> bool {
    !name.is_empty() && name.chars().count() <= NAME_LEN_MAX
}

/// Goes on until it is closed, or the last handle is dropped.
pub(crate) async fn run(storage: Weak<Inner>) {
    let (mut beaten, mut forgot) = (None::<Instant>, None::<Instant>);
    loop {
        let Some(inner) = storage.upgrade() else { return };
        let changed = inner.keysets.changed.clone();
        let pause = (inner.refresh_every / 4).min(inner.beat_every).max(Duration::from_millis(10));
        drop(inner);
        let told = tokio::time::timeout(pause, changed.notified()).await.is_ok();
        let Some(inner) = storage.upgrade().filter(|inner| !inner.closing.load(Relaxed)) else { return };
        inner.keysets.refresh_what_ages().await;
        if told || beaten.is_none_or(|at| at.elapsed() >= inner.beat_every) {
            beaten = Some(Instant::now());
            inner.presence.beat(&inner.name, &inner.keysets).await;
            if forgot.is_none_or(|at| at.elapsed() >= FORGETTING_EVERY) {
                forgot = Some(Instant::now());
                let _ = writers::forget_the_long_gone(inner.keysets.ledger().db()).await; // the next beat warns
            }
        }
    }
}

impl Presence {
    pub(crate) async fn beat(&self, name: &str, keysets: &Keysets) {
        let refresh_ms = keysets.refresh_ms();
        let mut beaten = Ok(());
        for slot in keysets.slots() {
            let Some(loaded) = slot.loaded() else { continue };
            let key_id = loaded.keyset.active().0.into();
            beaten = beaten.and(writers::beat(keysets.ledger().db(), name, &slot.name, key_id, refresh_ms).await);
        }
        let what = "presence is not reported, so that a rotation cannot name this instance when it lags behind";
        warn_once(&self.beats_fail, beaten, what);
        let mut counted = Ok(());
        for (key_id, more) in keysets.counted.take_encryptions() {
            let told = ledger_keys::count_encryptions(keysets.ledger().db(), key_id.into(), more).await;
            if told.is_err() {
                keysets.counted.encryptions(key_id, more);
            }
            counted = counted.and(told);
        }
        let what = "encryptions are not counted in the ledger, so that no policy can see how often a key was used";
        warn_once(&self.counts_fail, counted, what);
    }

    /// The last sign of an orderly stop.
    pub(crate) async fn leave(&self, name: &str, keysets: &Keysets) {
        self.beat(name, keysets).await;
        let left = writers::leave(keysets.ledger().db(), name).await;
        warn_once(&self.beats_fail, left, "this instance stays listed for half a minute");
    }
}

/// Once until it works again. Reading and writing go on either way.
fn warn_once(fails: &AtomicBool, result: Result<(), LedgerError>, what: &str) {
    match result {
        Ok(()) => fails.store(false, Relaxed),
        Err(error) => {
            if !fails.swap(true, Relaxed) {
                let advice = if not_allowed(&error) { "; see the GRANTs in docs/storage.md" } else { "" };
                tracing::warn!(%error, "{what}{advice}");
            }
        }
    }
}
