//! What an operator allows a rotation while it runs.

use crate::{
    on_every_database,
    site::{Site, Truth},
};
use reseal_engine::reencrypt::{self, Fate};
use reseal_entities::{
    batches,
    job::JobKind,
    ledger::{
        claim,
        throttle::{self, Limits, Pace},
    },
    state::{BatchState, RotationState},
};
use sea_orm::{ColumnTrait, DbBackend, EntityTrait, PaginatorTrait, QueryFilter};
use std::time::{Duration, Instant};

/// A rotation whose batches are cut, none of them done.
pub(crate) async fn planned(backend: DbBackend, rows: u64) -> (Site, i64) {
    let site = Site::new(backend).await;
    let (id, _) = planned_at(&site, rows).await;
    (site, id)
}

/// The same at a site that is there, and what was sown.
pub(crate) async fn planned_at(site: &Site, rows: u64) -> (i64, Truth) {
    let truth = site.seed(rows).await;
    let id = site.request().await;
    while !site.rotation(id).await.planning_done {
        site.dispatch().await;
        while let Some(job) = site.next_job() {
            if job.kind == JobKind::Plan {
                site.perform(&job).await.unwrap();
            }
        }
    }
    site.ledger_sql("UPDATE reseal_batches SET next_ring_at = 0").await;
    (id, truth)
}

pub(crate) async fn limit(site: &Site, id: i64, limits: Limits) {
    let txn = site.engine.ledger.begin().await.unwrap();
    throttle::limit_if_open(&txn, id, "tester", |_| limits).await.unwrap();
    txn.commit().await.unwrap();
}

async fn in_state(site: &Site, state: BatchState) -> Vec<i64> {
    let found = batches::Entity::find().filter(batches::Column::State.eq(state));
    let mut ids: Vec<i64> = found.all(site.engine.ledger.db()).await.unwrap().iter().map(|b| b.id).collect();
    ids.sort_unstable();
    ids
}

fn rung(site: &Site) -> usize {
    std::iter::from_fn(|| site.next_job()).count()
}

async fn no_more_batches_are_rung_than_the_limit_and_more_when_it_is_raised(backend: DbBackend) {
    let (site, id) = planned(backend, 200).await; // twelve batches
    limit(&site, id, Limits { batches: Some(2), ..Limits::default() }).await;
    site.dispatch().await;
    assert_eq!(rung(&site), 2);
    site.dispatch().await;
    assert_eq!(rung(&site), 0, "they are outstanding");
    limit(&site, id, Limits { batches: Some(5), ..Limits::default() }).await;
    site.dispatch().await;
    assert_eq!(rung(&site), 3);
    limit(&site, id, Limits::default()).await;
    site.dispatch().await;
    assert_eq!(rung(&site), 7);
}

async fn no_more_lanes_are_taken_than_the_limit_and_a_refused_batch_is_rung_again(backend: DbBackend) {
    let (site, id) = planned(backend, 200).await;
    let db = site.engine.ledger.db();
    let all = in_state(&site, BatchState::Pending).await;
    limit(&site, id, Limits { lanes: Some(2), ..Limits::default() }).await;
    let first = claim::claim_if_due(db, all[0], "a").await.unwrap().unwrap();
    claim::claim_if_due(db, all[1], "b").await.unwrap().unwrap();
    site.ledger_sql("UPDATE reseal_batches SET rings = 1, next_ring_at = 9000000000000 WHERE state = 'pending'").await;
    assert!(claim::claim_if_due(db, all[2], "c").await.unwrap().is_none(), "both lanes are taken");
    assert_eq!(in_state(&site, BatchState::Leased).await, all[..2]);
    // its message is gone, so it no longer counts as rung
    let refused = batches::Entity::find_by_id(all[2]).one(db).await.unwrap().unwrap();
    assert_eq!((refused.state, refused.next_ring_at), (BatchState::Pending, 0));
    // and a lane that is free again takes it
    reseal_entities::ledger::report::release_if_held(db, &first.batch, 0, None).await.unwrap();
    assert!(claim::claim_if_due(db, all[2], "c").await.unwrap().is_some());
}

async fn a_holder_too_many_gives_its_batch_back(backend: DbBackend) {
    let (site, id) = planned(backend, 200).await;
    let db = site.engine.ledger.db();
    let all = in_state(&site, BatchState::Pending).await;
    for batch in &all[..3] {
        claim::claim_if_due(db, *batch, "elsewhere").await.unwrap().unwrap();
    }
    // a fourth is at work when three become the limit: its next checkpoint gives it back, not done
    let work = async {
        limit(&site, id, Limits { lanes: Some(4), rows_per_second: Some(1), ..Limits::default() }).await;
        throttle_now(&site).await;
        reencrypt::batch(&site.engine, all[3], &|| false).await.unwrap()
    };
    let lowered = async {
        reseal_tests::eventually(Duration::from_secs(20), "it is taken", async || {
            in_state(&site, BatchState::Leased).await.contains(&all[3]).then_some(())
        })
        .await;
        limit(&site, id, Limits { lanes: Some(3), rows_per_second: Some(1), ..Limits::default() }).await;
    };
    let (fate, ()) = tokio::join!(work, lowered);
    assert_eq!(fate, Fate::Released);
    assert_eq!(in_state(&site, BatchState::Leased).await, all[..3]);
}

/// A round of dispatch that publishes.
pub(crate) async fn throttle_now(site: &Site) {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    site.dispatch().await;
}

async fn rows_per_second_are_kept_and_lifting_the_limit_lets_it_finish(backend: DbBackend) {
    let (site, id) = planned(backend, 400).await;
    let db = site.engine.ledger.db();
    limit(&site, id, Limits { rows_per_second: Some(10), ..Limits::default() }).await;
    throttle_now(&site).await;
    assert_eq!(throttle::pace(db, id).await.unwrap(), Pace::RowsPerHour(36_000));
    let told = site.status(id).await;
    assert!(told.summary.contains("limited to 10 rows per second"), "{}", told.summary);
    assert!(!told.needs_attention);
    let began = Instant::now();
    let batch = in_state(&site, BatchState::Pending).await[0];
    assert_eq!(reencrypt::batch(&site.engine, batch, &|| false).await.unwrap(), Fate::Done);
    // the only thing that may be said of time: a limit is not exceeded
    let allowed = 10.0 * (began.elapsed().as_secs_f64() + 1.0);
    let done = site.status(id).await.reencrypted;
    assert!(done > 0 && done as f64 <= allowed, "{done} rows, {allowed} allowed");
    limit(&site, id, Limits::default()).await;
    throttle_now(&site).await;
    assert_eq!(throttle::pace(db, id).await.unwrap(), Pace::Unlimited);
    site.drive_to(id, RotationState::Completed).await;
}

async fn a_limit_is_in_the_audit_and_an_ended_rotation_takes_none(backend: DbBackend) {
    let (site, id) = planned(backend, 10).await;
    limit(&site, id, Limits { lanes: Some(7), ..Limits::default() }).await;
    let db = site.engine.ledger.db();
    let entries = reseal_entities::audit::Entity::find();
    let limited = entries.filter(reseal_entities::audit::Column::Action.eq("rotation.limited"));
    let entry = limited.clone().one(db).await.unwrap().unwrap();
    assert!(entry.before.contains("\"lanes\":null") && entry.after.contains("\"lanes\":7"), "{entry:?}");
    site.drive_to(id, RotationState::Completed).await;
    let txn = site.engine.ledger.begin().await.unwrap();
    let refused = throttle::limit_if_open(&txn, id, "tester", |now| now).await.unwrap_err();
    assert_eq!(refused.code(), "rotation_ended");
    txn.rollback().await.unwrap();
    assert_eq!(limited.count(db).await.unwrap(), 1);
}

on_every_database!(
    no_more_batches_are_rung_than_the_limit_and_more_when_it_is_raised,
    no_more_lanes_are_taken_than_the_limit_and_a_refused_batch_is_rung_again,
    a_holder_too_many_gives_its_batch_back,
    rows_per_second_are_kept_and_lifting_the_limit_lets_it_finish,
    a_limit_is_in_the_audit_and_an_ended_rotation_takes_none,
);
