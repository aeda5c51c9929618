//! A value that somebody still needs while its key waits to be destroyed.

use crate::{drive_past_writers, on_every_database, open, site::Site, stale};
use reseal_entities::{
    app::messages,
    job::{Job, JobKind},
    ledger::{audit, hold},
    state::{KeyState, RotationState},
};
use reseal_keyring::{KeyId, KeyInfo, Keyset, Prefix};
use reseal_storage::{Field, Storage, StorageError, Text};
use sea_orm::DbBackend;
use std::time::Duration;

const CONTENT: Field<messages::Entity, Text> = Field::new(messages::Column::EncryptedContent);

/// A rotation that waits to destroy the old key, and a copy of message 1 under it, as a cache or a backup
/// may have one.
async fn waiting(backend: DbBackend) -> (Site, i64, Vec<u8>) {
    let site = Site::with(backend, false, |c| c.rotation.clear_after = Some(Duration::from_secs(3_600))).await;
    let storage = open(&site, stale()).await;
    let copy = storage.seal(CONTENT, 1, "hello").await.unwrap();
    let id = site.request().await;
    drive_past_writers(&site, id, RotationState::Waiting).await;
    (site, id, copy)
}

async fn reader(site: &Site, name: &str) -> Storage {
    open(site, stale().name(name)).await
}

async fn the_waiting_time_is_over(site: &Site) {
    site.ledger_sql("UPDATE reseal_rotations SET waited_ms = clear_after_ms").await;
}

async fn dismiss(site: &Site, id: i64) {
    let txn = site.engine.ledger.begin().await.unwrap();
    let later = hold::dismiss(&txn, "a person", id, "another one was seen", Some(1)).await;
    assert_eq!(later.unwrap_err().code(), "held_anew");
    hold::dismiss(&txn, "a person", id, "a forgotten cache, emptied", None).await.unwrap();
    txn.commit().await.unwrap();
}

async fn a_read_under_a_suspended_key_holds_its_clearing_until_a_person_dismisses_it(backend: DbBackend) {
    let (site, id, copy) = waiting(backend).await;
    let old = site.status(id).await.old_keys[0].key_id;
    let refused = reader(&site, "app-7").await.unseal(CONTENT, 1, &copy).await.unwrap_err();
    assert_eq!(refused.code(), "key_suspended");
    assert!(refused.to_string().contains(&format!("key {old} is suspended")), "{refused}");
    assert!(!format!("{refused:?}").contains("hello"));

    let held = site.status(id).await;
    assert!(held.needs_attention);
    assert_eq!(held.code.as_deref(), Some("key_used"));
    for word in [&old.to_string(), "app-7", "messages.encrypted_content:1"] {
        assert!(held.summary.contains(word), "{word}: {}", held.summary);
    }
    the_waiting_time_is_over(&site).await;
    for _ in 0..3 {
        site.dispatch().await;
        assert!(site.next_job().is_none(), "nobody is sent to clear");
    }
    site.perform(&Job { kind: JobKind::Clear, id }).await.unwrap(); // by a message from before the use
    let still = site.status(id).await;
    assert_eq!((still.state, still.old_keys[0].state), (RotationState::Waiting, KeyState::Suspended));

    dismiss(&site, id).await;
    assert!(!site.status(id).await.needs_attention);
    let done = drive_past_writers(&site, id, RotationState::Completed).await;
    assert_eq!(done.old_keys[0].state, KeyState::Destroyed);
    assert_eq!(audit::verify(site.engine.ledger.db()).await.unwrap().broken, None);
}

async fn a_cell_without_a_key_id_holds_the_clearing_of_its_suspended_raw_key(backend: DbBackend) {
    let site = Site::with(backend, false, |c| c.rotation.clear_after = Some(Duration::from_secs(3_600))).await;
    let dek = || reseal_keyring::Dek::from_slice(&[7; 32]).unwrap();
    crate::http::insert_key(&site, "default", 77, "raw", KeyState::Deactivated, &dek()).await;
    let info = KeyInfo { prefix: Prefix::Raw, ..KeyInfo::native(KeyId(77), 1, reseal_keyring::KeyState::Active) };
    let theirs = Keyset::new("theirs", vec![(info, Some(dek()))]).unwrap();
    // One in so many begins like a cell that names some key.
    let cells = std::iter::repeat_with(|| theirs.encrypt(b"hello", b"messages.encrypted_content:1"));
    let like_a_cell = cells.clone().find(|cell| cell[0] == 1).unwrap();
    let copy = cells.clone().find(|cell| cell[0] != 1).unwrap();
    let id = site.request().await;
    drive_past_writers(&site, id, RotationState::Waiting).await;
    let refused = reader(&site, "app-7").await.unseal(CONTENT, 1, &copy).await.unwrap_err();
    assert_eq!(refused.code(), "key_suspended", "{refused}");
    let held = site.rotation(id).await.hold_detail.unwrap();
    assert!(held.contains("app-7") && held.contains("suspended key 77"), "{held}");
    let refused = reader(&site, "app-8").await.unseal(CONTENT, 1, &like_a_cell).await.unwrap_err();
    assert_eq!(refused.code(), "key_suspended", "{refused}");
    let other = reader(&site, "app-9").await.unseal(CONTENT, 2, &copy).await.unwrap_err();
    assert!(matches!(other, StorageError::Cell { .. }), "{other:?}");
}

async fn an_alarm_that_a_conflict_undoes_is_raised_again(backend: DbBackend) {
    let (site, id, copy) = waiting(backend).await;
    let (up, down) = if backend == DbBackend::Postgres {
        site.ledger_sql(
            "CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'a deadlock' USING ERRCODE = '40P01'; END $$",
        )
        .await;
        let up = "CREATE TRIGGER conflict BEFORE UPDATE ON reseal_rotations FOR EACH ROW EXECUTE FUNCTION conflict()";
        (up, "DROP TRIGGER conflict ON reseal_rotations")
    } else {
        let up = "CREATE TRIGGER conflict BEFORE UPDATE ON reseal_rotations BEGIN SELECT RAISE(ABORT, 'busy'); END";
        (up, "DROP TRIGGER conflict")
    };
    site.ledger_sql(up).await;
    let storage = reader(&site, "app").await;
    storage.load_keyset("default").await.unwrap();
    let reading = tokio::spawn(async move { storage.unseal(CONTENT, 1, &copy).await.map(|_| ()) });
    tokio::time::sleep(Duration::from_millis(200)).await; // it fails a few times meanwhile
    site.ledger_sql(down).await;
    assert_eq!(reading.await.unwrap().unwrap_err().code(), "key_suspended");
    assert!(site.rotation(id).await.hold_at.is_some(), "it is held before the refusal");
}

async fn what_does_not_authenticate_under_a_suspended_key_holds_nothing(backend: DbBackend) {
    let (site, id, copy) = waiting(backend).await;
    let storage = reader(&site, "app").await;
    let mut altered = copy.clone();
    *altered.last_mut().unwrap() ^= 1;
    for (key, stored) in [(1, &altered), (2, &copy)] {
        let refused = storage.unseal(CONTENT, key, stored).await.unwrap_err();
        assert!(matches!(refused, StorageError::Cell { .. }), "{refused:?}");
    }
    assert!(!site.status(id).await.needs_attention);
    the_waiting_time_is_over(&site).await;
    drive_past_writers(&site, id, RotationState::Completed).await;
}

async fn many_reads_under_a_suspended_key_are_one_entry_in_the_audit(backend: DbBackend) {
    let (site, _, copy) = waiting(backend).await;
    let storage = reader(&site, "app").await;
    for _ in 0..20 {
        assert_eq!(storage.unseal(CONTENT, 1, &copy).await.unwrap_err().code(), "key_suspended");
    }
    assert_eq!(used(&site).await, 1);
    // nor does another instance add to what is held already
    reader(&site, "another").await.unseal(CONTENT, 1, &copy).await.unwrap_err();
    assert_eq!(used(&site).await, 1);
}

async fn used(site: &Site) -> usize {
    use sea_orm::EntityTrait;
    let all = reseal_entities::audit::Entity::find().all(site.engine.ledger.db()).await.unwrap();
    all.iter().filter(|entry| entry.action == "key.used_while_suspended").count()
}

async fn a_key_that_was_restored_meanwhile_is_read_under_again_and_nothing_is_held(backend: DbBackend) {
    let (site, id, copy) = waiting(backend).await;
    let storage = reader(&site, "app").await;
    storage.load_keyset("default").await.unwrap();
    site.ledger_sql("UPDATE reseal_keys SET state = 'deactivated' WHERE state = 'suspended'").await;
    assert_eq!(storage.unseal(CONTENT, 1, &copy).await.unwrap().as_str(), "hello");
    assert!(site.rotation(id).await.hold_at.is_none());
}

async fn a_request_that_is_dropped_holds_the_clearing_all_the_same(backend: DbBackend) {
    let (site, id, copy) = waiting(backend).await;
    let storage = reader(&site, "app").await;
    storage.load(&site.app, CONTENT, 77).await.unwrap(); // its first use is over: keyset and catalog are known
    let dropped = tokio::time::timeout(Duration::ZERO, storage.unseal(CONTENT, 1, &copy)).await;
    assert!(dropped.is_err(), "it was answered before it could be dropped");
    reseal_tests::eventually(Duration::from_secs(20), "it is held", async || site.rotation(id).await.hold_at).await;
}

on_every_database!(
    a_cell_without_a_key_id_holds_the_clearing_of_its_suspended_raw_key,
    an_alarm_that_a_conflict_undoes_is_raised_again,
    a_read_under_a_suspended_key_holds_its_clearing_until_a_person_dismisses_it,
    what_does_not_authenticate_under_a_suspended_key_holds_nothing,
    many_reads_under_a_suspended_key_are_one_entry_in_the_audit,
    a_key_that_was_restored_meanwhile_is_read_under_again_and_nothing_is_held,
    a_request_that_is_dropped_holds_the_clearing_all_the_same,
);
