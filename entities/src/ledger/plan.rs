//! Planning: the rotation's key, its tables, its batches. Every write demands the held step.

mod replan;

pub use replan::{is_outdated, is_pinned_as, leave_table_if_held, recut_table_if_held, reopen_if_held};

use super::{LedgerError, after, audit, may, now_ms, steps};
use crate::{
    batches, catalog, planned_tables, rotations,
    state::{BatchState, RotationEvent, RotationState},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder,
    sea_query::{Expr, ExprTrait, OnConflict},
};
use serde_json::json;

/// Moves the rotation along `event` if the step is still held, and writes it down.
pub async fn advance_if_held(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
    event: RotationEvent,
) -> Result<(), LedgerError> {
    let to = after::<RotationState>(event);
    let moved = rotations::Entity::update_many()
        .col_expr(rotations::Column::State, Expr::value(to))
        // What a step remembers is of one state.
        .col_expr(rotations::Column::StepMemo, Expr::value(Option::<String>::None))
        .filter(rotations::Column::Id.eq(rotation.id))
        .filter(rotations::Column::StepEpoch.eq(rotation.step_epoch))
        .filter(may::<RotationState>(rotations::Column::State, event))
        .exec(txn)
        .await?;
    if moved.rows_affected != 1 {
        return Err(LedgerError::LeaseLost);
    }
    let subject = format!("rotation {}", rotation.id);
    let (before, after) = (json!({"state": rotation.state}), json!({"state": to}));
    audit::record(txn, audit::Entry { actor, action: "rotation.moved", subject, before, after }).await
}

/// Notes which key the rotation will promote.
pub async fn name_key_if_held(
    txn: &impl ConnectionTrait,
    rotation: &rotations::Model,
    key_id: i64,
) -> Result<(), LedgerError> {
    let named = rotations::Entity::update_many()
        .col_expr(rotations::Column::ToKeyId, Expr::value(key_id))
        .filter(rotations::Column::Id.eq(rotation.id))
        .filter(rotations::Column::StepEpoch.eq(rotation.step_epoch))
        .filter(rotations::Column::ToKeyId.is_null())
        .exec(txn)
        .await?;
    if named.rows_affected == 1 { Ok(()) } else { Err(LedgerError::LeaseLost) }
}

/// The tables that are in the rotation's plan, in the order in which they were pinned.
pub async fn tables(db: &impl ConnectionTrait, rotation_id: i64) -> Result<Vec<planned_tables::Model>, LedgerError> {
    let mut found = every_table(db, rotation_id).await?;
    found.retain(|t| t.left_at.is_none());
    Ok(found)
}

/// The same with those that have left the plan.
pub async fn every_table(
    db: &impl ConnectionTrait,
    rotation_id: i64,
) -> Result<Vec<planned_tables::Model>, LedgerError> {
    let found = planned_tables::Entity::find().filter(planned_tables::Column::RotationId.eq(rotation_id));
    Ok(found.order_by_asc(planned_tables::Column::Id).all(db).await?)
}

/// Pins one table with its columns and its largest key. A table that is pinned already stays as it is.
pub async fn pin_table(
    db: &impl ConnectionTrait,
    rotation_id: i64,
    columns: &[catalog::Model],
    max_key: Option<String>,
) -> Result<(), LedgerError> {
    let Some(first) = columns.first() else { return Ok(()) };
    let row = planned_tables::ActiveModel {
        rotation_id: Set(rotation_id),
        source: Set(first.source.clone()),
        schema_name: Set(first.schema_name.clone()),
        table_name: Set(first.table_name.clone()),
        columns: Set(json!(columns).to_string()),
        planning_done: Set(max_key.is_none()),
        max_key: Set(max_key),
        rows: Set(0),
        ..Default::default()
    };
    let unique = [
        planned_tables::Column::RotationId,
        planned_tables::Column::Source,
        planned_tables::Column::SchemaName,
        planned_tables::Column::TableName,
    ];
    planned_tables::Entity::insert(row)
        .on_conflict(OnConflict::columns(unique).do_nothing().to_owned())
        .exec_without_returning(db)
        .await?;
    Ok(())
}

/// The end of one batch and the rows in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Inclusive.
    pub up_to_key: String,
    /// Rows in the batch.
    pub rows: i64,
}

/// Writes a stretch of batches and how far planning has come, both or neither. The stretch begins
/// where the table's planning stands, so a stretch that is written twice is refused the second time.
pub async fn add_batches_if_held(
    txn: &impl ConnectionTrait,
    rotation: &rotations::Model,
    table: &planned_tables::Model,
    bounds: &[Bound],
    last: bool,
) -> Result<(), LedgerError> {
    if !steps::renew_if_held(txn, rotation.id, rotation.step_epoch).await? {
        return Err(LedgerError::LeaseLost);
    }
    let mut after_key = table.planned_up_to.clone();
    let mut rows = Vec::with_capacity(bounds.len());
    for bound in bounds {
        rows.push(new_batch(rotation.id, table.id, after_key.clone(), bound));
        after_key = Some(bound.up_to_key.clone());
    }
    for some in rows.chunks(500) {
        batches::Entity::insert_many(some.to_vec()).exec_without_returning(txn).await?;
    }
    let added: i64 = bounds.iter().map(|b| b.rows).sum();
    let mut stood = planned_tables::Entity::update_many()
        .col_expr(planned_tables::Column::PlannedUpTo, Expr::value(after_key))
        .col_expr(planned_tables::Column::PlanningDone, Expr::value(last))
        .col_expr(planned_tables::Column::Rows, Expr::col(planned_tables::Column::Rows).add(added))
        .filter(planned_tables::Column::Id.eq(table.id));
    stood = match &table.planned_up_to {
        Some(key) => stood.filter(planned_tables::Column::PlannedUpTo.eq(key)),
        None => stood.filter(planned_tables::Column::PlannedUpTo.is_null()),
    };
    if stood.exec(txn).await?.rows_affected != 1 {
        return Err(LedgerError::LeaseLost);
    }
    Ok(())
}

/// Batches of a table drawn at random over its whole length, at most so many, each once.
pub async fn drawn_batches(
    db: &impl ConnectionTrait,
    table: &planned_tables::Model,
    at_most: u32,
) -> Result<Vec<batches::Model>, LedgerError> {
    let own = || {
        batches::Entity::find()
            .filter(batches::Column::RotationId.eq(table.rotation_id))
            .filter(batches::Column::PlannedTableId.eq(table.id))
            .filter(batches::Column::State.ne(BatchState::Superseded))
    };
    let first = own().order_by_asc(batches::Column::Id).one(db).await?;
    let last = own().order_by_desc(batches::Column::Id).one(db).await?;
    let (Some(first), Some(last)) = (first, last) else { return Ok(Vec::new()) };
    let mut drawn = std::collections::BTreeMap::new();
    for _ in 0..at_most {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).map_err(|e| DbErr::Custom(e.to_string()))?;
        let span = last.id.abs_diff(first.id) + 1;
        let from = first.id.saturating_add_unsigned(u64::from_ne_bytes(random) % span);
        let batch = own().filter(batches::Column::Id.gte(from)).order_by_asc(batches::Column::Id).one(db).await?;
        drawn.extend(batch.map(|b| (b.id, b)));
    }
    Ok(drawn.into_values().collect())
}

/// The batch that a table ends with.
pub async fn last_batch(
    db: &impl ConnectionTrait,
    table: &planned_tables::Model,
) -> Result<Option<batches::Model>, LedgerError> {
    let found = batches::Entity::find()
        .filter(batches::Column::RotationId.eq(table.rotation_id))
        .filter(batches::Column::PlannedTableId.eq(table.id))
        .filter(batches::Column::State.ne(BatchState::Superseded));
    let found = match &table.planned_up_to {
        Some(key) => found.filter(batches::Column::UpToKey.eq(key)),
        None => found,
    };
    Ok(found.order_by_desc(batches::Column::Id).one(db).await?)
}

pub(crate) fn new_batch(
    rotation_id: i64,
    planned_table_id: i64,
    after_key: Option<String>,
    bound: &Bound,
) -> batches::ActiveModel {
    batches::ActiveModel {
        rotation_id: Set(rotation_id),
        planned_table_id: Set(planned_table_id),
        after_key: Set(after_key),
        up_to_key: Set(bound.up_to_key.clone()),
        rows: Set(bound.rows),
        state: Set(BatchState::Pending),
        epoch: Set(0),
        rows_counted: Set(0),
        barren_claims: Set(0),
        attempts: Set(0),
        due_at: Set(0),
        next_ring_at: Set(0),
        rings: Set(0),
        split_asked: Set(false),
        ..Default::default()
    }
}

/// When the rotation's key became active. A time that lies ahead is by a clock that was wrong then or is now, and becomes this
/// moment: a wait that is counted from it would last until the clock comes back.
pub async fn promoted_by_now(db: &impl ConnectionTrait, rotation: &rotations::Model) -> Result<i64, LedgerError> {
    let (promoted_at, now) = (rotation.promoted_at.unwrap_or_default(), now_ms(db).await?);
    if promoted_at <= now {
        return Ok(promoted_at);
    }
    rotations::Entity::update_many()
        .col_expr(rotations::Column::PromotedAt, Expr::value(now))
        .filter(rotations::Column::Id.eq(rotation.id))
        .filter(rotations::Column::PromotedAt.eq(promoted_at))
        .exec(db)
        .await?;
    Ok(now)
}

/// Notes that every table is cut into batches, in the caller's transaction. False: the registered columns have changed
/// meanwhile, and nothing was noted. Whoever forgets a column waits for the rotation's lock, which this has.
pub async fn finish_if_held(txn: &impl ConnectionTrait, rotation: &rotations::Model) -> Result<bool, LedgerError> {
    super::read::locked(txn, rotation.id).await?;
    if replan::is_outdated(txn, rotation).await? {
        return Ok(false);
    }
    let finished = rotations::Entity::update_many()
        .col_expr(rotations::Column::PlanningDone, Expr::value(true))
        .filter(rotations::Column::Id.eq(rotation.id))
        .filter(rotations::Column::StepEpoch.eq(rotation.step_epoch))
        .filter(rotations::Column::State.eq(RotationState::Reencrypting))
        .exec(txn)
        .await?;
    if finished.rows_affected == 1 { Ok(true) } else { Err(LedgerError::LeaseLost) }
}
