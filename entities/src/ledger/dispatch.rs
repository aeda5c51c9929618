//! What dispatch asks and notes: who leads, what is due, what was rung.

use super::{
    LedgerError, faults, operations,
    time::{
        BATCH_PAUSE_MAX_MS, LEADER_LEASE_MS, LEASE_MS, STEP_PAUSE_MAX_MS, has_come, is_over, is_to_come, now, now_plus,
        still_runs,
    },
};
use crate::{
    batches, identity, rotations,
    state::{BatchState, RotationState},
};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
    sea_query::{Expr, ExprTrait, IntoColumnRef, Query, SelectStatement, SimpleExpr},
};

pub use super::time::RING_AGAIN_MS;

/// Takes or keeps the lead. Two leaders at once only ring twice.
pub async fn lead_if_free(db: &impl ConnectionTrait, worker: &str) -> Result<bool, LedgerError> {
    let free = Condition::any().add(identity::Column::Leader.eq(worker)).add(is_over(
        db,
        identity::Column::LeaderUntil,
        LEADER_LEASE_MS,
    ));
    let led = identity::Entity::update_many()
        .col_expr(identity::Column::Leader, Expr::value(worker))
        .col_expr(identity::Column::LeaderUntil, now_plus(db, LEADER_LEASE_MS))
        .filter(identity::Column::Id.eq(1))
        .filter(free)
        .exec(db)
        .await?;
    Ok(led.rows_affected == 1)
}

/// Lays the lead down, so that another need not wait for the lease.
pub async fn resign(db: &impl ConnectionTrait, worker: &str) -> Result<(), LedgerError> {
    identity::Entity::update_many()
        .col_expr(identity::Column::LeaderUntil, Expr::value(0))
        .filter(identity::Column::Leader.eq(worker))
        .exec(db)
        .await?;
    Ok(())
}

/// Notes which queue is rung. A queue that was not seen before is empty, so everything open is due
/// at once. True: it was a new one.
pub async fn meet_queue(txn: &impl ConnectionTrait, incarnation: &str) -> Result<bool, LedgerError> {
    let other = Condition::any()
        .add(identity::Column::QueueIncarnation.is_null())
        .add(identity::Column::QueueIncarnation.ne(incarnation));
    let met = identity::Entity::update_many()
        .col_expr(identity::Column::QueueIncarnation, Expr::value(incarnation))
        .filter(identity::Column::Id.eq(1))
        .filter(other)
        .exec(txn)
        .await?;
    if met.rows_affected == 0 {
        return Ok(false);
    }
    batches::Entity::update_many()
        .col_expr(batches::Column::NextRingAt, Expr::value(0))
        .filter(batches::Column::State.is_in([BatchState::Pending, BatchState::Leased]))
        .exec(txn)
        .await?;
    rotations::Entity::update_many()
        .col_expr(rotations::Column::NextRingAt, Expr::value(0))
        .filter(rotations::Column::OpenKeyset.is_not_null())
        .exec(txn)
        .await?;
    operations::due::all_again(txn).await?;
    Ok(true)
}

fn rotations_that_go_on() -> SelectStatement {
    Query::select()
        .column(rotations::Column::Id)
        .from(rotations::Entity)
        .and_where(rotations::Column::State.is_in([RotationState::Planning, RotationState::Reencrypting]))
        .and_where(rotations::Column::PausedAt.is_null())
        .to_owned()
}

/// Whose batches are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// One rotation's.
    One(i64),
    /// Those of all rotations but these.
    AllBut(Vec<i64>),
}

impl Of {
    fn condition(&self) -> Condition {
        let column = batches::Column::RotationId;
        match self {
            Self::One(id) => Condition::all().add(column.eq(*id)),
            Self::AllBut(ids) if ids.is_empty() => Condition::all(),
            Self::AllBut(ids) => Condition::all().add(column.is_not_in(ids.iter().copied())),
        }
    }
}

/// Batches in the queue or in hand.
pub async fn outstanding(db: &impl ConnectionTrait, of: &Of) -> Result<u64, LedgerError> {
    let rung = batches::Column::State
        .eq(BatchState::Pending)
        .and(batches::Column::Rings.gt(0))
        .and(is_to_come(db, batches::Column::NextRingAt, RING_AGAIN_MS))
        .and(has_come(db, batches::Column::DueAt, BATCH_PAUSE_MAX_MS));
    let held = batches::Column::State.eq(BatchState::Leased).and(still_runs(db, batches::Column::LeaseUntil, LEASE_MS));
    let found = batches::Entity::find()
        .filter(batches::Column::RotationId.in_subquery(rotations_that_go_on()))
        .filter(of.condition())
        .filter(Condition::any().add(rung).add(held));
    Ok(found.count(db).await?)
}

/// Something to ring for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromQueryResult)]
pub struct Due {
    /// The batch's or the rotation's id.
    pub id: i64,
    /// Rings so far.
    pub rings: i64,
}

/// Batches to ring for, oldest first: pending and due, or held by somebody whose lease has run out.
pub async fn due_batches(db: &impl ConnectionTrait, of: &Of, limit: u64) -> Result<Vec<Due>, LedgerError> {
    let pending =
        batches::Column::State.eq(BatchState::Pending).and(has_come(db, batches::Column::DueAt, BATCH_PAUSE_MAX_MS));
    let orphaned =
        batches::Column::State.eq(BatchState::Leased).and(is_over(db, batches::Column::LeaseUntil, LEASE_MS));
    let found = batches::Entity::find()
        .select_only()
        .columns([batches::Column::Id, batches::Column::Rings])
        .filter(batches::Column::RotationId.in_subquery(rotations_that_go_on()))
        .filter(batches::Column::PlannedTableId.not_in_subquery(faults::pausing(db)))
        .filter(of.condition())
        .filter(
            Condition::any()
                .add(pending.and(has_come(db, batches::Column::NextRingAt, RING_AGAIN_MS)))
                .add(orphaned.and(rung_before(db, batches::Column::NextRingAt, batches::Column::LeaseUntil))),
        )
        .order_by_asc(batches::Column::Id)
        .limit(limit);
    Ok(found.into_model().all(db).await?)
}

/// Not rung lately, or rung last before the lease ran out: whoever that ring found is dead. A lease that is over because it
/// lies too far ahead says nothing of when its owner died.
pub(super) fn rung_before(
    db: &impl ConnectionTrait,
    next_ring_at: impl IntoColumnRef + Clone,
    lease_until: impl IntoColumnRef + Clone,
) -> SimpleExpr {
    let before = Expr::col(next_ring_at.clone())
        .lte(Expr::col(lease_until.clone()).add(RING_AGAIN_MS))
        .and(Expr::col(lease_until).lt(now(db)));
    has_come(db, next_ring_at, RING_AGAIN_MS).or(before)
}

/// Makes everything open of a rotation due for a ring at once: what was rung while it stood still was claimed by nobody, and
/// its messages are gone.
pub(super) async fn ring_again(txn: &impl ConnectionTrait, rotation_id: i64) -> Result<(), LedgerError> {
    batches::Entity::update_many()
        .col_expr(batches::Column::NextRingAt, Expr::value(0))
        .filter(batches::Column::RotationId.eq(rotation_id))
        .filter(batches::Column::State.eq(BatchState::Pending))
        .filter(batches::Column::NextRingAt.ne(0))
        .exec(txn)
        .await?;
    rotations::Entity::update_many()
        .col_expr(rotations::Column::NextRingAt, Expr::value(0))
        .filter(rotations::Column::Id.eq(rotation_id))
        .exec(txn)
        .await?;
    Ok(())
}

/// Notes that batches are about to be rung.
pub async fn note_batch_rings(db: &impl ConnectionTrait, ids: &[i64]) -> Result<(), LedgerError> {
    for some in ids.chunks(1_000) {
        batches::Entity::update_many()
            .col_expr(batches::Column::Rings, Expr::col(batches::Column::Rings).add(1))
            .col_expr(batches::Column::NextRingAt, now_plus(db, RING_AGAIN_MS))
            .filter(batches::Column::Id.is_in(some.iter().copied()))
            .exec(db)
            .await?;
    }
    Ok(())
}

/// Takes back the note of rings that did not reach the queue.
pub async fn unnote_batch_rings(db: &impl ConnectionTrait, ids: &[i64]) -> Result<(), LedgerError> {
    for some in ids.chunks(1_000) {
        batches::Entity::update_many()
            .col_expr(batches::Column::NextRingAt, Expr::value(0))
            .filter(batches::Column::Id.is_in(some.iter().copied()))
            .exec(db)
            .await?;
    }
    Ok(())
}

/// Open rotations whose step nobody holds and whose time has come.
pub async fn due_rotations(db: &impl ConnectionTrait) -> Result<Vec<rotations::Model>, LedgerError> {
    let due = has_come(db, rotations::Column::NextRingAt, RING_AGAIN_MS);
    let orphaned = is_over(db, rotations::Column::StepLeaseUntil, LEASE_MS);
    let free = Condition::any()
        .add(rotations::Column::StepLeaseUntil.is_null().and(due))
        .add(orphaned.and(rung_before(db, rotations::Column::NextRingAt, rotations::Column::StepLeaseUntil)));
    let found = rotations::Entity::find()
        .filter(rotations::Column::OpenKeyset.is_not_null())
        .filter(rotations::Column::PausedAt.is_null())
        .filter(has_come(db, rotations::Column::StepDueAt, STEP_PAUSE_MAX_MS))
        .filter(free);
    Ok(found.order_by_asc(rotations::Column::Id).all(db).await?)
}

/// Notes that a rotation's step is about to be rung, or (`again_in_ms` 0) that the ring failed.
pub async fn note_rotation_ring(db: &impl ConnectionTrait, id: i64, again_in_ms: i64) -> Result<(), LedgerError> {
    rotations::Entity::update_many()
        .col_expr(rotations::Column::Rings, Expr::col(rotations::Column::Rings).add(1))
        .col_expr(rotations::Column::NextRingAt, now_plus(db, again_in_ms))
        .filter(rotations::Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
}

/// Rotations that may be ready to close.
pub async fn closable(db: &impl ConnectionTrait) -> Result<Vec<i64>, LedgerError> {
    let found = rotations::Entity::find()
        .select_only()
        .column(rotations::Column::Id)
        .filter(rotations::Column::State.eq(RotationState::Reencrypting))
        .filter(rotations::Column::PlanningDone.eq(true));
    Ok(found.into_tuple().all(db).await?)
}

/// Rotations whose waiting time is to be observed.
pub async fn waiting(db: &impl ConnectionTrait) -> Result<Vec<rotations::Model>, LedgerError> {
    Ok(rotations::Entity::find().filter(rotations::Column::State.eq(RotationState::Waiting)).all(db).await?)
}
