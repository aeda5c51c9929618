//! Three workers: one runs, one drains, one is lost. Two applications: one still writes with the old key.

use super::keys::Keys;
use crate::words::Words;
use reseal_entities::{
    ledger::{
        presence::{self, Sign},
        writers as ledger_writers,
    },
    state::KeyState,
    workers, writers,
};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait};

const MINUTE: i64 = 60_000;
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) async fn appear(db: &impl ConnectionTrait, words: &Words, now: i64, keys: &Keys) {
    let loaded = format!("{:?}", &keys.going[1..]);
    for (name, state, ago) in
        [(words.workers[0], "running", 0), (words.workers[1], "draining", 0), (words.workers[2], "running", 4 * MINUTE)]
    {
        let row = workers::ActiveModel {
            name: Set(name.to_owned()),
            version: Set(VERSION.to_owned()),
            state: Set(state.to_owned()),
            lanes: Set(4),
            jobs_running: Set(2),
            reencrypted: Set(181_004),
            keys_loaded: Set(loaded.clone()),
            started_at: Set(now - 90 * MINUTE),
            seen_at: Set(now - ago),
            drain_requested_at: Set((state == "draining").then_some(now - MINUTE)),
            rows_per_second: Set(Some(12_400)),
        };
        row.insert(db).await.expect("a worker");
    }
    for (name, key_id) in words.writers.into_iter().zip([keys.going[2], keys.going[1]]) {
        let row = writers::ActiveModel {
            name: Set(name.to_owned()),
            keyset: Set(words.keysets[0].to_owned()),
            key_id: Set(key_id),
            started_at: Set(now - 50 * MINUTE),
            seen_at: Set(now),
            refresh_ms: Set(Some(20_000)),
        };
        row.insert(db).await.expect("a writer");
    }
}

/// The signs of life of those that live: who is silent for half a minute is lost.
pub(crate) async fn live(db: &impl ConnectionTrait, words: &Words, keys: &[(KeyState, i64)]) {
    let key = |wanted| keys.iter().find(|(state, _)| *state == wanted).expect("one of each").1;
    let (old, new) = (key(KeyState::Deactivated), key(KeyState::Active));
    for (name, state) in words.workers.into_iter().zip(["running", "draining"]) {
        let sign = Sign {
            name: name.to_owned(),
            version: VERSION.to_owned(),
            state,
            lanes: 4,
            jobs_running: 2,
            reencrypted: 181_004,
            rows_per_second: Some(12_400),
            keys_loaded: format!("{:?}", [old, new]),
        };
        presence::beat(db, &sign).await.expect("a sign of life");
    }
    for (name, key) in words.writers.into_iter().zip([new, old]) {
        ledger_writers::beat(db, name, words.keysets[0], key, 5_000).await.expect("a sign of life");
    }
}
