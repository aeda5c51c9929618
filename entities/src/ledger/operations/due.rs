//! What dispatch asks and notes of operations.

use super::work::ATTEMPTS_MAX;
use crate::{
    ledger::{
        LedgerError,
        dispatch::{Due, rung_before},
        time::{LEASE_MS, OPERATION_PAUSE_MAX_MS, RING_AGAIN_MS, has_come, is_over, is_to_come, now_plus, still_runs},
    },
    operations::{self, Column},
    state::OperationState,
};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait},
};

/// Operations in the queue or in hand.
pub async fn outstanding(db: &impl ConnectionTrait) -> Result<u64, LedgerError> {
    let rung = Column::State
        .eq(OperationState::Requested)
        .and(Column::Rings.gt(0))
        .and(is_to_come(db, Column::NextRingAt, RING_AGAIN_MS))
        .and(has_come(db, Column::DueAt, OPERATION_PAUSE_MAX_MS));
    let held = Column::State.eq(OperationState::Running).and(still_runs(db, Column::LeaseUntil, LEASE_MS));
    Ok(operations::Entity::find().filter(Condition::any().add(rung).add(held)).count(db).await?)
}

/// Operations to ring for, oldest first: those that wait and are due, or whose worker's lease has run out.
pub async fn operations(db: &impl ConnectionTrait, limit: u64) -> Result<Vec<Due>, LedgerError> {
    let waits = Column::State
        .eq(OperationState::Requested)
        .and(has_come(db, Column::DueAt, OPERATION_PAUSE_MAX_MS))
        .and(has_come(db, Column::NextRingAt, RING_AGAIN_MS));
    let orphaned = Column::State
        .eq(OperationState::Running)
        .and(is_over(db, Column::LeaseUntil, LEASE_MS))
        .and(Column::Attempts.lt(ATTEMPTS_MAX))
        .and(rung_before(db, Column::NextRingAt, Column::LeaseUntil));
    let found = operations::Entity::find()
        .select_only()
        .columns([Column::Id, Column::Rings])
        .filter(Condition::any().add(waits).add(orphaned))
        .order_by_asc(Column::Id)
        .limit(limit);
    Ok(found.into_model().all(db).await?)
}

/// Notes that an operation is about to be rung, or (`again_in_ms` 0) that the ring failed.
pub async fn note_ring(db: &impl ConnectionTrait, id: i64, again_in_ms: i64) -> Result<(), LedgerError> {
    operations::Entity::update_many()
        .col_expr(Column::Rings, Expr::col(Column::Rings).add(1))
        .col_expr(Column::NextRingAt, now_plus(db, again_in_ms))
        .filter(Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
}

/// A queue that was not seen before is empty: whatever has not ended is rung for again.
pub(crate) async fn all_again(txn: &impl ConnectionTrait) -> Result<(), LedgerError> {
    operations::Entity::update_many()
        .col_expr(Column::NextRingAt, Expr::value(0))
        .filter(Column::State.is_in([OperationState::Requested, OperationState::Running]))
        .exec(txn)
        .await?;
    Ok(())
}
