//! What a batch's owner writes while and after working: each statement names its epoch.

use super::{
    LedgerError, after,
    attempts::{AttemptOutcome, note_end},
    faults, may, plan,
    throttle::{self, Pace},
    time::{BATCH_PAUSE_MAX_MS, LEASE_MS, now, now_plus, pause_until},
};
use crate::{
    batches, planned_tables, progress, quarantine, rotations,
    state::{BatchEvent, BatchState, RotationState},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, UpdateMany,
    sea_query::{Expr, ExprTrait, OnConflict},
};

/// What was done since the last time it was written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Planned rows that were looked at.
    pub rows_done: i64,
    /// Rows that the database said it changed.
    pub reencrypted: i64,
    /// Rows that an application changed or deleted under a swap.
    pub changed_underneath: i64,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The batch is still ours, to go on with at this pace.
    Held(Pace),
    /// The batch is still ours, but its rotation was paused, cancelled or turned round, or has more batches
    /// in hand than it may.
    Paused,
    /// Somebody else has it.
    Lost,
}

pub(super) fn held(batch: &batches::Model, event: BatchEvent) -> UpdateMany<batches::Entity> {
    batches::Entity::update_many()
        .filter(batches::Column::Id.eq(batch.id))
        .filter(batches::Column::Epoch.eq(batch.epoch))
        .filter(may::<BatchState>(batches::Column::State, event))
        .col_expr(batches::Column::State, Expr::value(after::<BatchState>(event)))
}

/// Writes the cursor, once there is one, and counts, and renews the lease, in the caller's transaction.
pub async fn checkpoint_if_held(
    txn: &impl ConnectionTrait,
    batch: &batches::Model,
    cursor: Option<&str>,
    delta: Delta,
    slot: i32,
) -> Result<Hold, LedgerError> {
    let mut keep = batches::Entity::update_many();
    if let Some(cursor) = cursor {
        keep = keep.col_expr(batches::Column::Cursor, Expr::value(cursor));
    }
    if delta.reencrypted > 0 {
        keep = keep.col_expr(batches::Column::Faults, Expr::value(0));
    }
    let kept = keep
        .col_expr(batches::Column::LeaseUntil, now_plus(txn, LEASE_MS))
        .col_expr(batches::Column::BarrenClaims, Expr::value(0))
        .col_expr(batches::Column::RowsCounted, Expr::col(batches::Column::RowsCounted).add(delta.rows_done))
        .filter(batches::Column::Id.eq(batch.id))
        .filter(batches::Column::Epoch.eq(batch.epoch))
        .filter(batches::Column::State.eq(BatchState::Leased))
        .exec(txn)
        .await?;
    if kept.rows_affected != 1 {
        return Ok(Hold::Lost);
    }
    add_progress(txn, batch.planned_table_id, slot, delta).await?;
    if delta.reencrypted > 0 {
        faults::end(txn, batch.planned_table_id).await?;
    }
    let rotation = rotations::Entity::find_by_id(batch.rotation_id).one(txn).await?;
    let goes_on = |r: &rotations::Model| {
        r.paused_at.is_none() && matches!(r.state, RotationState::Planning | RotationState::Reencrypting)
    };
    match rotation.filter(goes_on) {
        Some(r) if !throttle::is_surplus(txn, batch, r.limit_lanes).await? => {
            Ok(Hold::Held(throttle::pace_of(txn, &r).await?))
        }
        _ => Ok(Hold::Paused),
    }
}

/// Reports a batch whose every row was looked at. False: somebody else has it, and nothing changed.
pub async fn report_if_held(
    txn: &impl ConnectionTrait,
    batch: &batches::Model,
    delta: Delta,
    slot: i32,
) -> Result<bool, LedgerError> {
    let reported = held(batch, BatchEvent::Report)
        .col_expr(batches::Column::DoneAt, now(txn))
        .col_expr(batches::Column::LeaseUntil, Expr::value(Option::<i64>::None))
        .col_expr(batches::Column::Cursor, Expr::value(&batch.up_to_key))
        .col_expr(batches::Column::RowsCounted, Expr::col(batches::Column::RowsCounted).add(delta.rows_done))
        .col_expr(batches::Column::BarrenClaims, Expr::value(0))
        .col_expr(batches::Column::SplitAsked, Expr::value(false))
        .col_expr(batches::Column::Faults, Expr::value(0))
        .col_expr(batches::Column::Code, Expr::value(Option::<String>::None))
        .col_expr(batches::Column::Detail, Expr::value(Option::<String>::None))
        .exec(txn)
        .await?;
    if reported.rows_affected != 1 {
        return Ok(false);
    }
    if batch.epoch > 1 {
        note_end(txn, batch, AttemptOutcome::Done, None).await?;
    }
    add_progress(txn, batch.planned_table_id, slot, delta).await?;
    faults::end(txn, batch.planned_table_id).await?;
    super::quarantine::settle_batch(txn, batch.id).await?;
    Ok(true)
}

/// Gives a batch back, in the caller's transaction: at once when drained or paused, later after a failure.
pub async fn release_if_held(
    txn: &impl ConnectionTrait,
    batch: &batches::Model,
    again_in_ms: i64,
    failure: Option<(&str, &str)>,
) -> Result<bool, LedgerError> {
    released(txn, batch, again_in_ms, failure, 0).await
}

/// The same of a batch that was to be split and could not be, after a failure. The claims at which its workers died go on
/// counting, without this one: it is split before it is tried again.
pub async fn release_unsplit_if_held(
    txn: &impl ConnectionTrait,
    batch: &batches::Model,
    again_in_ms: i64,
    failure: (&str, &str),
) -> Result<bool, LedgerError> {
    released(txn, batch, again_in_ms, Some(failure), std::cmp::max(batch.barren_claims - 1, 0)).await
}

async fn released(
    txn: &impl ConnectionTrait,
    batch: &batches::Model,
    again_in_ms: i64,
    failure: Option<(&str, &str)>,
    barren_claims: i32,
) -> Result<bool, LedgerError> {
    let mut release = held(batch, BatchEvent::Release)
        .col_expr(batches::Column::LeaseUntil, Expr::value(Option::<i64>::None))
        .col_expr(batches::Column::BarrenClaims, Expr::value(barren_claims))
        .col_expr(batches::Column::DueAt, pause_until(txn, again_in_ms, BATCH_PAUSE_MAX_MS))
        .col_expr(batches::Column::NextRingAt, Expr::value(0));
    if let Some((code, detail)) = failure {
        release = release
            .col_expr(batches::Column::Attempts, Expr::col(batches::Column::Attempts).add(1))
            .col_expr(batches::Column::Code, Expr::value(code))
            .col_expr(batches::Column::Detail, Expr::value(detail));
    }
    if release.exec(txn).await?.rows_affected != 1 {
        return Ok(false);
    }
    note_end(txn, batch, AttemptOutcome::Released, failure).await?;
    faults::give_leave_back(txn, batch.planned_table_id).await?;
    Ok(true)
}

/// Gives a batch up for a person to look at, in the caller's transaction.
pub async fn fail_if_held(
    txn: &impl ConnectionTrait,
    batch: &batches::Model,
    code: &str,
    detail: &str,
) -> Result<bool, LedgerError> {
    let failed = held(batch, BatchEvent::Fail)
        .col_expr(batches::Column::FailedAt, now(txn))
        .col_expr(batches::Column::LeaseUntil, Expr::value(Option::<i64>::None))
        .col_expr(batches::Column::Attempts, Expr::col(batches::Column::Attempts).add(1))
        .col_expr(batches::Column::Code, Expr::value(code))
        .col_expr(batches::Column::Detail, Expr::value(detail))
        // A wish that cannot be met would stand before every retry; it may be asked for again.
        .col_expr(batches::Column::SplitAsked, Expr::value(false))
        .exec(txn)
        .await?;
    if failed.rows_affected != 1 {
        return Ok(false);
    }
    note_end(txn, batch, AttemptOutcome::Failed, Some((code, detail))).await?;
    faults::give_leave_back(txn, batch.planned_table_id).await?;
    Ok(true)
}

/// Puts two smaller batches in a batch's place, all or nothing in the caller's transaction: one up to `middle`, and one
/// of the `rest` of the rows. What the parent had counted stays counted; the children carry what it had not.
pub async fn split_if_held(
    txn: &impl ConnectionTrait,
    batch: &batches::Model,
    middle: &plan::Bound,
    rest: i64,
) -> Result<bool, LedgerError> {
    let split = held(batch, BatchEvent::Split).col_expr(batches::Column::LeaseUntil, Expr::value(Option::<i64>::None));
    if split.exec(txn).await?.rows_affected != 1 {
        return Ok(false);
    }
    note_end(txn, batch, AttemptOutcome::Split, None).await?;
    faults::give_leave_back(txn, batch.planned_table_id).await?;
    // The children do not look at what the parent quarantined; the sweep does.
    quarantine::Entity::update_many()
        .col_expr(quarantine::Column::BatchId, Expr::value(Option::<i64>::None))
        .filter(quarantine::Column::BatchId.eq(batch.id))
        .exec(txn)
        .await?;
    // A batch that is done again has counted rows that still lie before it.
    let uncounted = std::cmp::max(batch.rows - batch.rows_counted, 0);
    let of_first = std::cmp::min(middle.rows, uncounted);
    let rest = plan::Bound { up_to_key: batch.up_to_key.clone(), rows: std::cmp::max(rest, uncounted - of_first) };
    let half = |after_key, bound: &plan::Bound, uncounted| batches::ActiveModel {
        rows_counted: Set(bound.rows - uncounted),
        part_of: Set(batch.part_of.or(Some(batch.id))),
        ..plan::new_batch(batch.rotation_id, batch.planned_table_id, after_key, bound)
    };
    let first = half(batch.cursor.clone().or_else(|| batch.after_key.clone()), middle, of_first);
    let second = half(Some(middle.up_to_key.clone()), &rest, uncounted - of_first);
    batches::Entity::insert_many([first, second]).exec_without_returning(txn).await?;
    Ok(true)
}

/// Adds to what people are shown.
pub async fn add_progress(
    txn: &impl ConnectionTrait,
    planned_table_id: i64,
    slot: i32,
    delta: Delta,
) -> Result<(), LedgerError> {
    if delta == Delta::default() {
        return Ok(());
    }
    let row = progress::ActiveModel {
        planned_table_id: Set(planned_table_id),
        slot: Set(slot),
        rows_done: Set(0),
        reencrypted: Set(0),
        changed_underneath: Set(0),
    };
    let key = [progress::Column::PlannedTableId, progress::Column::Slot];
    progress::Entity::insert(row)
        .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
        .exec_without_returning(txn)
        .await?;
    progress::Entity::update_many()
        .col_expr(progress::Column::RowsDone, Expr::col(progress::Column::RowsDone).add(delta.rows_done))
        .col_expr(progress::Column::Reencrypted, Expr::col(progress::Column::Reencrypted).add(delta.reencrypted))
        .col_expr(
            progress::Column::ChangedUnderneath,
            Expr::col(progress::Column::ChangedUnderneath).add(delta.changed_underneath),
        )
        .filter(progress::Column::PlannedTableId.eq(planned_table_id))
        .filter(progress::Column::Slot.eq(slot))
        .exec(txn)
        .await?;
    Ok(())
}

/// Keeps the rate that a worker learned, so that the next one starts from it.
pub async fn learn_rate(
    db: &impl ConnectionTrait,
    planned_table_id: i64,
    rows_per_second: f64,
) -> Result<(), LedgerError> {
    planned_tables::Entity::update_many()
        .col_expr(planned_tables::Column::RowsPerSecond, Expr::value(rows_per_second))
        .filter(planned_tables::Column::Id.eq(planned_table_id))
        .exec(db)
        .await?;
    Ok(())
}
