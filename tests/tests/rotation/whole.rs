//! What a rotation does when nobody disturbs it.

use crate::{
    on_every_database,
    site::{Site, column, table},
};
use reseal_entities::state::{KeyState, RotationState};
use sea_orm::DbBackend;
use std::time::Duration;

on_every_database! {
    every_row_ends_under_the_new_key_and_the_old_key_is_destroyed,
    the_ledger_may_live_beside_the_data,
    rotating_again_destroys_the_next_key_and_keeps_both_fences,
    several_columns_of_a_row_are_rotated_together,
    rows_that_came_after_the_plan_are_swept,
    a_rotation_of_empty_tables_completes,
    nothing_is_cleared_before_the_waiting_time_is_over,
    the_keys_backup_is_written_before_promoting_and_gone_after_clearing,
    a_ledger_from_before_the_rotation_recovers_its_key,
    a_large_value_is_read_in_a_chunk_of_its_own,
}

async fn every_row_ends_under_the_new_key_and_the_old_key_is_destroyed(backend: DbBackend) {
    let site = Site::new(backend).await;
    let truth = site.seed(230).await;
    let status = site.rotate().await;
    assert_eq!(site.read_all().await, truth);
    assert_eq!(status.old_key_state, Some(KeyState::Destroyed));
    assert_eq!((status.rows, status.rows_done), (690, 690));
    assert_eq!(status.reencrypted, truth.len() as i64);
    assert!(status.tables.iter().all(|t| t.rows == 230), "{status:#?}");
    assert!(status.batches["done"] >= 15, "batches of 50 rows: {:?}", status.batches);
    assert!(status.gate.iter().all(|c| c.met), "{:?}", status.gate);
}

async fn the_ledger_may_live_beside_the_data(backend: DbBackend) {
    let site = Site::with(backend, true, |_| ()).await;
    let truth = site.seed(60).await;
    site.rotate().await;
    assert_eq!(site.read_all().await, truth);
}

async fn rotating_again_destroys_the_next_key_and_keeps_both_fences(backend: DbBackend) {
    let site = Site::new(backend).await;
    let truth = site.seed(60).await;
    let first = site.engine.keyring.keyset("default").await.unwrap();
    site.rotate().await;
    site.engine.keyring.forget();
    let second = site.engine.keyring.keyset("default").await.unwrap();
    let status = site.rotate().await;
    assert_eq!(site.read_all().await, truth);
    assert_eq!(status.old_keys.len(), 1, "a destroyed key is not retired again");
    for stale in [first, second] {
        let refused = site.set_message(1, Some(stale.encrypt(b"late", b"messages.encrypted_content:1"))).await;
        assert!(refused.unwrap_err().to_string().contains("reload the keyset"));
    }
}

async fn several_columns_of_a_row_are_rotated_together(backend: DbBackend) {
    let site = Site::with(backend, false, |config| {
        config.tables = vec![table("pair", vec![column("one", "pair.one:{id}"), column("two", "pair.two:{id}")])];
    })
    .await;
    let blob = if backend == DbBackend::Postgres { "bytea" } else { "blob" };
    site.sql(&format!("CREATE TABLE pair (id bigint PRIMARY KEY, one {blob}, two {blob})")).await;
    let keyset = site.engine.keyring.keyset("default").await.unwrap();
    let hex = |cell: Vec<u8>| {
        if backend == DbBackend::Postgres {
            format!("'\\x{}'", hex::encode(cell))
        } else {
            format!("x'{}'", hex::encode(cell))
        }
    };
    for id in 0..120 {
        let one = hex(keyset.encrypt(b"one", format!("pair.one:{id}").as_bytes()));
        let two =
            if id % 3 == 0 { "NULL".into() } else { hex(keyset.encrypt(b"two", format!("pair.two:{id}").as_bytes())) };
        site.sql(&format!("INSERT INTO pair VALUES ({id}, {one}, {two})")).await;
    }
    let status = site.rotate().await;
    assert_eq!(status.reencrypted, 120, "a row counts once, whatever its columns");
    let census = reseal_engine::census::census(&site.engine).await.unwrap();
    let counts: Vec<_> = census.iter().map(|c| (c.keys.len(), c.keys[0].cells)).collect();
    assert_eq!(counts, [(1, 120), (1, 80)]);
}

async fn rows_that_came_after_the_plan_are_swept(backend: DbBackend) {
    let site = Site::new(backend).await;
    let mut truth = site.seed(60).await;
    let old = site.engine.keyring.keyset("default").await.unwrap();
    let id = site.request().await;
    site.drive(id, |s| s.batches.contains_key("done")).await;
    for key in 1_000_000..1_000_040 {
        let place = format!("messages.encrypted_content:{key}");
        site.sql(&format!("INSERT INTO messages (id) VALUES ({key})")).await;
        site.set_message(key, Some(old.encrypt(b"late", place.as_bytes()))).await.unwrap();
        truth.insert(place, b"late".to_vec());
    }
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn a_rotation_of_empty_tables_completes(backend: DbBackend) {
    let site = Site::new(backend).await;
    let status = site.rotate().await;
    assert_eq!((status.rows, status.reencrypted), (0, 0));
    assert_eq!(status.old_key_state, Some(KeyState::Destroyed));
}

async fn nothing_is_cleared_before_the_waiting_time_is_over(backend: DbBackend) {
    let hour = Duration::from_secs(3_600);
    let site = Site::with(backend, false, |c| c.rotation.clear_after = Some(hour)).await;
    site.seed(30).await;
    let id = site.request().await;
    let status = site.drive_to(id, RotationState::Waiting).await;
    assert_eq!(status.old_key_state, Some(KeyState::Suspended));
    for _ in 0..5 {
        site.dispatch().await;
        assert_eq!(site.next_job(), None);
    }
    let forged = reseal_entities::job::Job { kind: reseal_entities::job::JobKind::Clear, id };
    site.perform(&forged).await.unwrap();
    let status = site.status(id).await;
    assert_eq!((status.state, status.old_key_state), (RotationState::Waiting, Some(KeyState::Suspended)));
    assert!(site.rotation(id).await.waited_ms < 60_000);
    site.ledger_sql(&format!(
        "UPDATE reseal_rotations SET waited_ms = clear_after_ms, step_due_at = 0, next_ring_at = 0 WHERE id = {id}"
    ))
    .await;
    site.drive_to(id, RotationState::Completed).await;
}

async fn the_keys_backup_is_written_before_promoting_and_gone_after_clearing(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(30).await;
    let backup = || site.engine.keyring.backup().list().unwrap().into_iter().map(|r| r.version).collect::<Vec<_>>();
    assert_eq!(backup(), [1]);
    let id = site.request().await;
    site.drive(id, |s| s.new_key.as_ref().is_some_and(|k| k.state == KeyState::Active)).await;
    let mut both = backup();
    both.sort_unstable();
    assert_eq!(both, [1, 2]);
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(backup(), [2]);
}

async fn a_ledger_from_before_the_rotation_recovers_its_key(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    let truth = site.seed(30).await;
    let id = site.request().await;
    // Stopped half-way: rows under both keys. Then last night's ledger comes back without the new key.
    site.drive(id, |s| s.reencrypted > 20).await;
    let fresh = if backend == DbBackend::Postgres {
        shared_ledger(&site).await
    } else {
        format!("sqlite://{}/restored.sqlite?mode=rwc", site.dir.dir().display())
    };
    let ledger = reseal_entities::ledger::Ledger::connect(&fresh).await.unwrap();
    reseal_migration::migrate_ledger(ledger.db()).await.unwrap();
    ledger.identity().await.unwrap();
    let mut config = site.engine.config.clone();
    config.ledger.url = reseal_config::SecretUrl::new(&fresh);
    site.engine = reseal_engine::Engine::open(config, ledger, "restored".into()).await.unwrap().into();
    let recovered = site.engine.keyring.recover("tester").await.unwrap();
    assert_eq!(recovered.len(), 2);
    assert!(site.engine.keyring.recover("tester").await.unwrap().is_empty(), "recovering again changes nothing");
    // The source says that another ledger was here last: a person says that this one takes over.
    reseal_engine::check::accept_source(&site.engine, "tester", "app").await.unwrap();
    site.rotate().await;
    assert_eq!(site.read_all().await, truth);
}

async fn shared_ledger(site: &Site) -> String {
    let name =
        format!("restored_{}", site.dir.dir().file_name().unwrap().to_string_lossy().replace('.', "").to_lowercase());
    reseal_tests::shared_postgres().create_database(&name)
}

async fn a_large_value_is_read_in_a_chunk_of_its_own(backend: DbBackend) {
    let site = Site::new(backend).await;
    let mut truth = site.seed(20).await;
    let keyset = site.engine.keyring.keyset("default").await.unwrap();
    for id in [1, 9, 19] {
        let (place, large) = (format!("messages.encrypted_content:{id}"), vec![7; 9 * 1024 * 1024]);
        site.set_message(id, Some(keyset.encrypt(&large, place.as_bytes()))).await.unwrap();
        truth.insert(place, large);
    }
    site.rotate().await;
    assert!(site.read_all().await == truth);
}
