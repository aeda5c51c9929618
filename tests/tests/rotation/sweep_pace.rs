//! The sweep goes no faster than batches may: it meets what stale writers left, however much that is.

use crate::{
    limits::{limit, throttle_now},
    on_every_database,
    site::Site,
};
use reseal_entities::{app::messages, job::Job, ledger::throttle::Limits, state::RotationState};
use reseal_tests::eventually;
use sea_orm::{ActiveValue::Set, ColumnTrait, DbBackend, EntityTrait, QueryFilter};
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

/// A stale writer that inserts faster than the limit lets the sweep go.
async fn the_sweep_before_the_fence_ends_with_the_writers_time_however_much_stale_writers_insert(backend: DbBackend) {
    let site = Site::with(backend, false, |config| config.rotation.writer_ttl = Duration::from_secs(4)).await;
    site.seed(20).await;
    let stale = site.engine.keyring.keyset("default").await.unwrap();
    let id = site.request().await;
    site.drive_to(id, RotationState::Proving).await;
    limit(&site, id, Limits { rows_per_second: Some(5), ..Limits::default() }).await;
    let inserted = std::sync::atomic::AtomicI64::new(0);
    let insert = async {
        // until the fence refuses it
        for n in 1_000_000_i64.. {
            let cell = stale.encrypt(b"stale", format!("messages.encrypted_content:{n}").as_bytes());
            let row = messages::ActiveModel { id: Set(n), encrypted_content: Set(Some(cell)), created_at: Set(0) };
            let row = messages::Entity::insert(row).exec_without_returning(&site.app);
            if row.await.is_err() {
                return;
            }
            inserted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let prove = async {
        loop {
            let job = rung_to_prove(&site).await;
            let _ = site.perform(&job).await;
        }
    };
    let fenced = tokio::select! {
        fenced = tokio::time::timeout(SOON, insert) => fenced,
        () = prove => unreachable!("it proves until the other ends"),
    };
    fenced.expect("the fence stands, although the sweep has not met all that was inserted");
    assert!(inserted.into_inner() > 20);
    limit(&site, id, Limits::default()).await;
    site.drive_to(id, RotationState::Completed).await;
}

on_every_database!(
    a_sweep_keeps_to_rows_per_second,
    a_sweep_that_is_stopped_writes_nothing_and_goes_on_when_it_may,
    the_sweep_before_the_fence_ends_with_the_writers_time_however_much_stale_writers_insert,
);
