//! Signs of life of applications, and the key that each writes with.

use super::{
    LedgerError, exclude,
    time::{now, seen_within},
};
use crate::{exemptions::Kind, rotations, writers};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder,
    sea_query::{ExprTrait, OnConflict, Query},
};
use serde::Serialize;

pub use super::time::ALIVE_MS;

/// An application that writes encrypted values.
#[derive(Clone, Debug, Serialize)]
pub struct WriterStatus {
    /// What the instance calls itself.
    pub name: String,
    /// The key that it encrypts with.
    pub key_id: i64,
    /// When it last said so: Unix milliseconds, database time.
    pub seen_at: i64,
}

/// Writes a sign of life: this instance encrypts with this key of this keyset, and refreshes it within `refresh_ms`.
pub async fn beat(
    db: &impl ConnectionTrait,
    name: &str,
    keyset: &str,
    key_id: i64,
    refresh_ms: i64,
) -> Result<(), LedgerError> {
    use writers::Column::{KeyId, Keyset, Name, RefreshMs, SeenAt, StartedAt};
    let mut insert = Query::insert();
    insert.into_table(writers::Entity).columns([Name, Keyset, KeyId, RefreshMs, StartedAt, SeenAt]);
    let values = [name.into(), keyset.into(), key_id.into(), refresh_ms.into(), now(db), now(db)];
    insert.values(values).map_err(|e| DbErr::Custom(e.to_string()))?;
    insert.on_conflict(OnConflict::columns([Name, Keyset]).update_columns([KeyId, RefreshMs, SeenAt]).to_owned());
    db.execute(&insert).await?;
    Ok(())
}

/// Takes an instance out, as it says itself at an orderly stop.
pub async fn leave(db: &impl ConnectionTrait, name: &str) -> Result<(), LedgerError> {
    writers::Entity::delete_many().filter(writers::Column::Name.eq(name)).exec(db).await?;
    Ok(())
}

/// Writers of a keyset that are alive.
pub async fn alive(db: &impl ConnectionTrait, keyset: &str) -> Result<Vec<writers::Model>, LedgerError> {
    let found = writers::Entity::find().filter(writers::Column::Keyset.eq(keyset)).filter(seen_within(
        db,
        writers::Column::SeenAt,
        ALIVE_MS,
    ));
    Ok(found.order_by_asc(writers::Column::Name).all(db).await?)
}

/// Forgets writers that were last seen more than a day ago.
pub async fn forget_the_long_gone(db: &impl ConnectionTrait) -> Result<(), LedgerError> {
    let lately = seen_within(db, writers::Column::SeenAt, 86_400_000);
    writers::Entity::delete_many().filter(lately.not()).exec(db).await?;
    Ok(())
}

/// The writers of a rotation's keyset, and those that straggle: another key than theirs was promoted.
pub(super) async fn of_rotation(
    db: &impl ConnectionTrait,
    rotation: &rotations::Model,
) -> Result<(Vec<WriterStatus>, Vec<WriterStatus>), LedgerError> {
    let alive = alive(db, &rotation.keyset).await?.into_iter();
    let alive = alive.map(|w| WriterStatus { name: w.name, key_id: w.key_id, seen_at: w.seen_at });
    let writers: Vec<_> = alive.collect();
    let goes_on = rotation.promoted_at.is_some() && rotation.completed_at.is_none();
    let promoted = rotation.to_key_id.filter(|_| goes_on);
    let straggles = |w: &&WriterStatus| promoted.is_some_and(|key| w.key_id != key);
    Ok((writers.clone(), writers.iter().filter(straggles).cloned().collect()))
}

/// The writers of a rotation's keyset that are alive, still encrypt with another key than the promoted one, and that no
/// operator has excluded. The fence refuses their writes, and a value that such a process encrypted need not be in a
/// database yet: while one of them is alive, the old key is not cleared.
pub async fn lagging(db: &impl ConnectionTrait, rotation: &rotations::Model) -> Result<Vec<WriterStatus>, LedgerError> {
    let (_, mut stragglers) = of_rotation(db, rotation).await?;
    if !stragglers.is_empty() {
        let excluded = exclude::names(db, rotation.id, Kind::Writer).await?;
        stragglers.retain(|w| !excluded.contains(&w.name));
    }
    Ok(stragglers)
}

/// The writer of a keyset, of those that are alive, that takes longest to refresh it, and how long that is at most.
pub async fn slowest(db: &impl ConnectionTrait, keyset: &str) -> Result<Option<(String, i64)>, LedgerError> {
    let told = alive(db, keyset).await?.into_iter().filter_map(|w| Some((w.name, w.refresh_ms?)));
    Ok(told.max_by_key(|(_, refresh_ms)| *refresh_ms))
}

/// The same of those that a rotation waits for: see [`lagging`]. One that has moved to the new key needs no more time.
pub async fn slowest_lagging(
    db: &impl ConnectionTrait,
    rotation: &rotations::Model,
) -> Result<Option<(String, i64)>, LedgerError> {
    let lagging: Vec<_> = lagging(db, rotation).await?.into_iter().map(|w| w.name).collect();
    let alive = alive(db, &rotation.keyset).await?.into_iter().filter(|w| lagging.contains(&w.name));
    Ok(alive.filter_map(|w| Some((w.name, w.refresh_ms?))).max_by_key(|(_, refresh_ms)| *refresh_ms))
}

/// What is wrong when a keyset's writers are given less time than one of them takes to refresh it.
pub async fn too_little_time(
    db: &impl ConnectionTrait,
    keyset: &str,
    writer_ttl_ms: i64,
) -> Result<Option<String>, LedgerError> {
    let slowest = slowest(db, keyset).await?.filter(|(_, refresh_ms)| *refresh_ms > writer_ttl_ms);
    Ok(slowest.map(|(name, refresh_ms)| {
        format!(
            "application {name} refreshes keyset `{keyset}` every {} s, and rotation.writer_ttl gives writers {} s: set \
             writer_ttl to more than that, or let the application refresh more often",
            refresh_ms / 1000,
            writer_ttl_ms / 1000
        )
    }))
}

/// `2 applications still write with key 123: app-1, app-2`; one such clause a key.
pub fn told(stragglers: &[WriterStatus]) -> Option<String> {
    const NAMED_MAX: usize = 5;
    let mut keys: Vec<i64> = stragglers.iter().map(|w| w.key_id).collect();
    keys.sort_unstable();
    keys.dedup();
    let clauses = keys.iter().map(|key| {
        let names: Vec<&str> = stragglers.iter().filter(|w| w.key_id == *key).map(|w| w.name.as_str()).collect();
        let who = if names.len() == 1 { "application still writes" } else { "applications still write" };
        let more = names.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{} {who} with key {key}: {}{more}", names.len(), names[..names.len().min(NAMED_MAX)].join(", "))
    });
    let clauses: Vec<_> = clauses.collect();
    (!clauses.is_empty()).then(|| clauses.join("; "))
}
