//! The queue of entries that are taken once.

use crate::{on_every_database, open, site::Site, stale};
use reseal_storage::Text;
use sea_orm::{DbBackend, TransactionTrait};
use std::{collections::BTreeMap, time::Duration};

const ENTRIES: usize = 120;

async fn takers_at_the_same_time_take_each_entry_once(backend: DbBackend) {
    let site = Site::new(backend).await;
    let (storage, db) = (open(&site, stale()).await, site.app.clone());
    for n in 0..ENTRIES {
        storage.sync_queue::<Text>().enqueue(&db, &format!("entry {n}")).await.unwrap();
    }
    let takers = (0..8).map(|taker| {
        let (storage, db) = (storage.clone(), db.clone());
        tokio::spawn(async move {
            let (mut taken, mut rolled_back) = (Vec::new(), 0);
            while storage.sync_queue::<Text>().take(&db).await.is_ok_and(|entry| {
                let some = entry.is_some();
                taken.extend(entry.map(|e| (e.id, e.value.to_string())));
                some
            }) {
                // Every so often one is taken and given back.
                if taken.len() % 5 == taker % 5 && rolled_back < 5 {
                    let given_back = storage.transaction(&db, async |txn| {
                        storage.sync_queue::<Text>().take(txn).await?;
                        Err::<(), _>(reseal_storage::StorageError::NoKeyset("given back".into()))
                    });
                    given_back.await.unwrap_err();
                    rolled_back += 1;
                }
            }
            (taken, rolled_back)
        })
    });
    let (mut all, mut times, mut given_back) = (BTreeMap::new(), 0, 0);
    for taker in takers.collect::<Vec<_>>() {
        let (taken, rolled_back) = taker.await.unwrap();
        times += taken.len();
        given_back += rolled_back;
        all.extend(taken);
    }
    // Whoever finds every entry held goes home; what was given back after that is still there.
    while let Some(entry) = storage.sync_queue::<Text>().take(&db).await.unwrap() {
        times += 1;
        all.insert(entry.id, entry.value.to_string());
    }
    assert_eq!((times, all.len()), (ENTRIES, ENTRIES), "some were taken twice, or never");
    assert!(given_back > 0);
    let mut values: Vec<_> = all.into_values().collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), ENTRIES);
}

async fn the_oldest_comes_first_and_goes_with_the_callers_transaction(backend: DbBackend) {
    let site = Site::new(backend).await;
    let (storage, db) = (open(&site, stale()).await, &site.app);
    let queue = storage.sync_queue::<Text>();
    let [one, two] = [queue.enqueue(db, "one").await.unwrap(), queue.enqueue(db, "two").await.unwrap()];
    let txn = db.begin().await.unwrap();
    assert_eq!(queue.take(&txn).await.unwrap().unwrap().id, one);
    if backend == DbBackend::Postgres {
        // Nobody waits for who took the first; SQLite has one writer at a time.
        let second = db.begin().await.unwrap();
        let taken = tokio::time::timeout(Duration::from_secs(10), queue.take(&second)).await;
        assert_eq!(taken.expect("it waits for the first").unwrap().unwrap().id, two);
        assert!(queue.take(&second).await.unwrap().is_none());
        second.rollback().await.unwrap();
    }
    txn.rollback().await.unwrap();
    assert_eq!(queue.take(db).await.unwrap().unwrap().id, one);
    assert_eq!(queue.take(db).await.unwrap().unwrap().id, two);
    assert!(queue.take(db).await.unwrap().is_none());
}

async fn an_entry_that_cannot_be_decrypted_stays_and_can_be_passed_over(backend: DbBackend) {
    let site = Site::new(backend).await;
    let (storage, db) = (open(&site, stale()).await, &site.app);
    let queue = storage.sync_queue::<Text>();
    let [one, two] = [queue.enqueue(db, "one").await.unwrap(), queue.enqueue(db, "two").await.unwrap()];
    let two_s = format!("(SELECT encrypted_data FROM sync_queue WHERE id = {two})");
    site.sql(&format!("UPDATE sync_queue SET encrypted_data = {two_s} WHERE id = {one}")).await;
    let error = queue.take(db).await.unwrap_err();
    assert_eq!(error.code(), "not_authentic");
    assert!(error.to_string().contains(&format!("sync_queue.encrypted_data:{one}")), "{error}");
    assert_eq!(queue.take_after(db, one).await.unwrap().unwrap().id, two);
    assert_eq!(site.count("SELECT count(*) FROM sync_queue").await, 1);
}

on_every_database!(
    takers_at_the_same_time_take_each_entry_once,
    the_oldest_comes_first_and_goes_with_the_callers_transaction,
    an_entry_that_cannot_be_decrypted_stays_and_can_be_passed_over,
);
