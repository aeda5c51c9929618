//! A rotation stands still while a replica is behind, says so, and goes on.

use crate::site::{Postgres, Site};
use reseal_config::ReplicaLagMax;
use reseal_entities::{ledger::read::RotationStatus, state::RotationState};
use reseal_tests::{Postgres as Server, eventually};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// A primary with a replica that streams, and the reference tables in it.
fn primary_and_replica() -> (Server, Server, String) {
    let primary = Server::start();
    let url = primary.create_database("app");
    let replica = primary.replica("standby1");
    reseal_tests::wait_until(SOON, "it streams", || {
        (primary.sql("postgres", "select state from pg_stat_replication") == "streaming").then_some(())
    });
    (primary, replica, url)
}

async fn on_a_primary(url: &str, max: ReplicaLagMax) -> Site {
    Site::over(Postgres, url, |config| config.sources[0].replica_lag_max = max).await
}

/// Something is written, so that there is something to be behind with.
async fn write(site: &Site) {
    site.sql("CREATE TABLE IF NOT EXISTS noise (n int); INSERT INTO noise VALUES (1)").await;
}

async fn full_speed(site: &Site, id: i64) {
    eventually(SOON, "full speed", async || {
        site.dispatch().await;
        site.status(id).await.throttle.is_none().then_some(())
    })
    .await;
}

fn stopped(status: &RotationStatus) -> bool {
    status.throttle.as_ref().is_some_and(|t| t.stopped && t.code == "replica_lag")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_stands_still_while_a_replica_lags_and_then_goes_on() {
    let (_primary, replica, url) = primary_and_replica();
    let site = on_a_primary(&url, ReplicaLagMax::At(Duration::from_millis(500))).await;
    site.seed(200).await;
    let id = site.request().await;
    // given: planned, and a replica that no longer replays
    site.drive(id, |s| s.batches.values().sum::<i64>() >= 12).await;
    replica.sql("postgres", "select pg_wal_replay_pause()");
    // when its lag grows
    let status = eventually(SOON, "it stands still", async || {
        write(&site).await;
        site.dispatch().await;
        let status = site.status(id).await;
        stopped(&status).then_some(status)
    })
    .await;
    // then it says why, and that is nothing for a person to do
    assert_eq!(status.state, RotationState::Reencrypting);
    assert!(status.summary.contains("% done, throttled: replica lag "), "{}", status.summary);
    assert!(status.summary.contains("(standby1)"), "{}", status.summary);
    assert!(!status.needs_attention);
    // and nothing is rung nor re-encrypted, not even by a batch that is in hand
    while site.next_job().is_some() {}
    site.ledger_sql("UPDATE reseal_batches SET next_ring_at = 0").await;
    let done = site.status(id).await.reencrypted;
    let batch = site.count_in_ledger("SELECT min(id) FROM reseal_batches WHERE state = 'pending'").await;
    let in_hand = reseal_engine::reencrypt::batch(&site.engine, batch, &|| false);
    let meanwhile = async {
        for _ in 0..3 {
            write(&site).await;
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            assert!(!site.dispatch().await, "nothing is rung for");
        }
        let still = site.status(id).await;
        assert!(stopped(&still), "{still:?}");
        assert_eq!((still.reencrypted, still.batches.get("leased")), (done, Some(&1)));
        assert!(still.throttled_ms > 0, "the time is counted");
        // when the replica goes on
        replica.sql("postgres", "select pg_wal_replay_resume()");
        full_speed(&site, id).await;
    };
    let (fate, ()) = tokio::join!(in_hand, meanwhile);
    // then the batch in hand goes on, too, with the lease that it kept
    assert_eq!(fate.unwrap(), reseal_engine::reencrypt::Fate::Done);
    let end = site.drive_to(id, RotationState::Completed).await;
    assert!(end.throttle.is_none() && end.throttled_ms > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn off_means_that_no_replica_is_waited_for() {
    let (_primary, replica, url) = primary_and_replica();
    let site = on_a_primary(&url, ReplicaLagMax::Off).await;
    site.seed(50).await;
    replica.sql("postgres", "select pg_wal_replay_pause()");
    write(&site).await;
    let id = site.request().await;
    // Until the clearing, which no setting lets pass a replica that is behind.
    let status = site.drive_to(id, RotationState::Waiting).await;
    assert_eq!(status.throttled_ms, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lag_that_the_role_may_not_see_stops_only_whoever_wrote_a_limit_down() {
    let (primary, _replica, url) = primary_and_replica();
    primary.sql(
        "app",
        "create role blind login; grant all on schema public to blind; grant create on database app to blind",
    );
    let blind = url.replace("postgres@", "blind@");
    primary.sql("app", "grant execute on function pg_control_system() to blind");
    let relied_on = ReplicaLagMax::At(Duration::from_secs(3_600));
    for (max, stops) in [(relied_on, true), (ReplicaLagMax::Default, false)] {
        let site = on_a_primary(&blind, max).await;
        site.seed(200).await;
        let id = site.request().await;
        site.drive(id, |s| s.batches.values().sum::<i64>() >= 12).await;
        if stops {
            let status = eventually(SOON, "it stands still", async || {
                site.dispatch().await;
                let status = site.status(id).await;
                status.throttle.is_some().then_some(status)
            })
            .await;
            let throttle = status.throttle.unwrap();
            assert_eq!((throttle.code.as_str(), throttle.stopped), ("replica_lag_unseen", true));
            assert!(throttle.reason.contains("GRANT pg_monitor"), "{}", throttle.reason);
            primary.sql("app", "grant pg_monitor to blind");
            full_speed(&site, id).await;
            site.drive_to(id, RotationState::Completed).await;
            primary.sql("app", "revoke pg_monitor from blind; drop table messages, sync_queue, user_profiles, reseal_reference_migrations; drop function reseal_owner()");
        } else {
            // Until the clearing, which waits for a replica that the role may not see.
            site.drive_to(id, RotationState::Waiting).await;
        }
    }
}
