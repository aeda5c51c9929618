//! A cell that somebody still needs although its key is about to be destroyed

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use reseal_entities::ledger::{Ledger, LedgerError, hold};
use reseal_keyring::KeyId;

use super::LOADING_MAX;
use crate::error::not_allowed;

/// Whoever reads many such cells tells the ledger of the first, and of another after so long.
const TOLD_FOR: Duration = Duration::from_secs(5);
/// An alarm that the ledger's database refused is raised again so often.
const TRIES_MORE: usize = 4;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// How often the ledger is told before the alarm is given up, and the first pause between; each is twice the one before.
const TRIES: u32 = 6;
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// When a use of each suspended key was last told. There are as many of them as the keyset has.
#[derive(Default)]
pub(super) struct Uses(HashMap<u32, Instant>);

impl Uses {
    /// Whether a use at `now` is to be told; from then on it counts as told.
    pub(super) fn is_news(&mut self, key_id: KeyId, now: Instant) -> bool {
        let news = self.0.get(&key_id.0).is_none_or(|at| now.duration_since(*at) >= TOLD_FOR);
        if news {
            self.0.insert(key_id.0, now);
        }
        news
    }
}

/// Holds the key's clearing, if the ledger says that it is still suspended; in a task of its own, since a
/// request that is dropped meanwhile must not take the alarm with it. The reader waits for it, so that no
/// refusal is told before the hold stands.
pub(super) async fn hold_clearing(ledger: Ledger, instance: String, key_id: KeyId, place: String) {
    let told = async move {
        let held = tokio::time::timeout(LOADING_MAX, note_until_done(&ledger, &instance, key_id, &place)).await;
        let (reason, advice) = match held {
            Ok(Ok(held)) => return told(held, key_id, &place),
            Ok(Err(error)) if not_allowed(&error) => (error.to_string(), "; see the GRANTs in docs/storage.md"),
            Ok(Err(error)) => (error.to_string(), ""),
            Err(_) => ("the ledger does not answer".to_owned(), ""),
        };
        tracing::error!(
            key_id = key_id.0,
            place,
            reason,
            "key {key_id} is suspended and about to be destroyed, a value still needs it, and its clearing could not \
             be held: run `reseal pause` on its rotation{advice}"
        );
    };
    let _ = tokio::spawn(told).await; // it has nothing to say that is not logged
}

/// Tried again while the ledger's database fails it: the alarm can be a deadlock's victim, or lose to a lock. The key
/// is destroyed if the alarm is lost.
async fn note_until_done(ledger: &Ledger, instance: &str, key_id: KeyId, place: &str) -> Result<bool, LedgerError> {
    let mut pause = PAUSE_FIRST;
    for _ in 1..TRIES {
        match note(ledger, instance, key_id, place).await {
            Err(error @ LedgerError::Database(_)) if !not_allowed(&error) => tokio::time::sleep(pause).await,
            done => return done,
        }
        pause *= 2;
    }
    note(ledger, instance, key_id, place).await
}

async fn note(ledger: &Ledger, instance: &str, key_id: KeyId, place: &str) -> Result<bool, LedgerError> {
    // A deadlock's victim, a serialization failure or a connection that broke has held nothing; noting a use twice is
    // noting it once. The caller's time limit ends this.
    let mut tries = 0;
    loop {
        match note_once(ledger, instance, key_id, place).await {
            Err(LedgerError::Database(_)) if tries < TRIES_MORE => tries += 1,
            done => return done,
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

async fn note_once(ledger: &Ledger, instance: &str, key_id: KeyId, place: &str) -> Result<bool, LedgerError> {
    let txn = ledger.begin().await?;
    let held = hold::note_use(&txn, instance, key_id.0.into(), place).await?;
    txn.commit().await?;
    Ok(held)
}

fn told(held: bool, key_id: KeyId, place: &str) {
    if held {
        tracing::error!(key_id = key_id.0, place, "a value still needs suspended key {key_id}: its clearing is held");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_told_of_once_in_a_while() {
        let (mut uses, now) = (Uses::default(), Instant::now());
        assert!(uses.is_news(KeyId(7), now));
        assert!(!uses.is_news(KeyId(7), now + TOLD_FOR / 2));
        assert!(uses.is_news(KeyId(8), now + TOLD_FOR / 2));
        assert!(uses.is_news(KeyId(7), now + TOLD_FOR));
        assert!(!uses.is_news(KeyId(7), now + TOLD_FOR));
    }
}
