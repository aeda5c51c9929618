//! How far rotations were: written by the dispatch leader, read for their speed and for charts.

use super::{
    LedgerError, plan,
    read::{progress_of, rows_done},
};
use crate::{rotations, samples, state::RotationState};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
    sea_query::{Expr, ExprTrait, OnConflict},
};
use std::ops::RangeInclusive;

/// Between two samples of a rotation.
pub const EVERY_MS: i64 = 10_000;
/// So long every sample is kept; of those that are older, one of each five minutes.
pub const KEPT_MS: i64 = 3_600_000;
/// Between those that are kept of them.
pub const KEPT_EVERY_MS: i64 = 300_000;

/// Samples further ahead than this are by a clock that was wrong: no speed is told by them.
pub const AHEAD_MAX_MS: i64 = 600_000;

/// Notes how far a rotation is, at the cost of a query for each of its tables; a second sample of the same
/// ten seconds changes nothing. One that stands still gets none: a gap tells that apart from slowness.
pub async fn record_if_going(
    db: &impl ConnectionTrait,
    rotation: &rotations::Model,
    now: i64,
) -> Result<(), LedgerError> {
    if rotation.state != RotationState::Reencrypting || rotation.stands_still() {
        return Ok(());
    }
    let mut done = 0;
    for table in plan::tables(db, rotation.id).await? {
        done += rows_done(&table, &progress_of(db, &table).await?);
    }
    let at = now - now.rem_euclid(EVERY_MS);
    let sample = samples::ActiveModel { rotation_id: Set(rotation.id), at: Set(at), rows_done: Set(done) };
    let key = [samples::Column::RotationId, samples::Column::At];
    samples::Entity::insert(sample)
        .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
        .exec_without_returning(db)
        .await?;
    Ok(())
}

/// A rotation's samples of some time, oldest first.
pub async fn of_rotation(
    db: &impl ConnectionTrait,
    rotation_id: i64,
    time: RangeInclusive<i64>,
) -> Result<Vec<samples::Model>, LedgerError> {
    let found = samples::Entity::find()
        .filter(samples::Column::RotationId.eq(rotation_id))
        .filter(samples::Column::At.between(*time.start(), *time.end()));
    Ok(found.order_by_asc(samples::Column::At).all(db).await?)
}

/// Deletes what is older than an hour and not at a full five minutes, and what lies too far ahead, of every rotation.
pub async fn thin(db: &impl ConnectionTrait, now: i64) -> Result<u64, LedgerError> {
    let old = samples::Column::At.lt(now - KEPT_MS).and(Expr::col(samples::Column::At).modulo(KEPT_EVERY_MS).ne(0));
    let thinned = samples::Entity::delete_many().filter(old.or(samples::Column::At.gt(now + AHEAD_MAX_MS)));
    Ok(thinned.exec(db).await?.rows_affected)
}
