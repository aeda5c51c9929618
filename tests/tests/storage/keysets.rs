//! Keysets in memory.

use crate::{on_every_database, open, promote, site::Site, stale};
use reseal_storage::{Options, Text};
use reseal_tests::eventually;
use sea_orm::DbBackend;
use std::{future::Future, time::Duration};

async fn all<T>(futures: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>) -> Vec<T>
where
    T: Send + 'static,
{
    let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done
}

async fn a_hundred_reads_of_a_key_just_promoted_ask_the_ledger_once(backend: DbBackend) {
    let site = Site::new(backend).await;
    let (old, new) = (open(&site, stale()).await, open(&site, stale()).await);
    old.load_keyset("default").await.unwrap();
    let key = promote(&site).await;
    let id = new.messages::<Text>().send(&site.app, "under the new key").await.unwrap();
    let before = old.counters().loads;
    let reads = all((0..100).map(|_| {
        let (storage, db) = (old.clone(), site.app.clone());
        async move { storage.messages::<Text>().read(&db, id).await.unwrap().unwrap() }
    }));
    assert!(reads.await.iter().all(|text| text.as_str() == "under the new key"));
    assert_eq!(old.counters().loads - before, 1);
    assert_eq!(i64::from(old.load_keyset("default").await.unwrap().0), key);
}

async fn an_id_that_the_ledger_does_not_know_is_asked_for_once(backend: DbBackend) {
    let site = Site::new(backend).await;
    let storage = open(&site, stale()).await;
    let id = storage.messages::<Text>().send(&site.app, "hello").await.unwrap();
    let mut cell = site.message(id).await;
    cell[1..5].copy_from_slice(&[0, 0, 0, 7]);
    site.set_message(id, Some(cell)).await.unwrap();
    let before = storage.counters().loads;
    let read = || {
        let (storage, db) = (storage.clone(), site.app.clone());
        async move { storage.messages::<Text>().read(&db, id).await.unwrap_err().code() }
    };
    assert!(all((0..100).map(|_| read())).await.iter().all(|code| *code == "unknown_key"));
    let asked = storage.counters().loads - before;
    // A read that waited for its connection may come after the first look and before it is remembered.
    assert!((1..=2).contains(&asked), "asked {asked} times");
    let before = storage.counters().loads;
    assert_eq!(all((0..100).map(|_| read())).await.len(), 100);
    assert_eq!(storage.counters().loads, before, "it was asked for again");
}

async fn a_keyset_is_refreshed_within_its_time_without_any_use(backend: DbBackend) {
    let site = Site::new(backend).await;
    let storage = open(&site, Options::default().refresh_every(Duration::from_millis(400))).await;
    storage.load_keyset("default").await.unwrap();
    let key = promote(&site).await;
    eventually(Duration::from_secs(10), "the background task refreshes", async || {
        (i64::from(storage.load_keyset("default").await.unwrap().0) == key).then_some(())
    })
    .await;
}

async fn a_write_with_a_keyset_that_is_too_old_refreshes_it_first(backend: DbBackend) {
    let site = Site::new(backend).await;
    let storage = open(&site, Options::default().refresh_every(Duration::from_millis(100))).await;
    storage.load_keyset("default").await.unwrap();
    storage.close().await; // no background task
    let key = promote(&site).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let id = storage.messages::<Text>().send(&site.app, "hello").await.unwrap();
    let header = reseal_keyring::cell::header(reseal_keyring::KeyId(u32::try_from(key).unwrap()));
    assert!(site.message(id).await.starts_with(&header), "it was written with the old key");
}

async fn without_the_ledger_reading_and_writing_go_on(backend: DbBackend) {
    let site = Site::new(backend).await;
    let options = Options::default().refresh_every(Duration::from_millis(50)).beat_every(Duration::from_millis(50));
    let (storage, db) = (open(&site, options).await, &site.app);
    let messages = storage.messages::<Text>();
    let first = messages.send(db, "before").await.unwrap();
    site.ledger_sql("ALTER TABLE reseal_keys RENAME TO away").await;
    let loads = storage.counters().loads;
    eventually(Duration::from_secs(20), "refreshing fails twice", async || {
        let id = messages.send(db, "meanwhile").await.unwrap();
        assert_eq!(messages.read(db, id).await.unwrap().unwrap().as_str(), "meanwhile");
        assert_eq!(messages.read(db, first).await.unwrap().unwrap().as_str(), "before");
        (storage.counters().loads >= loads + 2).then_some(())
    })
    .await;
    let another = open(&site, stale()).await;
    assert_eq!(another.load_keyset("default").await.unwrap_err().code(), "ledger_failed", "it is really down");
    site.ledger_sql("ALTER TABLE away RENAME TO reseal_keys").await;
    let key = promote(&site).await;
    eventually(Duration::from_secs(20), "it comes back", async || {
        (i64::from(storage.load_keyset("default").await.unwrap().0) == key).then_some(())
    })
    .await;
}

async fn nothing_is_encrypted_with_a_keyset_that_the_ledger_did_not_confirm_for_too_long(backend: DbBackend) {
    let site = Site::new(backend).await;
    let options = Options::default().refresh_every(Duration::from_millis(50)).confirmed_within(Duration::from_secs(2));
    let (storage, db) = (open(&site, options).await, &site.app);
    let messages = storage.messages::<Text>();
    let first = messages.send(db, "before").await.unwrap();
    site.ledger_sql("ALTER TABLE reseal_keys RENAME TO away").await;
    messages.send(db, "meanwhile").await.unwrap();
    let refused =
        eventually(Duration::from_secs(20), "encrypting ends", async || messages.edit(db, first, "later").await.err())
            .await;
    assert_eq!(refused.code(), "keyset_unconfirmed");
    assert!(refused.to_string().contains("nothing is encrypted"), "{refused}");
    assert_ne!(messages.read(db, first).await.unwrap(), None, "reading goes on");
    site.ledger_sql("ALTER TABLE away RENAME TO reseal_keys").await;
    eventually(Duration::from_secs(20), "it encrypts again", async || messages.edit(db, first, "after").await.ok())
        .await;
}

async fn a_first_key_encrypts_nothing_before_its_backup_is_there(backend: DbBackend) {
    let site = Site::new(backend).await;
    let (keyring, storage) = (&site.engine.keyring, open(&site, stale()).await);
    let (path, aside) = (site.engine.config.ledger.key_backup.clone(), site.dir.dir().join("aside"));
    std::fs::rename(&path, &aside).unwrap();
    std::fs::write(&path, "no folder").unwrap();
    keyring.create("tester", "new").await.unwrap_err();
    let dek = reseal_keyring::Dek::from_slice(&[7; 32]).unwrap();
    let (key_id, algorithm) = (reseal_keyring::KeyId(77), reseal_keyring::Algorithm::Aes256Gcm);
    let prefix = reseal_keyring::Prefix::Tink;
    let theirs = [(reseal_keyring::ImportedKey { key_id, primary: true, algorithm, prefix }, dek)];
    keyring.import("tester", "theirs", &theirs, "tink-json").await.unwrap_err();
    let of = async |keyset: &str| {
        let keys = reseal_entities::ledger::keys::of_keyset(site.engine.ledger.db(), keyset).await.unwrap();
        keys.iter().map(|k| (k.key_id, k.state.to_string())).collect::<Vec<_>>()
    };
    let made = of("new").await[0].0;
    for (keyset, key_id) in [("new", made), ("theirs", 77)] {
        assert_eq!(of(keyset).await, [(key_id, "pre_active".to_owned())]);
        assert_eq!(storage.load_keyset(keyset).await.unwrap_err().code(), "keyset_not_one_active");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    let again = keyring.import("tester", "theirs", &theirs, "tink-json").await.unwrap_err();
    assert_eq!(again.code(), "keyset_unfinished");
    assert!(again.to_string().contains("reseal keys create theirs"), "{again}");
    for (keyset, key_id) in [("new", made), ("theirs", 77)] {
        let (finished, state) = keyring.create("tester", keyset).await.unwrap();
        assert_eq!((finished, state.to_string().as_str()), (key_id, "active"));
        assert_eq!(of(keyset).await, [(key_id, "active".to_owned())], "the one that was there, and no other");
        let copy = keyring.backup().read(reseal_keyring::KeyId(u32::try_from(key_id).unwrap())).unwrap();
        assert!(copy.is_some(), "its backup is there");
        assert_eq!(i64::from(storage.load_keyset(keyset).await.unwrap().0), key_id);
    }
}

async fn a_keyset_that_is_not_there_and_another_kek_are_told_apart(backend: DbBackend) {
    let site = Site::new(backend).await;
    let storage = open(&site, stale()).await;
    assert_eq!(storage.load_keyset("nobody's").await.unwrap_err().code(), "no_keyset");
    let uri = format!("file:{}", site.dir.dir().join("another").display());
    reseal_keyring::kek::create(&uri).unwrap();
    let url = site.engine.config.ledger.url.expose();
    let other = reseal_storage::Storage::open(url, &uri).await.unwrap();
    assert_eq!(other.load_keyset("default").await.unwrap_err().code(), "kek_not_authentic");
}

on_every_database!(
    a_hundred_reads_of_a_key_just_promoted_ask_the_ledger_once,
    an_id_that_the_ledger_does_not_know_is_asked_for_once,
    a_keyset_is_refreshed_within_its_time_without_any_use,
    a_write_with_a_keyset_that_is_too_old_refreshes_it_first,
    without_the_ledger_reading_and_writing_go_on,
    nothing_is_encrypted_with_a_keyset_that_the_ledger_did_not_confirm_for_too_long,
    a_first_key_encrypts_nothing_before_its_backup_is_there,
    a_keyset_that_is_not_there_and_another_kek_are_told_apart,
);
