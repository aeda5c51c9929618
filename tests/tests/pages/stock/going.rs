//! The rotation that goes on: three tables, batches in every state, failures of three causes, quarantined rows, a
//! limit, and twenty minutes of samples with a gap.

use super::{
    Stock,
    catalog::pin,
    keys::Keys,
    others::{open, rotation},
};
use crate::words::Words;
use reseal_entities::{
    batches,
    ledger::{
        now_ms, plan,
        quarantine::{Finding, found},
        samples as ledger_samples,
        throttle::{self, Decision, Pace},
    },
    progress, quarantine, rotations, samples,
    state::{BatchState, RotationState},
};
use sea_orm::{
    ActiveModelTrait,
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
    sea_query::{Expr, ExprTrait},
};

const MINUTE: i64 = 60_000;
const ROWS: i64 = 10_000;
/// Rows a second.
const SPEED: i64 = 150;
const IN_HAND: i64 = 4_000;
/// Batches of each table; those that are done; those that failed, for a cause of its own each.
const TABLES: [(i64, i64, i64); 3] = [(24, 10, 3), (12, 8, 1), (6, 4, 1)];

pub(super) async fn make(db: &impl ConnectionTrait, words: &Words, now: i64, keys: &Keys, stock: &mut Stock) {
    let (old, new) = (keys.going[1], keys.going[2]);
    let r = rotations::ActiveModel {
        limit_rows_per_second: Set(Some(SPEED)),
        limit_lanes: Set(Some(4)),
        ..rotation(words, words.keysets[0], RotationState::Reencrypting, [old, new], now - 40 * MINUTE)
    };
    stock.going = open(db, r, old).await;
    let mut done = 0;
    for (at, table) in words.tables.into_iter().enumerate() {
        done += cut(db, words, now, stock.going, table, at).await;
    }
    stock.batches = one_of_each(db, stock.going).await;
    stock.quarantined = quarantined(db, words, stock.going, keys).await;
    sample(db, stock.going, now, done).await;
    let seen = rotations::Entity::find_by_id(stock.going).one(db).await.expect("asked").expect("there");
    let reason = Some(format!("limited to {SPEED} rows per second"));
    let limited = Decision { pace: Pace::RowsPerHour(SPEED * 1_800), code: Some("limit"), reason };
    throttle::publish_if_open(db, &seen, &limited, 95_000).await.expect("published");
}

/// One table and its batches; how many rows of it were looked at.
async fn cut(db: &impl ConnectionTrait, words: &Words, now: i64, rotation_id: i64, table: &str, at: usize) -> i64 {
    let (cut, done, failed) = TABLES[at];
    let table_id = pin(db, rotation_id, table, cut * ROWS).await;
    for n in 0..cut {
        let fresh = batch(rotation_id, table_id, n, ROWS);
        let (code, detail) = words.failed[at];
        let (code, detail) = (Set(Some(code.to_owned())), Set(Some(detail.to_owned())));
        let row = match n - done {
            ..0 => batches::ActiveModel {
                state: Set(BatchState::Done),
                epoch: Set(1),
                worker: Set(Some(words.workers[2].to_owned())),
                rows_counted: Set(ROWS),
                done_at: Set(Some(now - (done - n) * MINUTE)),
                ..fresh
            },
            i if i < failed => batches::ActiveModel {
                state: Set(BatchState::Failed),
                epoch: Set(8),
                worker: Set(Some(words.workers[at].to_owned())),
                attempts: Set(8),
                code,
                detail,
                failed_at: Set(Some(now - (i + 3) * MINUTE)),
                ..fresh
            },
            i if i == failed => batches::ActiveModel {
                state: Set(BatchState::Leased),
                epoch: Set(2),
                lease_until: Set(Some(now + 120 * MINUTE)),
                worker: Set(Some(words.workers[at % 2].to_owned())),
                cursor: Set(Some((n * ROWS + IN_HAND).to_string())),
                rows_counted: Set(IN_HAND),
                ..fresh
            },
            i if i == failed + 1 => batches::ActiveModel {
                attempts: Set(2),
                epoch: Set(2),
                due_at: Set(now + 3 * MINUTE),
                code,
                detail,
                ..fresh
            },
            _ => fresh,
        };
        row.insert(db).await.expect("a batch");
    }
    if at == 0 {
        split(db, rotation_id, table_id, cut - 1).await;
    }
    let looked_at = done * ROWS + IN_HAND;
    let row = progress::ActiveModel {
        planned_table_id: Set(table_id),
        slot: Set(0),
        rows_done: Set(looked_at),
        reencrypted: Set(looked_at - 140),
        changed_underneath: Set(12),
    };
    row.insert(db).await.expect("its progress");
    looked_at
}

/// A batch that waits for a worker.
pub(super) fn batch(rotation_id: i64, planned_table_id: i64, n: i64, rows: i64) -> batches::ActiveModel {
    batches::ActiveModel {
        rotation_id: Set(rotation_id),
        planned_table_id: Set(planned_table_id),
        after_key: Set((n > 0).then(|| (n * rows).to_string())),
        up_to_key: Set(((n + 1) * rows).to_string()),
        rows: Set(rows),
        state: Set(BatchState::Pending),
        epoch: Set(0),
        rows_counted: Set(0),
        barren_claims: Set(0),
        attempts: Set(0),
        due_at: Set(0),
        next_ring_at: Set(0),
        rings: Set(1),
        ..Default::default()
    }
}

/// Two smaller batches in the place of one.
async fn split(db: &impl ConnectionTrait, rotation_id: i64, table_id: i64, n: i64) {
    batches::Entity::update_many()
        .col_expr(batches::Column::State, Expr::value(BatchState::Superseded))
        .filter(batches::Column::PlannedTableId.eq(table_id))
        .filter(batches::Column::UpToKey.eq(((n + 1) * ROWS).to_string()))
        .exec(db)
        .await
        .expect("superseded");
    for half in [2 * n, 2 * n + 1] {
        batch(rotation_id, table_id, half, ROWS / 2).insert(db).await.expect("a half");
    }
}

async fn one_of_each(db: &impl ConnectionTrait, rotation_id: i64) -> Vec<i64> {
    use BatchState::{Done, Failed, Leased, Pending, Superseded};
    let mut ids = Vec::new();
    for state in [Done, Leased, Failed, Pending, Superseded] {
        let found = batches::Entity::find()
            .filter(batches::Column::RotationId.eq(rotation_id))
            .filter(batches::Column::State.eq(state))
            .order_by_asc(batches::Column::Id);
        ids.push(found.one(db).await.expect("asked").expect("a batch of each state").id);
    }
    ids
}

/// Four rows in a batch that is done, and two that the sweep found.
async fn quarantined(db: &impl ConnectionTrait, words: &Words, rotation_id: i64, keys: &Keys) -> Vec<i64> {
    let table = plan::tables(db, rotation_id).await.expect("tables")[0].id;
    // Too short to name a key; under the old one; under one that nobody knows.
    let cells = [(None, 3), (Some(keys.going[1]), 412), (Some(4_294_967_295), 412)];
    let finding = |n: usize| Finding {
        row_key: format!("{}{n}", words.row_key),
        column_name: words.column.to_owned(),
        code: words.quarantined[n % 3],
        found_key_id: cells[n % 3].0,
        cell_bytes: cells[n % 3].1,
    };
    let in_batch: Vec<_> = (0..4).map(finding).collect();
    let in_sweep: Vec<_> = (4..6).map(finding).collect();
    let done = batches::Entity::find().filter(batches::Column::PlannedTableId.eq(table));
    let done = done.order_by_asc(batches::Column::Id).one(db).await.expect("asked").expect("a batch").id;
    found(db, rotation_id, table, Some(done), &in_batch).await.expect("found");
    found(db, rotation_id, table, None, &in_sweep).await.expect("found");
    let rows = quarantine::Entity::find().order_by_asc(quarantine::Column::Id).all(db).await.expect("quarantined");
    rows.iter().map(|row| row.id).collect()
}

/// Each ten seconds of the last twenty minutes, but for three minutes in which it was paused.
async fn sample(db: &impl ConnectionTrait, rotation_id: i64, now: i64, done: i64) {
    let (every, last) = (ledger_samples::EVERY_MS, now - now.rem_euclid(ledger_samples::EVERY_MS));
    let went_on = (1..=120).map(|n| last - n * every).filter(|at| !(9 * MINUTE..12 * MINUTE).contains(&(now - at)));
    for (at, steps) in went_on.zip(1..) {
        let rows_done = done - steps * SPEED * every / 1_000;
        let row = samples::ActiveModel { rotation_id: Set(rotation_id), at: Set(at), rows_done: Set(rows_done) };
        row.insert(db).await.expect("a sample");
    }
}

/// What its workers have done since `ms` ago, and the leader's sample of it: it does not end while it is looked at.
pub(crate) async fn go_on(db: &impl ConnectionTrait, rotation_id: i64, ms: i64) {
    let table = plan::tables(db, rotation_id).await.expect("tables")[0].id;
    progress::Entity::update_many()
        .col_expr(progress::Column::RowsDone, Expr::col(progress::Column::RowsDone).add(SPEED * ms / 1_000))
        .filter(progress::Column::PlannedTableId.eq(table))
        .filter(progress::Column::RowsDone.lt((TABLES[0].0 - 1) * ROWS))
        .exec(db)
        .await
        .expect("progress");
    let rotation = rotations::Entity::find_by_id(rotation_id).one(db).await.expect("asked").expect("there");
    let now = now_ms(db).await.expect("the time");
    ledger_samples::record_if_going(db, &rotation, now).await.expect("a sample");
}
