//! Reads everything over and over, and compares each value with its shadow

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
};

use reseal_storage::{KeyId, Layout, StorageError, Text};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, IsolationLevel, Statement, TransactionTrait};

use crate::{
    App,
    tables::{DRAFT, Messages, hash, hash_of},
};

const PAGE: u64 = 50;

pub(crate) async fn run(app: Arc<App>, reader: usize, first_key: KeyId) {
    let mut after = i64::try_from(reader).unwrap_or(0) * 100;
    while app.goes_on() {
        let mut read = 0;
        match page(&app, after).await {
            Ok((last, n)) => (after, read) = (last.unwrap_or(0), n),
            Err(error) => app.failed(&app.tally.failed_reads, "a page could not be read", &error),
        }
        match one_by_one(&app).await {
            Ok(n) => read += n,
            Err(error) => app.failed(&app.tally.failed_reads, "a read failed", &error),
        }
        match app.storage.load_keyset("default").await {
            Ok(key) if key == first_key => drop(app.tally.reads_before_promotion.fetch_add(read, Relaxed)),
            Ok(_) => {}
            Err(error) => app.failed(&app.tally.failed_reads, "no keyset", &error),
        }
    }
}

/// In one snapshot, so that value and shadow are of the same moment.
pub(crate) async fn snapshot(app: &App) -> Result<DatabaseTransaction, StorageError> {
    let level = (app.db.get_database_backend() == DbBackend::Postgres).then_some(IsolationLevel::RepeatableRead);
    Ok(app.db.begin_with_config(level, None).await?)
}

/// The next messages after an id; says the last one's, and how many they were.
pub(crate) async fn page(app: &App, after: i64) -> Result<(Option<i64>, u64), StorageError> {
    let txn = snapshot(app).await?;
    let messages = app.storage.messages::<Messages>().after(&txn, after, PAGE).await?;
    let sql = "SELECT m.id, m.encrypted_content AS cell, s.sha256 FROM messages m \
               LEFT JOIN shadow s ON s.tbl = 'messages' AND s.id = CAST(m.id AS text) \
               WHERE m.id > $1 ORDER BY m.id LIMIT $2";
    let limit = i64::try_from(PAGE).unwrap_or(50);
    let statement = Statement::from_sql_and_values(txn.get_database_backend(), sql, [after.into(), limit.into()]);
    let mut kept = BTreeMap::new();
    let mut keys = BTreeMap::<u32, u64>::new();
    for row in txn.query_all_raw(statement).await? {
        let cell: Vec<u8> = row.try_get("", "cell")?;
        if let Some(key) = Layout::NATIVE.key_id(&cell) {
            *keys.entry(key.0).or_default() += 1;
        }
        kept.insert(row.try_get::<i64>("", "id")?, row.try_get::<Option<String>>("", "sha256")?);
    }
    txn.rollback().await?;
    for (id, message) in &messages {
        app.tally.reads.fetch_add(1, Relaxed);
        if kept.get(id).cloned().flatten().as_ref() != Some(&hash_of(message)) {
            app.failed(&app.tally.failed_reads, "not what was written", id);
        }
    }
    let mut all = app.tally.keys_read.lock().unwrap_or_else(PoisonError::into_inner);
    for (key, n) in keys {
        *all.entry(key).or_default() += n;
    }
    Ok((messages.last().map(|(id, _)| *id), messages.len() as u64))
}

/// A few profiles and drafts, as pages of a site would load them.
async fn one_by_one(app: &App) -> Result<u64, StorageError> {
    let mut read = 0;
    let txn = snapshot(app).await?;
    let sql = "SELECT tbl, id, sha256 FROM shadow WHERE tbl <> 'messages' ORDER BY sha256 LIMIT 4";
    for row in txn.query_all_raw(Statement::from_string(txn.get_database_backend(), sql)).await? {
        let (tbl, id, sha): (String, String, String) =
            (row.try_get("", "tbl")?, row.try_get("", "id")?, row.try_get("", "sha256")?);
        let found = load(app, &txn, &tbl, &id).await?;
        app.tally.reads.fetch_add(1, Relaxed);
        read += 1;
        if found.as_ref() != Some(&sha) {
            app.failed(&app.tally.failed_reads, "not what was written", &id);
        }
    }
    txn.rollback().await?;
    Ok(read)
}

/// The hash of what a row holds.
pub(crate) async fn load(
    app: &App,
    txn: &DatabaseTransaction,
    tbl: &str,
    id: &str,
) -> Result<Option<String>, StorageError> {
    if tbl == "user_profiles" {
        let profile = app.storage.user_profiles::<Text>().load(txn, id.parse().unwrap_or_default()).await?;
        return Ok(profile.map(|p| hash(&p)));
    }
    let (author, number) = id.rsplit_once(':').unwrap_or_default();
    let draft = app.storage.load(txn, DRAFT, (author.to_owned(), number.parse().unwrap_or(0))).await?;
    Ok(draft.map(|d| hash(&d)))
}
