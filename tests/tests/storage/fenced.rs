//! Writes that the engine's fence refuses, after a whole rotation that destroyed the old key.

use crate::{on_every_database, open, rotate_past_writers, site::Postgres, site::Site, stale};
use reseal_storage::{Fenceable, Storage, StorageError, Text};
use sea_orm::{ConnectionTrait, DbBackend, TransactionTrait};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A message, and instances that were opened before the rotation and know of nothing since.
async fn rotated<const N: usize>(backend: DbBackend) -> (Site, i64, [Storage; N]) {
    let site = Site::new(backend).await;
    let mut instances = Vec::new();
    for _ in 0..N {
        let storage = open(&site, stale()).await;
        storage.load_keyset("default").await.unwrap();
        instances.push(storage);
    }
    let id = instances[0].messages::<Text>().send(&site.app, "before").await.unwrap();
    rotate_past_writers(&site).await;
    (site, id, instances.try_into().unwrap_or_else(|_| panic!("{N} instances")))
}

async fn read(site: &Site, id: i64) -> String {
    let fresh = open(site, stale()).await;
    fresh.messages::<Text>().read(&site.app, id).await.unwrap().unwrap().to_string()
}

async fn a_refused_write_is_encrypted_and_written_again(backend: DbBackend) {
    let (site, id, [a, b, c]) = rotated(backend).await;
    assert!(a.messages::<Text>().edit(&site.app, id, "edited").await.unwrap());
    let sent = b.messages::<Text>().send(&site.app, "sent").await.unwrap();
    let person = uuid::Uuid::new_v4();
    c.user_profiles::<Text>().save(&site.app, person, "saved").await.unwrap();
    for storage in [&a, &b, &c] {
        let counters = storage.counters();
        assert_eq!((counters.refused, counters.written_again), (1, 1), "{counters:?}");
    }
    assert_eq!((read(&site, id).await, read(&site, sent).await), ("edited".into(), "sent".into()));
    assert_eq!(c.user_profiles::<Text>().load(&site.app, person).await.unwrap().unwrap().as_str(), "saved");
    assert_eq!(site.count("SELECT count(*) FROM messages").await, 2, "no row is left over from the refused try");
}

async fn in_a_callers_transaction_a_refusal_is_told_and_the_next_try_goes_through(backend: DbBackend) {
    let (site, id, [storage]) = rotated(backend).await;
    let messages = storage.messages::<Text>();
    let txn = site.app.begin().await.unwrap();
    let edited = messages.edit(&txn, id, "edited").await;
    if backend == Postgres {
        let error = edited.unwrap_err();
        assert!(error.is_fenced(), "{error:?}");
        txn.rollback().await.unwrap();
        let txn = site.app.begin().await.unwrap();
        assert!(messages.edit(&txn, id, "edited").await.unwrap());
        txn.commit().await.unwrap();
    } else {
        assert!(edited.unwrap(), "SQLite undoes the statement alone");
        txn.commit().await.unwrap();
    }
    assert_eq!(read(&site, id).await, "edited");
}

async fn a_transaction_is_run_again_as_a_whole(backend: DbBackend) {
    let (site, id, [storage]) = rotated(backend).await;
    site.sql("CREATE TABLE beside (n integer)").await;
    let runs = AtomicUsize::new(0);
    let edited = storage.transaction(&site.app, async |txn| {
        runs.fetch_add(1, Relaxed);
        txn.execute_unprepared("INSERT INTO beside VALUES (1)").await?;
        storage.messages::<Text>().edit(txn, id, "edited").await
    });
    assert!(edited.await.unwrap());
    assert_eq!(runs.load(Relaxed), if backend == Postgres { 2 } else { 1 });
    assert_eq!(site.count("SELECT count(*) FROM beside").await, 1);
    assert_eq!(read(&site, id).await, "edited");
}

async fn a_statement_of_ones_own_is_encrypted_again_too(backend: DbBackend) {
    let (site, id, [storage]) = rotated(backend).await;
    let done: Result<(), AppError> = storage
        .transaction(&site.app, async |txn| {
            let field = reseal_storage::Messages::<Text>::FIELD;
            let cell = storage.seal(field, id, "by hand").await?;
            let sql = "UPDATE messages SET encrypted_content = $1 WHERE id = $2";
            let values = [cell.into(), id.into()];
            txn.execute_raw(sea_orm::Statement::from_sql_and_values(backend, sql, values)).await?;
            Ok(())
        })
        .await;
    done.unwrap();
    assert_eq!(read(&site, id).await, "by hand");
}

/// An application's own error, as most have one.
#[derive(Debug)]
enum AppError {
    Storage(StorageError),
    Database(sea_orm::DbErr),
}

impl std::fmt::Display for AppError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the application failed")
    }
}

impl std::error::Error for AppError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self {
            Self::Storage(e) => e,
            Self::Database(e) => e,
        })
    }
}

impl From<StorageError> for AppError {
    fn from(e: StorageError) -> Self {
        Self::Storage(e)
    }
}

impl From<sea_orm::DbErr> for AppError {
    fn from(e: sea_orm::DbErr) -> Self {
        Self::Database(e)
    }
}

impl Fenceable for AppError {
    fn is_fenced(&self) -> bool {
        reseal_storage::is_fenced(self)
    }
}

async fn inside_a_callers_transaction_savepoints_keep_the_rest(backend: DbBackend) {
    let (site, id, [a, b]) = rotated(backend).await;
    site.sql("CREATE TABLE beside (n integer)").await;
    let txn = site.app.begin().await.unwrap();
    txn.execute_unprepared("INSERT INTO beside VALUES (1)").await.unwrap();
    let sent = a.messages::<Text>().send(&txn, "sent").await.unwrap();
    let edited = b.transaction(&txn, async |txn| b.messages::<Text>().edit(txn, id, "edited").await);
    assert!(edited.await.unwrap());
    txn.commit().await.unwrap();
    assert!(a.counters().refused > 0 && b.counters().refused > 0);
    assert_eq!((read(&site, id).await, read(&site, sent).await), ("edited".into(), "sent".into()));
    assert_eq!(site.count("SELECT count(*) FROM beside").await, 1);
}

async fn what_a_transaction_returns_as_an_error_is_rolled_back_and_not_run_again(backend: DbBackend) {
    let site = Site::new(backend).await;
    let (storage, runs) = (open(&site, stale()).await, AtomicUsize::new(0));
    let failed: Result<(), StorageError> = storage
        .transaction(&site.app, async |txn| {
            runs.fetch_add(1, Relaxed);
            storage.messages::<Text>().send(txn, "hello").await?;
            Err(StorageError::NoKeyset("anything".into()))
        })
        .await;
    assert_eq!((failed.unwrap_err().code(), runs.load(Relaxed)), ("no_keyset", 1));
    assert_eq!(site.count("SELECT count(*) FROM messages").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swallowed_error_is_not_committed_as_if_nothing_were_wrong() {
    let site = Site::new(Postgres).await;
    let storage = open(&site, stale()).await;
    let swallowed: Result<(), StorageError> = storage
        .transaction(&site.app, async |txn| {
            storage.messages::<Text>().send(txn, "hello").await?;
            let _ = txn.execute_unprepared("INSERT INTO no_such_table VALUES (1)").await;
            Ok(())
        })
        .await;
    assert_eq!(swallowed.unwrap_err().code(), "transaction_aborted");
    assert_eq!(site.count("SELECT count(*) FROM messages").await, 0);
}

on_every_database!(
    a_refused_write_is_encrypted_and_written_again,
    in_a_callers_transaction_a_refusal_is_told_and_the_next_try_goes_through,
    a_transaction_is_run_again_as_a_whole,
    a_statement_of_ones_own_is_encrypted_again_too,
    inside_a_callers_transaction_savepoints_keep_the_rest,
    what_a_transaction_returns_as_an_error_is_rolled_back_and_not_run_again,
);
