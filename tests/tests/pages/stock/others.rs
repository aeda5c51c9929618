//! The rotations that do not go on: one waits to be cleared, one has ended, one stands still.

use super::{
    Stock,
    catalog::{OTHERS, pin},
    keys::Keys,
};
use crate::words::Words;
use reseal_entities::{
    batches, catalog,
    ledger::throttle::{self, Decision, Pace},
    progress, proofs, rotation_keys, rotations,
    state::{BatchState, RotationState},
};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait, EntityTrait};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const ROWS: i64 = 40_000;

pub(super) async fn make(db: &impl ConnectionTrait, words: &Words, now: i64, keys: &Keys, stock: &mut Stock) {
    let [_, waiting, ended, stopped] = words.keysets;

    let r = rotations::ActiveModel {
        completed_at: Set(Some(now - 20 * DAY)),
        ..rotation(words, ended, RotationState::Completed, keys.ended, now - 31 * DAY)
    };
    stock.ended = open(db, r, keys.ended[0]).await;
    work(db, stock.ended, OTHERS[1], BatchState::Done, now - 30 * DAY).await;

    let r = rotations::ActiveModel {
        proved_at: Set(Some(now - 3 * DAY)),
        waited_ms: Set(3 * DAY),
        waited_at: Set(Some(now)),
        needs_approval: Set(true),
        ..rotation(words, waiting, RotationState::Waiting, keys.waiting, now - 4 * DAY)
    };
    stock.waiting = open(db, r, keys.waiting[0]).await;
    work(db, stock.waiting, OTHERS[0], BatchState::Done, now - 3 * DAY).await;
    prove(db, words, stock.waiting, now - 3 * DAY).await;

    let r = rotation(words, stopped, RotationState::Reencrypting, keys.stopped, now - HOUR);
    stock.stopped = open(db, r, keys.stopped[0]).await;
    work(db, stock.stopped, OTHERS[2], BatchState::Pending, now).await;
    let seen = rotations::Entity::find_by_id(stock.stopped).one(db).await.expect("asked").expect("there");
    let lags = Decision { pace: Pace::Stopped, code: Some("replica_lag"), reason: Some(words.pace.to_owned()) };
    throttle::publish_if_open(db, &seen, &lags, 312_000).await.expect("published");
}

/// One that was asked for `at`, promoted its key a minute later and is planned.
pub(super) fn rotation(
    words: &Words,
    keyset: &str,
    state: RotationState,
    [old, new]: [i64; 2],
    at: i64,
) -> rotations::ActiveModel {
    rotations::ActiveModel {
        keyset: Set(keyset.to_owned()),
        open_keyset: Set((!state.has_ended()).then(|| keyset.to_owned())),
        state: Set(state),
        to_key_id: Set(Some(new)),
        from_key_id: Set(Some(old)),
        requested_by: Set(words.person.to_owned()),
        reason: Set(Some(words.reason.to_owned())),
        clear_after_ms: Set(7 * DAY),
        writer_ttl_ms: Set(60_000),
        batch_rows: Set(10_000),
        planning_done: Set(true),
        requested_at: Set(at),
        promoted_at: Set(Some(at + 60_000)),
        waited_ms: Set(0),
        step_epoch: Set(3),
        step_due_at: Set(0),
        step_failures: Set(0),
        next_ring_at: Set(0),
        rings: Set(41),
        ..Default::default()
    }
}

/// Opens it; it retires `old`.
pub(super) async fn open(db: &impl ConnectionTrait, rotation: rotations::ActiveModel, old: i64) -> i64 {
    let rotation_id = rotation.insert(db).await.expect("a rotation").id;
    let pin = rotation_keys::ActiveModel { rotation_id: Set(rotation_id), key_id: Set(old), generation: Set(1) };
    pin.insert(db).await.expect("a retired key");
    rotation_id
}

/// One table of four batches.
async fn work(db: &impl ConnectionTrait, rotation_id: i64, table: &str, state: BatchState, at: i64) {
    let table_id = pin(db, rotation_id, table, ROWS).await;
    let done = state == BatchState::Done;
    for n in 0..4 {
        let row = batches::ActiveModel {
            state: Set(state),
            rows_counted: Set(if done { ROWS / 4 } else { 0 }),
            done_at: Set(done.then_some(at)),
            ..super::going::batch(rotation_id, table_id, n, ROWS / 4)
        };
        row.insert(db).await.expect("a batch");
    }
    let looked_at = if done { ROWS } else { 0 };
    let row = progress::ActiveModel {
        planned_table_id: Set(table_id),
        slot: Set(0),
        rows_done: Set(looked_at),
        reencrypted: Set(looked_at),
        changed_underneath: Set(0),
    };
    row.insert(db).await.expect("its progress");
}

/// Every registered column is proved.
async fn prove(db: &impl ConnectionTrait, words: &Words, rotation_id: i64, at: i64) {
    for column in catalog::Entity::find().all(db).await.expect("the catalog") {
        let row = proofs::ActiveModel {
            rotation_id: Set(rotation_id),
            catalog_id: Set(column.id),
            cells: Set(ROWS),
            nulls: Set(12),
            under_retired: Set(0),
            unaccounted: Set(0),
            predicate: Set("substr(cell, 1, 5) in (…)".to_owned()),
            schema_fingerprint: Set("5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9".to_owned()),
            fence_fingerprint: Set("6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b".to_owned()),
            scope: Set("every bytes and text column".to_owned()),
            opened: Set(1_000),
            actor: Set(words.workers[0].to_owned()),
            proved_at: Set(at),
            ..Default::default()
        };
        row.insert(db).await.expect("a proof");
    }
}
