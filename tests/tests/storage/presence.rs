//! Who writes with which key.

use crate::{
    on_every_database, open,
    site::{Site, column, table},
    stale,
};
use reseal_entities::ledger::writers;
use reseal_storage::{Options, Text};
use reseal_tests::eventually;
use sea_orm::DbBackend;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn quick(options: Options, name: &str) -> Options {
    options.name(name).beat_every(Duration::from_millis(50))
}

async fn a_rotation_names_stragglers_before_it_fences(backend: DbBackend) {
    let site = Site::with(backend, false, |config| {
        config.rotation.writer_ttl = Duration::from_secs(3_600);
        config.tables = vec![table("messages", vec![column("encrypted_content", "messages.encrypted_content:{id}")])];
    })
    .await;
    let fresh = Options::default().refresh_every(Duration::from_millis(100));
    let instances = [
        open(&site, quick(stale(), "late-1")).await,
        open(&site, quick(stale(), "late-2")).await,
        open(&site, quick(fresh, "fresh")).await,
    ];
    for storage in &instances {
        storage.messages::<Text>().send(&site.app, "hello").await.unwrap();
    }
    let old = instances[0].load_keyset("default").await.unwrap();
    let id = site.request().await;
    let before = site.status(id).await;
    assert!(before.stragglers.is_empty(), "nothing is promoted yet: {:?}", before.stragglers);
    let names =
        |s: &[reseal_entities::ledger::read::WriterStatus]| s.iter().map(|w| w.name.clone()).collect::<Vec<_>>();
    let status = site
        .drive(id, |s| s.code.as_deref() == Some("writer_ttl") && s.writers.len() == 3 && s.stragglers.len() == 2)
        .await;
    assert_eq!(names(&status.writers), ["fresh", "late-1", "late-2"]);
    assert_eq!(names(&status.stragglers), ["late-1", "late-2"]);
    let told = format!("; 2 applications still write with key {}: late-1, late-2", old.0);
    assert!(status.detail.as_deref().unwrap().ends_with(&told), "{:?}", status.detail);
    assert!(status.summary.contains(&told), "{}", status.summary);
    instances[0].close().await;
    let left = site.status(id).await;
    assert_eq!(names(&left.writers), ["fresh", "late-2"], "an orderly stop takes its row out");
    assert!(left.detail.unwrap().ends_with(&format!("1 application still writes with key {}: late-2", old.0)));
}

async fn a_writer_that_is_silent_is_taken_for_gone_and_forgotten_after_a_day(backend: DbBackend) {
    let site = Site::new(backend).await;
    let db = site.engine.ledger.db();
    for name in ["a", "b", "c"] {
        writers::beat(db, name, "default", 7, 5_000).await.unwrap();
    }
    writers::beat(db, "a", "default", 8, 5_000).await.unwrap();
    site.ledger_sql("UPDATE reseal_writers SET seen_at = seen_at - 31000 WHERE name = 'b'").await;
    site.ledger_sql("UPDATE reseal_writers SET seen_at = seen_at - 90000000 WHERE name = 'c'").await;
    let alive = writers::alive(db, "default").await.unwrap();
    assert_eq!(alive.iter().map(|w| (w.name.as_str(), w.key_id)).collect::<Vec<_>>(), [("a", 8)]);
    assert!(alive[0].seen_at >= alive[0].started_at);
    assert!(writers::alive(db, "another").await.unwrap().is_empty());
    writers::forget_the_long_gone(db).await.unwrap();
    assert_eq!(rows(&site).await, 2);
}

async fn rows(site: &Site) -> i64 {
    use sea_orm::{EntityTrait, PaginatorTrait};
    reseal_entities::writers::Entity::find().count(site.engine.ledger.db()).await.unwrap().try_into().unwrap()
}

async fn encryptions(site: &Site) -> i64 {
    use sea_orm::EntityTrait;
    let keys = reseal_entities::keys::Entity::find().all(site.engine.ledger.db()).await.unwrap();
    keys.iter().map(|k| k.encryptions).sum()
}

async fn encryptions_are_counted_with_the_beat_and_at_the_end(backend: DbBackend) {
    let site = Site::new(backend).await;
    let storage = open(&site, quick(stale(), "counts")).await;
    let before = encryptions(&site).await;
    for _ in 0..7 {
        storage.messages::<Text>().send(&site.app, "hello").await.unwrap();
    }
    eventually(SOON, "the beat counts", async || (encryptions(&site).await == before + 7).then_some(())).await;
    let slow = open(&site, stale().name("slow").beat_every(Duration::from_secs(3_600))).await;
    for _ in 0..5 {
        slow.messages::<Text>().send(&site.app, "hello").await.unwrap();
    }
    slow.close().await;
    assert_eq!(encryptions(&site).await, before + 12);
    drop(storage);
}

async fn the_background_task_ends_with_the_last_handle(backend: DbBackend) {
    let site = Site::new(backend).await;
    let storage = open(&site, quick(stale(), "gone")).await;
    storage.load_keyset("default").await.unwrap();
    eventually(SOON, "it is listed", async || (rows(&site).await == 1).then_some(())).await;
    drop(storage);
    let seen = "SELECT seen_at FROM reseal_writers";
    let look = async || {
        let db = site.engine.ledger.db();
        use sea_orm::{ConnectionTrait, Statement};
        let row = db.query_one_raw(Statement::from_string(backend, seen)).await.unwrap().unwrap();
        row.try_get_by_index::<i64>(0).unwrap()
    };
    eventually(SOON, "it beats no more", async || {
        let before = look().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        (look().await == before).then_some(())
    })
    .await;
}

on_every_database!(
    a_rotation_names_stragglers_before_it_fences,
    a_writer_that_is_silent_is_taken_for_gone_and_forgotten_after_a_day,
    encryptions_are_counted_with_the_beat_and_at_the_end,
    the_background_task_ends_with_the_last_handle,
);
