//! Closing: the last batch moves its rotation on to be proved.
//!
//! Never inside the transaction that completes a batch: two last batches would then both miss each
//! other. It runs after that commit, and again from the dispatch loop.

use super::{Ledger, LedgerError, after, audit, may};
use crate::{
    batches,
    quarantine::{self, QuarantineState},
    rotations,
    state::{BatchState, RotationEvent, RotationState},
};
use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait, Query},
};
use serde_json::json;

/// Moves a rotation to `proving` when all is planned, no batch is open and nothing is quarantined.
/// True: this call did it.
pub async fn close_if_nothing_is_open(ledger: &Ledger, actor: &str, rotation_id: i64) -> Result<bool, LedgerError> {
    let open_batches = Query::select()
        .expr(Expr::value(1))
        .from(batches::Entity)
        .and_where(batches::Column::RotationId.eq(rotation_id))
        .and_where(batches::Column::State.is_in(BatchState::OPEN))
        .to_owned();
    // What the sweep found and a person asked to be looked at again, the next sweep looks at.
    let for_a_batch = quarantine::Column::State
        .eq(QuarantineState::Open)
        .or(quarantine::Column::State.eq(QuarantineState::Retrying).and(quarantine::Column::BatchId.is_not_null()));
    let quarantined = Query::select()
        .expr(Expr::value(1))
        .from(quarantine::Entity)
        .and_where(quarantine::Column::RotationId.eq(rotation_id))
        .and_where(for_a_batch)
        .to_owned();
    let txn = ledger.begin().await?;
    // A retry reopens batches under this same lock; asking after it is held is what makes both safe.
    rotations::Entity::find_by_id(rotation_id).lock_exclusive().one(&txn).await?;
    let closed = rotations::Entity::update_many()
        .col_expr(rotations::Column::State, Expr::value(after::<RotationState>(RotationEvent::Prove)))
        .col_expr(rotations::Column::StepDueAt, Expr::value(0))
        .col_expr(rotations::Column::NextRingAt, Expr::value(0))
        .col_expr(rotations::Column::StepLeaseUntil, Expr::value(Option::<i64>::None))
        .col_expr(rotations::Column::StepCode, Expr::value(Option::<String>::None))
        .col_expr(rotations::Column::StepSince, Expr::value(Option::<i64>::None))
        .col_expr(rotations::Column::StepDetail, Expr::value(Option::<String>::None))
        .filter(rotations::Column::Id.eq(rotation_id))
        .filter(may::<RotationState>(rotations::Column::State, RotationEvent::Prove))
        .filter(rotations::Column::PlanningDone.eq(true))
        .filter(Expr::exists(open_batches).not())
        .filter(Expr::exists(quarantined).not())
        .exec(&txn)
        .await?;
    if closed.rows_affected != 1 {
        txn.rollback().await?;
        return Ok(false);
    }
    let entry = audit::Entry {
        actor,
        action: "rotation.moved",
        subject: format!("rotation {rotation_id}"),
        before: json!({"state": RotationState::Reencrypting}),
        after: json!({"state": RotationState::Proving}),
    };
    audit::record(&txn, entry).await?;
    txn.commit().await?;
    Ok(true)
}
