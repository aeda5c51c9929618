//! Signs of life.

use super::{
    LedgerError, audit,
    time::{LEASE_MS, now, now_ms, seen_within, still_runs},
};
use crate::{batches, rotations, state::BatchState, workers};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{ExprTrait, OnConflict, Query},
};
use serde_json::json;
use std::collections::HashMap;

pub use super::time::ALIVE_MS;

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
    /// The same a second, lately; none before the second sign.
    pub rows_per_second: Option<i64>,
    /// The ids of the keys in its memory, a JSON array.
    pub keys_loaded: String,
}

/// Writes a sign of life. True: a person has asked this worker to drain. `stopped` is a name's last word: a sign
/// that was on its way when the worker dropped it may reach the database after the goodbye, and changes nothing.
pub async fn beat(db: &impl ConnectionTrait, sign: &Sign) -> Result<bool, LedgerError> {
    let at = now_ms(db).await?;
    let row = workers::ActiveModel {
        name: Set(sign.name.clone()),
        version: Set(sign.version.clone()),
        state: Set(sign.state.to_owned()),
        lanes: Set(sign.lanes),
        jobs_running: Set(sign.jobs_running),
        reencrypted: Set(sign.reencrypted),
        rows_per_second: Set(sign.rows_per_second),
        keys_loaded: Set(sign.keys_loaded.clone()),
        started_at: Set(at),
        seen_at: Set(at),
        drain_requested_at: NotSet,
    };
    let changes = [
        workers::Column::State,
        workers::Column::JobsRunning,
        workers::Column::Reencrypted,
        workers::Column::RowsPerSecond,
        workers::Column::KeysLoaded,
        workers::Column::SeenAt,
    ];
    let known = OnConflict::column(workers::Column::Name)
        .update_columns(changes)
        .action_and_where(workers::Column::State.ne("stopped"))
        .to_owned();
    workers::Entity::insert(row).on_conflict(known).exec_without_returning(db).await?;
    let row = workers::Entity::find_by_id(&sign.name).one(db).await?;
    Ok(row.is_some_and(|w| w.drain_requested_at.is_some()))
}

/// Workers that are alive.
pub async fn alive(db: &impl ConnectionTrait) -> Result<Vec<workers::Model>, LedgerError> {
    let found = workers::Entity::find().filter(workers::Column::State.ne("stopped")).filter(seen_within(
        db,
        workers::Column::SeenAt,
        ALIVE_MS,
    ));
    Ok(found.order_by_asc(workers::Column::Name).all(db).await?)
}

/// A worker that is remembered, alive or not.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// What it said of itself when it was last seen.
    pub worker: workers::Model,
    /// For how long it was not seen, in milliseconds.
    pub unseen_ms: i64,
    /// The batches that it holds, by their ids.
    pub batches: Vec<i64>,
}

impl Remembered {
    /// See [`workers::Model::standing`].
    pub fn standing(&self) -> &str {
        self.worker.standing(self.unseen_ms)
    }

    /// It has ended, as far as anybody knows.
    pub fn has_ended(&self) -> bool {
        matches!(self.standing(), "stopped" | "lost")
    }

    /// Rows that it changes a second; none of one that has ended.
    pub fn rows_per_second(&self) -> Option<i64> {
        self.worker.rows_per_second.filter(|_| !self.has_ended())
    }
}

/// Every worker that is remembered, in the order of their start.
pub async fn remembered(db: &impl ConnectionTrait) -> Result<Vec<Remembered>, LedgerError> {
    let found = workers::Entity::find().order_by_asc(workers::Column::StartedAt).order_by_asc(workers::Column::Name);
    let (found, at, mut held) = (found.all(db).await?, now_ms(db).await?, held(db).await?);
    Ok(found
        .into_iter()
        .map(|worker| Remembered {
            // A sign of life from a clock that was ahead is no newer than any other.
            unseen_ms: (at - worker.seen_at).abs(),
            batches: held.remove(&worker.name).unwrap_or_default(),
            worker,
        })
        .collect())
}

/// The batches that are held now, by their workers. By the index on rotation and state: few are, of however many.
async fn held(db: &impl ConnectionTrait) -> Result<HashMap<String, Vec<i64>>, LedgerError> {
    let going = Query::select()
        .column(rotations::Column::Id)
        .from(rotations::Entity)
        .and_where(rotations::Column::OpenKeyset.is_not_null())
        .to_owned();
    let found: Vec<(String, i64)> = batches::Entity::find()
        .select_only()
        .columns([batches::Column::Worker, batches::Column::Id])
        .filter(batches::Column::RotationId.in_subquery(going))
        .filter(batches::Column::State.eq(BatchState::Leased))
        .filter(batches::Column::Worker.is_not_null())
        .filter(still_runs(db, batches::Column::LeaseUntil, LEASE_MS))
        .order_by_asc(batches::Column::Id)
        .into_tuple()
        .all(db)
        .await?;
    let mut held: HashMap<_, Vec<_>> = HashMap::new();
    for (worker, id) in found {
        held.entry(worker).or_default().push(id);
    }
    Ok(held)
}

/// Asks workers that are alive to drain, one by name or all, each once; says which were asked now. One that has
/// drained already is not asked again. In the caller's transaction.
pub async fn ask_to_drain(
    txn: &impl ConnectionTrait,
    actor: &str,
    name: Option<&str>,
) -> Result<Vec<String>, LedgerError> {
    let alive = alive(txn).await?;
    if let Some(name) = name.filter(|name| alive.iter().all(|w| w.name != *name)) {
        if has_drained(txn, name).await? {
            return Ok(Vec::new());
        }
        let message = format!("no worker `{name}` is alive: see `reseal workers list`");
        return Err(LedgerError::refused("unknown_worker", message));
    }
    let mut asked = Vec::new();
    for worker in alive.into_iter().filter(|w| name.is_none_or(|name| w.name == name)) {
        let first = workers::Entity::update_many()
            .col_expr(workers::Column::DrainRequestedAt, now(txn))
            .filter(workers::Column::Name.eq(&worker.name))
            .filter(workers::Column::DrainRequestedAt.is_null())
            .exec(txn)
            .await?;
        if first.rows_affected == 1 {
            asked.push(worker.name);
        }
    }
    if asked.is_empty() {
        return Ok(asked);
    }
    let (before, after) = (json!(null), json!({"workers": asked}));
    let subject = name.map_or_else(|| "workers".to_owned(), |name| format!("worker {name}"));
    let entry = audit::Entry { actor, action: "workers.drain_requested", subject, before, after };
    audit::record(txn, entry).await?;
    Ok(asked)
}

async fn has_drained(db: &impl ConnectionTrait, name: &str) -> Result<bool, LedgerError> {
    let worker = workers::Entity::find_by_id(name).one(db).await?;
    Ok(worker.is_some_and(|w| w.state == "stopped" && w.drain_requested_at.is_some()))
}

/// Forgets workers that were last seen more than a day ago.
pub async fn forget_the_long_gone(db: &impl ConnectionTrait) -> Result<(), LedgerError> {
    let lately = seen_within(db, workers::Column::SeenAt, 86_400_000);
    workers::Entity::delete_many().filter(lately.not()).exec(db).await?;
    Ok(())
}
