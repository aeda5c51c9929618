//! How fast a rotation may go: what an operator allows, what the dispatch leader publishes once a second,
//! what workers read.

use super::{
    LedgerError, audit, dispatch,
    time::{LEASE_MS, now_ms, still_runs},
};
use crate::{
    batches, rotations,
    state::{BatchState, RotationState},
};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter,
    sea_query::{Alias, Expr, ExprTrait, Func, Query, SimpleExpr},
};
use serde::Serialize;
use serde_json::json;

/// How fast one batch in hand may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the database takes it.
    #[default]
    Unlimited,
    /// So many rows an hour, at least one: an hour, so that a small limit can be shared by many lanes.
    RowsPerHour(i64),
    /// Not at all until the leader says otherwise.
    Stopped,
}

/// What an operator allows one rotation; none is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Rows re-encrypted per second, over all workers.
    pub rows_per_second: Option<i64>,
    /// Batches in hand at once, over all workers.
    pub lanes: Option<i32>,
    /// Batches in the queue or in hand.
    pub batches: Option<i32>,
}

/// What the leader decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// For each batch in hand.
    pub pace: Pace,
    /// Stable; none at full speed.
    pub code: Option<&'static str>,
    /// For people.
    pub reason: Option<String>,
}

impl Limits {
    /// Each batch's share of the limit, where so many are in hand: at least a row an hour, as a limit never stops.
    pub fn share(&self, in_hand: u64) -> Pace {
        let Some(limit) = self.rows_per_second else { return Pace::Unlimited };
        let lanes = std::cmp::max(i64::try_from(in_hand).unwrap_or(i64::MAX), 1);
        Pace::RowsPerHour(std::cmp::max(limit.saturating_mul(3_600) / lanes, 1))
    }

    /// The first of them that cannot be meant, and the most that it can be.
    pub fn out_of_range(&self) -> Option<(&'static str, i64)> {
        let given = [
            ("rows_per_second", self.rows_per_second, 1_000_000_000),
            ("lanes", self.lanes.map(i64::from), 100_000),
            ("batches", self.batches.map(i64::from), 100_000),
        ];
        let wrong = given.into_iter().find(|(_, n, most)| n.is_some_and(|n| !(1..=*most).contains(&n)));
        wrong.map(|(what, _, most)| (what, most))
    }

    /// Refuses them where one of them is out of range, whichever way they came.
    pub(super) fn demand_in_range(&self) -> Result<(), LedgerError> {
        let Some((what, most)) = self.out_of_range() else { return Ok(()) };
        let message = format!("the limit {what} is a number from 1 to {most}: to stop a rotation, pause it");
        Err(LedgerError::refused("invalid_limit", message))
    }
}

impl rotations::Model {
    /// The leader has stopped it. Whatever pace it published else is for people: each claim and each checkpoint computes
    /// the share of the limit that stands by then.
    pub fn is_stopped(&self) -> bool {
        self.pace_rows_per_hour == Some(0)
    }

    /// A person has paused it, or its throttle has stopped it.
    pub(super) fn stands_still(&self) -> bool {
        self.paused_at.is_some() || self.is_stopped()
    }

    /// What an operator allows it.
    pub fn limits(&self) -> Limits {
        Limits { rows_per_second: self.limit_rows_per_second, lanes: self.limit_lanes, batches: self.limit_batches }
    }
}

/// Changes what an open rotation is allowed, in the caller's transaction. `change` is given the present
/// limits. Says the new ones. Whoever changes them at the same time waits for the commit, so that nobody's
/// change is undone by limits that were read before it, and the audit tells what was.
pub async fn limit_if_open(
    txn: &impl ConnectionTrait,
    rotation_id: i64,
    actor: &str,
    change: impl FnOnce(Limits) -> Limits,
) -> Result<Limits, LedgerError> {
    let rotation = super::read::locked(txn, rotation_id).await?;
    let (before, after) = (rotation.limits(), change(rotation.limits()));
    after.demand_in_range()?;
    let limited = rotations::Entity::update_many()
        .col_expr(rotations::Column::LimitRowsPerSecond, Expr::value(after.rows_per_second))
        .col_expr(rotations::Column::LimitLanes, Expr::value(after.lanes))
        .col_expr(rotations::Column::LimitBatches, Expr::value(after.batches))
        .filter(rotations::Column::Id.eq(rotation_id))
        .filter(rotations::Column::OpenKeyset.is_not_null())
        .exec(txn)
        .await?;
    if limited.rows_affected != 1 {
        let ended = format!("rotation {rotation_id} is {}: there is nothing left to limit", rotation.state);
        return Err(LedgerError::refused("rotation_ended", ended));
    }
    let (subject, before, after_json) = (format!("rotation {rotation_id}"), json!(before), json!(after));
    let entry = audit::Entry { actor, action: "rotation.limited", subject, before, after: after_json };
    audit::record(txn, entry).await?;
    Ok(after)
}

/// The same for who has looked at the limits first: refused where they are not what was `seen`, so that nobody lifts a limit
/// that they know nothing of.
pub async fn limit_if_seen(
    txn: &impl ConnectionTrait,
    rotation_id: i64,
    actor: &str,
    seen: Limits,
    wanted: Limits,
) -> Result<Limits, LedgerError> {
    let rotation = super::read::locked(txn, rotation_id).await?;
    if rotation.open_keyset.is_some() && rotation.limits() != seen {
        let message =
            format!("somebody has limited rotation {rotation_id} meanwhile: look at its limits, and set them again");
        return Err(LedgerError::refused("limits_changed", message));
    }
    limit_if_open(txn, rotation_id, actor, |_| wanted).await
}

/// Rotations whose pace is to be decided.
pub async fn paced(db: &impl ConnectionTrait) -> Result<Vec<rotations::Model>, LedgerError> {
    let going = [RotationState::Planning, RotationState::Reencrypting, RotationState::Proving];
    let found = rotations::Entity::find()
        .filter(rotations::Column::State.is_in(going))
        .filter(rotations::Column::PausedAt.is_null());
    Ok(found.all(db).await?)
}

/// Publishes what was decided for a rotation, and adds time that it stood still. `seen` is the rotation as it
/// was decided on: since when it is so stays while the cause is the same.
pub async fn publish_if_open(
    db: &impl ConnectionTrait,
    seen: &rotations::Model,
    decided: &Decision,
    stood_ms: i64,
) -> Result<(), LedgerError> {
    let since = match decided.code {
        None => None,
        Some(code) if seen.pace_code.as_deref() == Some(code) => seen.pace_since,
        Some(_) => Some(now_ms(db).await?),
    };
    let rows_per_hour = match decided.pace {
        Pace::Unlimited => None,
        Pace::RowsPerHour(rows) => Some(rows),
        Pace::Stopped => Some(0),
    };
    let stood: SimpleExpr = Func::coalesce([Expr::col(rotations::Column::ThrottledMs), Expr::value(0_i64)]).into();
    rotations::Entity::update_many()
        .col_expr(rotations::Column::PaceRowsPerHour, Expr::value(rows_per_hour))
        .col_expr(rotations::Column::PaceCode, Expr::value(decided.code))
        .col_expr(rotations::Column::PaceReason, Expr::value(decided.reason.clone()))
        .col_expr(rotations::Column::PaceSince, Expr::value(since))
        .col_expr(rotations::Column::ThrottledMs, stood.add(stood_ms))
        .filter(rotations::Column::Id.eq(seen.id))
        .filter(rotations::Column::OpenKeyset.is_not_null())
        .exec(db)
        .await?;
    if seen.is_stopped() && decided.pace != Pace::Stopped {
        dispatch::ring_again(db, seen.id).await?;
    }
    Ok(())
}

/// How fast a batch of this rotation may go now.
pub async fn pace(db: &impl ConnectionTrait, rotation_id: i64) -> Result<Pace, LedgerError> {
    match rotations::Entity::find_by_id(rotation_id).one(db).await? {
        Some(rotation) => pace_of(db, &rotation).await,
        None => Ok(Pace::default()),
    }
}

/// The same of a rotation as it was just read.
pub(super) async fn pace_of(db: &impl ConnectionTrait, rotation: &rotations::Model) -> Result<Pace, LedgerError> {
    if rotation.is_stopped() {
        return Ok(Pace::Stopped);
    }
    let limits = rotation.limits();
    if limits.rows_per_second.is_none() {
        return Ok(Pace::Unlimited);
    }
    Ok(limits.share(in_hand(db, rotation.id).await?))
}

/// Batches of a rotation in hand.
pub async fn in_hand(db: &impl ConnectionTrait, rotation_id: i64) -> Result<u64, LedgerError> {
    Ok(held(db, rotation_id).count(db).await?)
}

/// Whether a batch in hand is one too many for its rotation's lanes: those with the largest ids are.
pub(super) async fn is_surplus(
    db: &impl ConnectionTrait,
    batch: &batches::Model,
    lanes: Option<i32>,
) -> Result<bool, LedgerError> {
    let Some(lanes) = lanes else { return Ok(false) };
    let before = held(db, batch.rotation_id).filter(batches::Column::Id.lt(batch.id)).count(db).await?;
    Ok(before >= u64::try_from(lanes).unwrap_or(0))
}

fn held(db: &impl ConnectionTrait, rotation_id: i64) -> sea_orm::Select<batches::Entity> {
    batches::Entity::find()
        .filter(batches::Column::RotationId.eq(rotation_id))
        .filter(batches::Column::State.eq(BatchState::Leased))
        .filter(still_runs(db, batches::Column::LeaseUntil, LEASE_MS))
}

/// True while the rotation's lanes are not all taken. Two claims at once may both find the last one free;
/// the surplus is given back at its next checkpoint.
pub(super) fn has_a_free_lane(db: &impl ConnectionTrait, rotation_id: i64, lanes: Option<i32>) -> Condition {
    let Some(lanes) = lanes else { return Condition::all() };
    let b = Alias::new("b");
    let held = Query::select()
        .expr(Expr::col((b.clone(), batches::Column::Id)).count())
        .from_as(batches::Entity, b.clone())
        .and_where(Expr::col((b.clone(), batches::Column::RotationId)).eq(rotation_id))
        .and_where(Expr::col((b.clone(), batches::Column::State)).eq(BatchState::Leased.to_string()))
        .and_where(still_runs(db, (b, batches::Column::LeaseUntil), LEASE_MS))
        .to_owned();
    Condition::all().add(SimpleExpr::SubQuery(None, Box::new(held.into())).lt(lanes))
}
