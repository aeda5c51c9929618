//! A person asks for failed batches and quarantined rows to be done again.

use super::{LedgerError, after, audit, may, time::now};
use crate::{
    batches,
    quarantine::{self, QuarantineState},
    rotations,
    state::{BatchEvent, BatchState, RotationState},
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait, Query},
};
use serde_json::json;

/// What to do again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// One batch, failed or with quarantined rows.
    Batch(i64),
    /// Every failed batch and every quarantined row.
    All,
}

/// What was set going.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Retried {
    /// Batches that are pending again.
    pub batches: u64,
    /// Quarantined rows that will be looked at again.
    pub rows: u64,
}

/// Sets failed batches, and batches with quarantined rows, pending again from their start; rows that
/// the sweep found are looked at again by the next sweep. In the caller's transaction.
pub async fn retry(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation_id: i64,
    what: What,
) -> Result<Retried, LedgerError> {
    let rotation = super::read::rotation_locked(txn, rotation_id).await?;
    if rotation.open_keyset.is_none() {
        return Err(LedgerError::refused(
            "rotation_ended",
            format!("rotation {rotation_id} is {}: there is nothing to retry", rotation.state),
        ));
    }
    // A batch at work has passed some of its rows already: they stay open until it is done.
    let at_work = Query::select()
        .column(batches::Column::Id)
        .from(batches::Entity)
        .and_where(batches::Column::RotationId.eq(rotation_id))
        .and_where(batches::Column::State.is_in([BatchState::Pending, BatchState::Leased]))
        .to_owned();
    let mut rows = quarantine::Entity::update_many()
        .col_expr(quarantine::Column::State, Expr::value(QuarantineState::Retrying))
        .filter(quarantine::Column::RotationId.eq(rotation_id))
        .filter(quarantine::Column::State.eq(QuarantineState::Open))
        .filter(quarantine::Column::BatchId.is_null().or(quarantine::Column::BatchId.not_in_subquery(at_work)));
    let mut again = batches::Entity::update_many()
        .col_expr(batches::Column::State, Expr::value(after::<BatchState>(BatchEvent::Retry)))
        .col_expr(batches::Column::Cursor, Expr::value(Option::<String>::None))
        .col_expr(batches::Column::Attempts, Expr::value(0))
        .col_expr(batches::Column::BarrenClaims, Expr::value(0))
        .col_expr(batches::Column::DueAt, Expr::value(0))
        .col_expr(batches::Column::NextRingAt, Expr::value(0))
        .filter(batches::Column::RotationId.eq(rotation_id))
        .filter(may::<BatchState>(batches::Column::State, BatchEvent::Retry));
    if let What::Batch(id) = what {
        rows = rows.filter(quarantine::Column::BatchId.eq(id));
        again = again.filter(batches::Column::Id.eq(id));
    }
    let rows = rows.exec(txn).await?.rows_affected;
    let with_rows = Query::select()
        .column(quarantine::Column::BatchId)
        .from(quarantine::Entity)
        .and_where(quarantine::Column::RotationId.eq(rotation_id))
        .and_where(quarantine::Column::State.eq(QuarantineState::Retrying))
        .and_where(quarantine::Column::BatchId.is_not_null())
        .to_owned();
    let failed_or_with_rows =
        batches::Column::State.eq(BatchState::Failed).or(batches::Column::Id.in_subquery(with_rows));
    // Once a rotation is proving nobody claims its batches: the sweep looks at the rows again.
    let reopens =
        matches!(rotation.state, RotationState::Requested | RotationState::Planning | RotationState::Reencrypting);
    let batches = if reopens { again.filter(failed_or_with_rows).exec(txn).await?.rows_affected } else { 0 };
    if let (What::Batch(id), 0, 0) = (what, batches, rows) {
        return Err(LedgerError::refused(
            "nothing_to_retry",
            format!(
                "batch {id} of rotation {rotation_id} has neither failed nor quarantined rows: see `reseal status {rotation_id}`"
            ),
        ));
    }
    // A row whose batch was split, or is not done again, is the sweep's.
    let split = Query::select()
        .column(batches::Column::Id)
        .from(batches::Entity)
        .and_where(batches::Column::RotationId.eq(rotation_id))
        .and_where(batches::Column::State.is_in(if reopens {
            vec![BatchState::Superseded]
        } else {
            vec![BatchState::Superseded, BatchState::Done, BatchState::Failed]
        }))
        .to_owned();
    quarantine::Entity::update_many()
        .col_expr(quarantine::Column::BatchId, Expr::value(Option::<i64>::None))
        .filter(quarantine::Column::RotationId.eq(rotation_id))
        .filter(quarantine::Column::State.eq(QuarantineState::Retrying))
        .filter(quarantine::Column::BatchId.in_subquery(split))
        .exec(txn)
        .await?;
    rotations::Entity::update_many()
        .col_expr(rotations::Column::StepDueAt, now(txn))
        .col_expr(rotations::Column::NextRingAt, Expr::value(0))
        .filter(rotations::Column::Id.eq(rotation_id))
        .exec(txn)
        .await?;
    let retried = Retried { batches, rows };
    let subject = format!("rotation {rotation_id}");
    audit::record(
        txn,
        audit::Entry { actor, action: "rotation.retried", subject, before: json!(null), after: json!(retried) },
    )
    .await?;
    Ok(retried)
}
