//! Signs of life.

use super::{
    LedgerError,
    time::{now, now_ms, now_plus},
};
use crate::workers;
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
    sea_query::{Expr, ExprTrait, OnConflict},
};

/// A worker that was not seen for so long is taken for dead.
pub const ALIVE_MS: i64 = 30_000;

/// What a worker says of itself.
#[derive(Clone, Debug)]
pub struct Sign {
    /// New at each start.
    pub name: String,
    /// `reseal`'s version.
    pub version: String,
    /// `running`, `draining` or `stopped`.
    pub state: &'static str,
    /// Batches at once.
    pub lanes: i32,
    /// Batches in hand.
    pub jobs_running: i32,
    /// Rows that the database said this worker changed.
    pub reencrypted: i64,
    /// The ids of the keys in its memory, a JSON array.
    pub keys_loaded: String,
}

/// Writes a sign of life.
pub async fn beat(db: &impl ConnectionTrait, sign: &Sign) -> Result<(), LedgerError> {
    let at = now_ms(db).await?;
    let row = workers::ActiveModel {
        name: Set(sign.name.clone()),
        version: Set(sign.version.clone()),
        state: Set(sign.state.to_owned()),
        lanes: Set(sign.lanes),
        jobs_running: Set(sign.jobs_running),
        reencrypted: Set(sign.reencrypted),
        keys_loaded: Set(sign.keys_loaded.clone()),
        started_at: Set(at),
        seen_at: Set(at),
    };
    let changes = [
        workers::Column::State,
        workers::Column::JobsRunning,
        workers::Column::Reencrypted,
        workers::Column::KeysLoaded,
        workers::Column::SeenAt,
    ];
    workers::Entity::insert(row)
        .on_conflict(OnConflict::column(workers::Column::Name).update_columns(changes).to_owned())
        .exec_without_returning(db)
        .await?;
    Ok(())
}

/// Workers that are alive.
pub async fn alive(db: &impl ConnectionTrait) -> Result<Vec<workers::Model>, LedgerError> {
    let found = workers::Entity::find()
        .filter(workers::Column::State.ne("stopped"))
        .filter(Expr::col(workers::Column::SeenAt).gt(now_plus(db, -ALIVE_MS)));
    Ok(found.order_by_asc(workers::Column::Name).all(db).await?)
}

/// Forgets workers that were last seen more than a day ago.
pub async fn forget_the_long_gone(db: &impl ConnectionTrait) -> Result<(), LedgerError> {
    let day_ago = now(db).sub(86_400_000_i64);
    workers::Entity::delete_many().filter(Expr::col(workers::Column::SeenAt).lt(day_ago)).exec(db).await?;
    Ok(())
}
