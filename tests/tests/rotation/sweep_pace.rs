//! The sweep goes no faster than batches may: it meets what stale writers left, however much that is.

use crate::{
    limits::{limit, throttle_now},
    on_every_database,
    site::Site,
};
use reseal_entities::{app::messages, job::Job, ledger::throttle::Limits, state::RotationState};
use reseal_tests::eventually;
use sea_orm::{ColumnTrait, DbBackend, EntityTrait, QueryFilter};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);
const LEFT_BEHIND: i64 = 36;

/// A rotation that is about to prove, and cells under the old key that a stale writer left behind every batch.
async fn left_behind(backend: DbBackend) -> (Site, i64) {
    let site = Site::new(backend).await;
    site.seed(LEFT_BEHIND as u64 * 10 / 9).await;
    let stale = messages::Entity::find().filter(messages::Column::EncryptedContent.is_not_null());
    let stale = stale.all(&site.app).await.unwrap();
    assert_eq!(stale.len() as i64, LEFT_BEHIND);
    let id = site.request().await;
    site.drive_to(id, RotationState::Proving).await;
    for row in stale {
        site.set_message(row.id, row.encrypted_content).await.unwrap();
    }
    (site, id)
}

/// Dispatch, until it rings for the proof.
async fn rung_to_prove(site: &Site) -> Job {
    eventually(SOON, "the proof is rung for", async || {
        site.dispatch().await;
        site.next_job()
    })
    .await
}

async fn a_sweep_keeps_to_rows_per_second(backend: DbBackend) {
    let (site, id) = left_behind(backend).await;
    let before = site.status(id).await.reencrypted;
    limit(&site, id, Limits { rows_per_second: Some(10), ..Limits::default() }).await;
    throttle_now(&site).await;
    let (job, began) = (rung_to_prove(&site).await, Instant::now());
    site.perform(&job).await.unwrap();
    // the last chunk, a second's rows, is not waited for
    let allowed = 10.0 * (began.elapsed().as_secs_f64() + 1.0);
    let status = site.status(id).await;
    assert_eq!((status.state, status.reencrypted - before), (RotationState::Waiting, LEFT_BEHIND));
    assert!(LEFT_BEHIND as f64 <= allowed, "{LEFT_BEHIND} rows, {allowed} allowed");
}

async fn a_sweep_that_is_stopped_writes_nothing_and_goes_on_when_it_may(backend: DbBackend) {
    let (site, id) = left_behind(backend).await;
    let before = site.status(id).await.reencrypted;
    let job = rung_to_prove(&site).await;
    site.ledger_sql("UPDATE reseal_rotations SET pace_rows_per_hour = 0, pace_code = 'replica_lag'").await;
    let swept = async { tokio::time::timeout(SOON, site.perform(&job)).await.expect("it goes on").unwrap() };
    let meanwhile = async {
        eventually(SOON, "the step is held", async || site.rotation(id).await.step_lease_until.map(|_| ())).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let still = site.status(id).await;
        assert_eq!((still.state, still.reencrypted), (RotationState::Proving, before));
        site.ledger_sql("UPDATE reseal_rotations SET pace_rows_per_hour = NULL, pace_code = NULL").await;
    };
    tokio::join!(swept, meanwhile);
    let status = site.status(id).await;
    assert_eq!((status.state, status.reencrypted - before), (RotationState::Waiting, LEFT_BEHIND));
}

on_every_database!(a_sweep_keeps_to_rows_per_second, a_sweep_that_is_stopped_writes_nothing_and_goes_on_when_it_may,);
