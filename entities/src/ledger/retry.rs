//! A person asks for failed batches and quarantined rows to be done again.

mod count;
mod named;

pub use count::{Matching, count_matching};

use super::{LedgerError, after, attempts, audit, time::now};
use crate::{
    batches,
    quarantine::{self, QuarantineState},
    rotations,
    state::{BatchEvent, BatchState},
};
pub(super) use named::Named;
use named::{of_rotation, reopens};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, sea_query::Expr};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What to do again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// One batch, failed or with quarantined rows.
    Batch(i64),
    /// Every failed batch and every quarantined row.
    All,
}

/// Which of a rotation's batches and rows to do again: those that fit every field. Nothing set means every
/// failed batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryFilter {
    /// These batches, as many as one likes.
    pub batch_ids: Option<Vec<i64>>,
    /// Batches that failed, and rows that were quarantined, for this code.
    pub code: Option<String>,
    /// Of this table: `source:schema.table`, or its name where that is clear.
    pub table: Option<String>,
    /// Quarantined rows too, and the batches that they stand in.
    pub quarantined: bool,
}

impl RetryFilter {
    /// For the audit, which is read by people: ids by the ten thousand are told by their number.
    pub(super) fn told(&self) -> Value {
        let mut told = json!(self);
        if let Some(ids) = self.batch_ids.as_ref().filter(|ids| ids.len() > 100) {
            told["batch_ids"] = json!(format!("{} batches", ids.len()));
        }
        told
    }
}

/// What was set going. Batches are counted, but for `rows`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// Batches that the filter named. With `batch_ids` those of them that the rotation has and that fit the other
    /// fields, whatever has become of them; without, those that were failed, or had quarantined rows, just now.
    pub matched: u64,
    /// Those that are pending again.
    pub applied: u64,
    /// `matched - applied`: named by `batch_ids`, but neither failed nor with quarantined rows that were asked for any
    /// more when this was applied, or the rotation is past its batches. None without `batch_ids`.
    pub skipped: u64,
    /// Quarantined rows that will be looked at again, by their batches or by the next sweep.
    pub rows: u64,
}

/// One batch, or all there is, as [`retry_matching`] does it. A batch with nothing to retry is refused.
pub async fn retry(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation_id: i64,
    what: What,
) -> Result<Retried, LedgerError> {
    let batch_ids = match what {
        What::Batch(id) => Some(vec![id]),
        What::All => None,
    };
    let filter = RetryFilter { batch_ids, quarantined: true, ..RetryFilter::default() };
    let retried = retry_matching(txn, actor, rotation_id, &filter).await?;
    if let (What::Batch(id), 0, 0) = (what, retried.applied, retried.rows) {
        return Err(LedgerError::refused(
            "nothing_to_retry",
            format!(
                "batch {id} of rotation {rotation_id} has neither failed nor quarantined rows: see `reseal status {rotation_id}`"
            ),
        ));
    }
    Ok(retried)
}

/// Sets failed batches, and batches with quarantined rows, pending again from their start; rows that
/// the sweep found are looked at again by the next sweep. In the caller's transaction; any number of
/// batches and rows by a fixed number of statements, which hold their locks until it ends.
pub async fn retry_matching(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation_id: i64,
    filter: &RetryFilter,
) -> Result<Retried, LedgerError> {
    // Locked, so that of two retries at once the second sees what the first did, and closing waits.
    let rotation = not_ended(super::read::locked(txn, rotation_id).await?)?;
    let named = Named::new(txn, rotation_id, filter).await?;
    let rows = look_again(txn, &named).await?;
    let reopens = reopens(rotation.state);
    let by_id = match filter.batch_ids {
        Some(_) => Some(batches::Entity::find().filter(named.batches_by_id()).count(txn).await?),
        None => None,
    };
    let applied = if reopens { set_pending(txn, &named).await? } else { 0 };
    leave_to_the_sweep(txn, rotation_id, reopens).await?;
    rotations::Entity::update_many()
        .col_expr(rotations::Column::StepDueAt, now(txn))
        .col_expr(rotations::Column::StepMemo, Expr::value(Option::<String>::None))
        .col_expr(rotations::Column::NextRingAt, Expr::value(0))
        .filter(rotations::Column::Id.eq(rotation_id))
        .exec(txn)
        .await?;
    let matched = by_id.unwrap_or(applied);
    let retried = Retried { matched, applied, skipped: matched.saturating_sub(applied), rows };
    let subject = format!("rotation {rotation_id}");
    let after = json!({"filter": filter.told(), "retried": retried});
    audit::record(txn, audit::Entry { actor, action: "rotation.retried", subject, before: json!(null), after }).await?;
    Ok(retried)
}

fn not_ended(rotation: rotations::Model) -> Result<rotations::Model, LedgerError> {
    if rotation.open_keyset.is_none() {
        return Err(LedgerError::refused(
            "rotation_ended",
            format!("rotation {} is {}: there is nothing to retry", rotation.id, rotation.state),
        ));
    }
    Ok(rotation)
}

async fn look_again(txn: &impl ConnectionTrait, named: &Named) -> Result<u64, LedgerError> {
    let Some(rows) = named.rows_to_look_at() else { return Ok(0) };
    let again = quarantine::Entity::update_many()
        .col_expr(quarantine::Column::State, Expr::value(QuarantineState::Retrying))
        .filter(rows);
    Ok(again.exec(txn).await?.rows_affected)
}

async fn set_pending(txn: &impl ConnectionTrait, named: &Named) -> Result<u64, LedgerError> {
    let these = named.batches_to_reopen(&[QuarantineState::Retrying]);
    attempts::note_done_at_once(txn, these.clone()).await?;
    let again = batches::Entity::update_many()
        .col_expr(batches::Column::State, Expr::value(after::<BatchState>(BatchEvent::Retry)))
        .col_expr(batches::Column::Cursor, Expr::value(Option::<String>::None))
        .col_expr(batches::Column::Attempts, Expr::value(0))
        .col_expr(batches::Column::BarrenClaims, Expr::value(0))
        .col_expr(batches::Column::Faults, Expr::value(0))
        .col_expr(batches::Column::DueAt, Expr::value(0))
        .col_expr(batches::Column::NextRingAt, Expr::value(0))
        .filter(these);
    Ok(again.exec(txn).await?.rows_affected)
}

/// A row whose batch was split, or is not done again, is the sweep's.
async fn leave_to_the_sweep(txn: &impl ConnectionTrait, rotation_id: i64, reopens: bool) -> Result<(), LedgerError> {
    let left = of_rotation(
        rotation_id,
        if reopens {
            vec![BatchState::Superseded]
        } else {
            vec![BatchState::Superseded, BatchState::Done, BatchState::Failed]
        },
    );
    quarantine::Entity::update_many()
        .col_expr(quarantine::Column::BatchId, Expr::value(Option::<i64>::None))
        .filter(quarantine::Column::RotationId.eq(rotation_id))
        .filter(quarantine::Column::State.eq(QuarantineState::Retrying))
        .filter(quarantine::Column::BatchId.in_subquery(left))
        .exec(txn)
        .await?;
    Ok(())
}
