//! Faults of a source: its server is away, read-only or set up in another way. They pause the batches of a table, cost
//! no attempt and end by themselves, however long they last.
//!
//! While a table has a fault, one batch at a time tries it, after a pause that grows. The first rows that are
//! re-encrypted, or the first batch that is done, end the fault for all of them.

use super::{
    LedgerError,
    attempts::{AttemptOutcome, note_end},
    report::held,
    time::{BATCH_PAUSE_MAX_MS, has_come, is_to_come, now, now_plus, pause_until},
};
use crate::{
    batches,
    planned_tables::{self, Column},
    state::BatchEvent,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait, SelectStatement},
};

/// A batch that tries a table with a fault has so long before another one may. Its worker can die.
const TRIAL_MS: i64 = 60_000;

/// What failed, and for how long nothing is tried.
#[derive(Clone, Copy, Debug)]
pub struct Fault<'f> {
    /// Stable.
    pub code: &'f str,
    /// For people.
    pub detail: &'f str,
    /// The batch is not tried again before this time, from now.
    pub batch_again_in_ms: i64,
    /// No batch of the table is claimed before this time, from now.
    pub table_again_in_ms: i64,
}

/// Gives a batch back for a fault of its source, in the caller's transaction: no attempt is counted, and the table
/// pauses. `table` is as it was claimed: of several lanes that meet one fault, the first sets the pause.
/// `barren_claims`: claims at which workers died, as they are to be counted from now on.
pub async fn give_back_if_held(
    txn: &impl ConnectionTrait,
    batch: &batches::Model,
    table: &planned_tables::Model,
    fault: Fault<'_>,
    barren_claims: i32,
) -> Result<bool, LedgerError> {
    let again = pause_until(txn, fault.batch_again_in_ms, BATCH_PAUSE_MAX_MS);
    let released = held(batch, BatchEvent::Release)
        .col_expr(batches::Column::LeaseUntil, Expr::value(Option::<i64>::None))
        .col_expr(batches::Column::BarrenClaims, Expr::value(barren_claims))
        .col_expr(batches::Column::Faults, Expr::col(batches::Column::Faults).add(1))
        .col_expr(batches::Column::DueAt, again)
        .col_expr(batches::Column::NextRingAt, Expr::value(0))
        .col_expr(batches::Column::Code, Expr::value(fault.code))
        .col_expr(batches::Column::Detail, Expr::value(fault.detail));
    if released.exec(txn).await?.rows_affected != 1 {
        return Ok(false);
    }
    note_end(txn, batch, AttemptOutcome::Released, Some((fault.code, fault.detail))).await?;
    planned_tables::Entity::update_many()
        .col_expr(Column::Faults, Expr::col(Column::Faults).add(1))
        .col_expr(Column::FaultCode, Expr::value(fault.code))
        .col_expr(Column::FaultDetail, Expr::value(fault.detail))
        .col_expr(Column::FaultSince, Expr::col(Column::FaultSince).if_null(now(txn)))
        .col_expr(Column::FaultUntil, pause_until(txn, fault.table_again_in_ms, BATCH_PAUSE_MAX_MS))
        .filter(Column::Id.eq(table.id))
        .filter(Column::Faults.eq(table.faults))
        .exec(txn)
        .await?;
    Ok(true)
}

/// Ends a table's fault: rows of it were re-encrypted, or a batch of it is done.
pub(super) async fn end(txn: &impl ConnectionTrait, planned_table_id: i64) -> Result<(), LedgerError> {
    planned_tables::Entity::update_many()
        .col_expr(Column::Faults, Expr::value(0))
        .col_expr(Column::FaultCode, Expr::value(Option::<String>::None))
        .col_expr(Column::FaultDetail, Expr::value(Option::<String>::None))
        .col_expr(Column::FaultSince, Expr::value(Option::<i64>::None))
        .col_expr(Column::FaultUntil, Expr::value(Option::<i64>::None))
        .filter(Column::Id.eq(planned_table_id))
        .filter(Column::Faults.gt(0))
        .exec(txn)
        .await?;
    Ok(())
}

/// Whether a batch of this table may be claimed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// The table has no fault.
    Free,
    /// The table has a fault, and this claim is the one that tries it.
    ToTry,
    /// The table pauses.
    Refused,
}

/// Asks for leave to claim. Of several that ask at once, one tries.
pub(super) async fn leave(db: &impl ConnectionTrait, table: &planned_tables::Model) -> Result<Leave, LedgerError> {
    if table.faults == 0 {
        return Ok(Leave::Free);
    }
    let tries = planned_tables::Entity::update_many()
        .col_expr(Column::FaultUntil, now_plus(db, TRIAL_MS))
        .filter(Column::Id.eq(table.id))
        .filter(Column::Faults.eq(table.faults))
        .filter(has_come(db, Column::FaultUntil, BATCH_PAUSE_MAX_MS))
        .exec(db)
        .await?;
    Ok(if tries.rows_affected == 1 { Leave::ToTry } else { Leave::Refused })
}

/// Gives the leave to try back: the batch that had it could not be claimed, or ended in a way that says nothing of the
/// source. Another may try at once.
pub(super) async fn give_leave_back(db: &impl ConnectionTrait, planned_table_id: i64) -> Result<(), LedgerError> {
    planned_tables::Entity::update_many()
        .col_expr(Column::FaultUntil, now(db))
        .filter(Column::Id.eq(planned_table_id))
        .filter(Column::Faults.gt(0))
        .exec(db)
        .await?;
    Ok(())
}

/// The tables that pause now.
pub(super) fn pausing(db: &impl ConnectionTrait) -> SelectStatement {
    let pausing = planned_tables::Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Faults.gt(0))
        .filter(is_to_come(db, Column::FaultUntil, BATCH_PAUSE_MAX_MS));
    sea_orm::QueryTrait::into_query(pausing)
}
