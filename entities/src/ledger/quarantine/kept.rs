//! Bytes of cells that are given up: kept before anything changes in the source, and never overwritten.

use super::super::{LedgerError, audit, time::now};
use crate::quarantine::{self, QuarantineState};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait, SimpleExpr},
};
use serde_json::{Value, json};

/// What `live` becomes when a row is closed without being given up: a row that keeps bytes all the same, of somebody who
/// died before it was noted, leaves its place to the next one.
pub(super) fn live_unless_kept() -> SimpleExpr {
    Expr::case(quarantine::Column::AbandonedCell.is_null(), Expr::col(quarantine::Column::Live))
        .finally(Expr::value(Option::<bool>::None))
        .into()
}

/// Keeps the bytes of a cell that is about to be given up, and says who gives it up: the source is another
/// database, so this is committed before anything changes there. In the caller's transaction. Answers with the row that
/// keeps them: where `row` keeps other bytes already, of a value that was given up before somebody died, that one is
/// closed as abandoned and the place gets a row of its own. None: the row is not unresolved any more.
pub async fn keep_bytes_if_unresolved(
    txn: &impl ConnectionTrait,
    actor: &str,
    row: &quarantine::Model,
    bytes: Vec<u8>,
) -> Result<Option<quarantine::Model>, LedgerError> {
    let row = quarantine::Entity::find_by_id(row.id)
        .filter(quarantine::Column::State.is_in(QuarantineState::UNRESOLVED))
        .lock_exclusive()
        .one(txn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let row = match &row.abandoned_cell {
        Some(kept) if *kept != bytes => in_its_place(txn, actor, &row).await?,
        _ => row,
    };
    // The lock above holds only in a transaction that the caller began to write; the statement asks for everything itself.
    let kept = quarantine::Entity::update_many()
        .col_expr(quarantine::Column::AbandonedCell, Expr::value(Some(bytes.clone())))
        .filter(quarantine::Column::Id.eq(row.id))
        .filter(quarantine::Column::State.is_in(QuarantineState::UNRESOLVED))
        .filter(quarantine::Column::AbandonedCell.is_null().or(Expr::col(quarantine::Column::AbandonedCell).eq(bytes)))
        .exec(txn)
        .await?;
    if kept.rows_affected != 1 {
        return Ok(None);
    }
    say(txn, actor, "quarantine.abandoning", &row, json!({"bytes_kept": true})).await?;
    Ok(Some(row))
}

/// Closes a row that keeps bytes, and opens another at its place.
async fn in_its_place(
    txn: &impl ConnectionTrait,
    actor: &str,
    row: &quarantine::Model,
) -> Result<quarantine::Model, LedgerError> {
    let closed = quarantine::Entity::update_many()
        .col_expr(quarantine::Column::State, Expr::value(QuarantineState::Abandoned))
        .col_expr(quarantine::Column::Live, Expr::value(Option::<bool>::None))
        .col_expr(quarantine::Column::ResolvedBy, Expr::value(actor))
        .col_expr(quarantine::Column::ResolvedAt, now(txn))
        .filter(quarantine::Column::Id.eq(row.id))
        .filter(quarantine::Column::State.is_in(QuarantineState::UNRESOLVED))
        .exec(txn)
        .await?;
    if closed.rows_affected != 1 {
        return Ok(row.clone()); // somebody closed it meanwhile, which the caller finds
    }
    let next = quarantine::ActiveModel {
        rotation_id: Set(row.rotation_id),
        planned_table_id: Set(row.planned_table_id),
        batch_id: Set(row.batch_id),
        row_key: Set(row.row_key.clone()),
        row_hash: Set(row.row_hash.clone()),
        column_name: Set(row.column_name.clone()),
        live: Set(Some(true)),
        code: Set(row.code.clone()),
        found_key_id: Set(row.found_key_id),
        cell_bytes: Set(row.cell_bytes),
        state: Set(row.state),
        found_at: Set(row.found_at),
        ..Default::default()
    };
    let id = quarantine::Entity::insert(next).exec(txn).await?.last_insert_id;
    let after = json!({"state": QuarantineState::Abandoned, "bytes_kept": true, "next_at_its_place": id});
    say(txn, actor, "quarantine.resolved", row, after).await?;
    let opened = quarantine::Entity::find_by_id(id).one(txn).await?;
    opened.ok_or_else(|| sea_orm::DbErr::RecordNotFound("the quarantined row".into()).into())
}

async fn say(
    txn: &impl ConnectionTrait,
    actor: &str,
    action: &'static str,
    row: &quarantine::Model,
    after: Value,
) -> Result<(), LedgerError> {
    let (subject, before) = (format!("quarantined row {}", row.id), json!({"state": row.state, "code": row.code}));
    audit::record(txn, audit::Entry { actor, action, subject, before, after }).await
}
