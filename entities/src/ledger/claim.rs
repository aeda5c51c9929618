//! Taking a batch: lease and epoch.

pub use super::time::LEASE_MS;

use super::{
    LedgerError, after,
    faults::{self, Leave},
    may,
    throttle::{self, Pace},
    time::{BATCH_PAUSE_MAX_MS, has_come, is_over, now_plus},
};
use crate::{
    batches, planned_tables, rotations,
    state::{BatchEvent, BatchState, RotationState},
};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait, Query},
};

/// After so many claims in a row whose owner died without progress, a batch is split.
pub const BARREN_CLAIMS_MAX: i32 = 3;

/// A batch in hand, with the epoch that every report of it must name.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The batch as it was claimed.
    pub batch: batches::Model,
    /// Its table.
    pub table: planned_tables::Model,
    /// Its rotation.
    pub rotation: rotations::Model,
    /// How fast it may go, with this batch among those in hand: a limit holds from the first row, also where no leader has
    /// published a pace yet.
    pub pace: Pace,
}

/// Claims a batch that is pending, or whose owner's lease has run out, while its rotation is not paused and its retry time
/// has come. None: it is not ours to do. A message that leads to no claim is gone, so the
/// batch must not count as rung any longer: dispatch rings again once it can be claimed.
pub async fn claim_if_due(
    db: &impl ConnectionTrait,
    batch_id: i64,
    worker: &str,
) -> Result<Option<Claimed>, LedgerError> {
    // The epoch is named, not merely raised and read back: two lanes of one worker, of which one slept
    // past its lease, would otherwise both take the younger one's for theirs.
    let Some(seen) = batches::Entity::find_by_id(batch_id).one(db).await? else { return Ok(None) };
    let rotation = rotations::Entity::find_by_id(seen.rotation_id).one(db).await?;
    let lanes = rotation.and_then(|r| r.limit_lanes);
    let Some(table) = planned_tables::Entity::find_by_id(seen.planned_table_id).one(db).await? else { return Ok(None) };
    let leave = faults::leave(db, &table).await?;
    if leave == Leave::Refused {
        take_ring_back(db, &seen).await?;
        return Ok(None);
    }
    let free = Condition::any().add(batches::Column::State.eq(BatchState::Pending)).add(is_over(
        db,
        batches::Column::LeaseUntil,
        LEASE_MS,
    ));
    let rotation_goes_on = Query::select()
        .expr(Expr::value(1))
        .from(rotations::Entity)
        .and_where(
            Expr::col((rotations::Entity, rotations::Column::Id))
                .equals((batches::Entity, batches::Column::RotationId)),
        )
        .and_where(rotations::Column::State.is_in([RotationState::Planning, RotationState::Reencrypting]))
        .and_where(rotations::Column::PausedAt.is_null())
        .to_owned();
    let claimed = batches::Entity::update_many()
        .col_expr(batches::Column::State, Expr::value(after::<BatchState>(BatchEvent::Claim)))
        .col_expr(batches::Column::Epoch, Expr::value(seen.epoch + 1))
        .col_expr(batches::Column::LeaseUntil, now_plus(db, LEASE_MS))
        .col_expr(batches::Column::Worker, Expr::value(worker))
        .col_expr(batches::Column::BarrenClaims, Expr::col(batches::Column::BarrenClaims).add(1))
        .filter(batches::Column::Id.eq(batch_id))
        .filter(batches::Column::Epoch.eq(seen.epoch))
        .filter(may::<BatchState>(batches::Column::State, BatchEvent::Claim))
        .filter(free)
        .filter(has_come(db, batches::Column::DueAt, BATCH_PAUSE_MAX_MS))
        .filter(Expr::exists(rotation_goes_on))
        .filter(throttle::has_a_free_lane(db, seen.rotation_id, lanes))
        .exec(db)
        .await?;
    if claimed.rows_affected == 0 {
        if leave == Leave::ToTry {
            faults::give_leave_back(db, table.id).await?;
        }
        take_ring_back(db, &seen).await?;
        return Ok(None);
    }
    let held = batches::Entity::find_by_id(batch_id).filter(batches::Column::Epoch.eq(seen.epoch + 1));
    let Some(batch) = held.one(db).await? else { return Ok(None) };
    let rotation = rotations::Entity::find_by_id(batch.rotation_id).one(db).await?;
    let Some(rotation) = rotation else { return Ok(None) };
    let pace = throttle::pace_of(db, &rotation).await?;
    Ok(Some(Claimed { batch, table, rotation, pace }))
}

/// The message of a batch that could not be claimed is gone, so that it must not count as rung: dispatch rings once the batch
/// can be claimed.
async fn take_ring_back(db: &impl ConnectionTrait, seen: &batches::Model) -> Result<(), LedgerError> {
    batches::Entity::update_many()
        .col_expr(batches::Column::NextRingAt, Expr::value(0))
        .filter(batches::Column::Id.eq(seen.id))
        .filter(batches::Column::Epoch.eq(seen.epoch))
        .filter(batches::Column::State.eq(BatchState::Pending))
        .exec(db)
        .await?;
    Ok(())
}

/// Whether a claimed batch is still held under the epoch of its claim.
pub async fn is_held(db: &impl ConnectionTrait, batch: &batches::Model) -> Result<bool, LedgerError> {
    let held = batches::Entity::find_by_id(batch.id)
        .filter(batches::Column::Epoch.eq(batch.epoch))
        .filter(batches::Column::State.eq(BatchState::Leased));
    Ok(held.one(db).await?.is_some())
}
