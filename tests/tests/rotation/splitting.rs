//! A batch that a person wants in smaller parts, on real tables.

use crate::{
    limits::{planned, planned_at},
    on_every_database,
    site::Site,
};
use reseal_engine::reencrypt::{self, Fate};
use reseal_entities::{
    batches,
    ledger::{
        attempts::{self, AttemptOutcome},
        claim, report, split,
    },
    state::{BatchState, RotationState},
};
use sea_orm::{ColumnTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder};
use std::sync::atomic::{AtomicU32, Ordering};

on_every_database! {
    a_batch_that_is_split_for_a_person_is_halved_and_nothing_is_lost,
    a_batch_that_failed_half_way_is_halved_from_where_it_was,
    a_batch_that_is_done_again_is_halved_by_the_rows_that_are_there,
    a_batch_that_cannot_be_split_is_done,
    a_split_that_fails_gives_the_batch_back_and_is_tried_again,
    a_batch_that_kills_its_workers_and_cannot_be_counted_says_so_and_waits_for_the_source,
}

async fn ask(site: &Site, batch_id: i64) {
    let txn = site.engine.ledger.begin().await.unwrap();
    split::ask(&txn, "tester", batch_id).await.unwrap();
    txn.commit().await.unwrap();
}

async fn batch(site: &Site, id: i64) -> batches::Model {
    batches::Entity::find_by_id(id).one(site.engine.ledger.db()).await.unwrap().unwrap()
}

/// The first batch of `messages`.
async fn first(site: &Site, rotation: i64) -> batches::Model {
    let tables = reseal_entities::ledger::plan::tables(site.engine.ledger.db(), rotation).await.unwrap();
    let messages = tables.iter().find(|t| t.table_name == "messages").expect("it is planned").id;
    let found = batches::Entity::find().filter(batches::Column::PlannedTableId.eq(messages));
    found.order_by_asc(batches::Column::Id).one(site.engine.ledger.db()).await.unwrap().unwrap()
}

/// What stands in its place, in order.
async fn parts(site: &Site, of: i64) -> Vec<batches::Model> {
    let found = batches::Entity::find().filter(batches::Column::PartOf.eq(of)).order_by_asc(batches::Column::Id);
    found.all(site.engine.ledger.db()).await.unwrap()
}

async fn worked(site: &Site, batch_id: i64) -> Fate {
    reencrypt::batch(&site.engine, batch_id, &|| false).await.unwrap()
}

/// Two parts that have so many rows, and begin and end where `of` did, with nothing between them.
async fn halves(site: &Site, of: &batches::Model, rows: [i64; 2]) -> [batches::Model; 2] {
    let found: [batches::Model; 2] = parts(site, of.id).await.try_into().expect("two parts");
    let from = of.cursor.clone().or_else(|| of.after_key.clone());
    assert_eq!((&found[0].after_key, &found[1].up_to_key), (&from, &of.up_to_key));
    assert_eq!(found[1].after_key.as_ref(), Some(&found[0].up_to_key));
    assert_eq!(found.clone().map(|part| part.rows), rows);
    found
}

async fn a_batch_that_is_split_for_a_person_is_halved_and_nothing_is_lost(backend: DbBackend) {
    let site = Site::new(backend).await;
    let (id, truth) = planned_at(&site, 120).await;
    let b = first(&site, id).await;
    ask(&site, b.id).await;
    assert_eq!(worked(&site, b.id).await, Fate::Split);
    halves(&site, &b, [25, 25]).await;
    assert_eq!(worked(&site, b.id).await, Fate::NotOurs, "nobody does it any more");
    let status = site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
    assert!(parts(&site, b.id).await.iter().all(|part| part.state == BatchState::Done));
    assert_eq!(status.rows_done, status.rows);
    let told = attempts::of_batch(site.engine.ledger.db(), b.id).await.unwrap();
    assert_eq!(told.iter().map(|a| a.outcome).collect::<Vec<_>>(), [AttemptOutcome::Split]);
}

async fn a_batch_that_failed_half_way_is_halved_from_where_it_was(backend: DbBackend) {
    let (site, id) = planned(backend, 120).await;
    let b = first(&site, id).await;
    let looks = AtomicU32::new(0);
    let stop = || looks.fetch_add(1, Ordering::Relaxed) >= 1;
    assert_eq!(reencrypt::batch(&site.engine, b.id, &stop).await.unwrap(), Fate::Released);
    let claimed = claim::claim_if_due(site.engine.ledger.db(), b.id, "w").await.unwrap().expect("claimed").batch;
    let txn = site.engine.ledger.begin().await.unwrap();
    assert!(report::fail_if_held(&txn, &claimed, "kills_its_worker", "it did").await.unwrap());
    txn.commit().await.unwrap();
    let b = batch(&site, b.id).await;
    assert!(b.cursor.is_some() && b.rows_counted > 0, "{b:?}");

    ask(&site, b.id).await;
    assert_eq!(worked(&site, b.id).await, Fate::Split);
    let found = parts(&site, b.id).await;
    let rows: i64 = found.iter().map(|part| part.rows).sum();
    halves(&site, &b, [rows / 2, rows - rows / 2]).await;
    assert!(rows < b.rows, "what it had looked at is in neither: {found:?}");
    let status = site.drive_to(id, RotationState::Completed).await;
    assert_eq!((status.rows_done, status.quarantined), (status.rows, 0));
}

/// Its rows are all counted before it begins, so that only the source knows how many there are.
async fn a_batch_that_is_done_again_is_halved_by_the_rows_that_are_there(backend: DbBackend) {
    let (site, id) = planned(backend, 120).await;
    let b = first(&site, id).await;
    assert_eq!(worked(&site, b.id).await, Fate::Done);
    site.ledger_sql(&format!("UPDATE reseal_batches SET state = 'failed', cursor = NULL WHERE id = {}", b.id)).await;
    ask(&site, b.id).await;
    assert_eq!(worked(&site, b.id).await, Fate::Split);
    let found = halves(&site, &b, [25, 25]).await;
    assert!(found.iter().all(|part| part.rows == part.rows_counted), "nothing is counted twice: {found:?}");
    let status = site.drive_to(id, RotationState::Completed).await;
    assert_eq!(status.rows_done, status.rows);
}

async fn a_batch_that_cannot_be_split_is_done(backend: DbBackend) {
    let site = Site::with(backend, false, |config| config.rotation.batch_rows = 2).await;
    let (id, _) = planned_at(&site, 10).await;
    let b = first(&site, id).await;
    // its last row goes, and with it the key that ends it
    site.sql(&format!("DELETE FROM messages WHERE id = {}", b.up_to_key)).await;
    ask(&site, b.id).await;
    assert_eq!(worked(&site, b.id).await, Fate::Done);
    assert!(parts(&site, b.id).await.is_empty());
    site.drive_to(id, RotationState::Completed).await;
}

async fn a_split_that_fails_gives_the_batch_back_and_is_tried_again(backend: DbBackend) {
    let (site, id) = planned(backend, 120).await;
    let b = first(&site, id).await;
    ask(&site, b.id).await;
    site.sql("ALTER TABLE messages RENAME TO elsewhere").await;
    assert_eq!(worked(&site, b.id).await, Fate::Released);
    let given_back = batch(&site, b.id).await;
    assert_eq!((given_back.state, given_back.attempts, given_back.split_asked), (BatchState::Pending, 0, true));
    let told = attempts::of_batch(site.engine.ledger.db(), b.id).await.unwrap();
    assert_eq!((told.len(), told[0].code.as_ref()), (1, given_back.code.as_ref()));
    site.sql("ALTER TABLE elsewhere RENAME TO messages").await;
    site.end_pauses().await;
    assert_eq!(worked(&site, b.id).await, Fate::Split);
    site.drive_to(id, RotationState::Completed).await;
}

async fn a_batch_that_kills_its_workers_and_cannot_be_counted_says_so_and_waits_for_the_source(backend: DbBackend) {
    let (site, id) = planned(backend, 120).await;
    let b = first(&site, id).await;
    site.ledger_sql(&format!("UPDATE reseal_batches SET barren_claims = 3 WHERE id = {}", b.id)).await;
    site.sql("ALTER TABLE messages RENAME TO elsewhere").await;
    for tries in 1..12 {
        assert_eq!(worked(&site, b.id).await, Fate::Released);
        let now = batch(&site, b.id).await;
        assert_eq!((now.state, now.attempts, now.faults, now.barren_claims), (BatchState::Pending, 0, tries, 3));
        assert!(now.code.is_some() && now.due_at > 0, "{now:?}");
        let told = attempts::of_batch(site.engine.ledger.db(), b.id).await.unwrap();
        assert_eq!((told.len(), &told[0].code), (tries as usize, &now.code));
        site.end_pauses().await;
    }
    site.sql("ALTER TABLE elsewhere RENAME TO messages").await;
    // and once the source answers again it is split, not tried whole
    assert_eq!(worked(&site, b.id).await, Fate::Split);
    site.drive_to(id, RotationState::Completed).await;
}
