//! A clock that is set while a rotation waits. Only PostgreSQL's can be: SQLite asks the machine's.

use crate::site::{Postgres, Site};
use reseal_entities::state::{KeyState, RotationState};
use reseal_tests::shared_postgres;
use std::time::Duration;

/// Stands in front of the server's own function of that name, for every new connection.
const CLOCK: &str = "CREATE TABLE clock (ahead interval NOT NULL);
    INSERT INTO clock VALUES ('0');
    CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
        AS 'SELECT pg_catalog.clock_timestamp() + ahead FROM public.clock';";

#[tokio::test(flavor = "multi_thread")]
async fn a_ledgers_clock_that_is_set_forward_does_not_shorten_the_waiting_time() {
    // given a rotation that waits an hour, in a ledger whose clock can be set
    let site = Site::with(Postgres, false, |config| {
        config.rotation.clear_after = Some(Duration::from_secs(3_600));
        let name = config.ledger.url.expose().rsplit_once('/').unwrap().1.to_owned();
        shared_postgres().sql(&name, CLOCK);
        shared_postgres().sql(&name, &format!("ALTER DATABASE \"{name}\" SET search_path = public, pg_catalog"));
    })
    .await;
    site.seed(10).await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Waiting).await;
    site.dispatch().await; // from here on time is observed
    let before = reseal_entities::ledger::now_ms(site.engine.ledger.db()).await.unwrap();
    // when it is set forward by twice that
    site.ledger_sql("UPDATE clock SET ahead = '2 hours'").await;
    let after = reseal_entities::ledger::now_ms(site.engine.ledger.db()).await.unwrap();
    assert!(after - before >= 7_200_000, "the clock was really set: {before} {after}");
    for _ in 0..5 {
        site.dispatch().await;
        while let Some(job) = site.next_job() {
            let _ = site.perform(&job).await;
        }
    }
    // then
    let status = site.status(id).await;
    assert_eq!((status.state, status.old_keys[0].state), (RotationState::Waiting, KeyState::Suspended));
    let observed = site.rotation(id).await;
    assert!(observed.waited_at.unwrap() >= after, "it was looked at since");
    assert!(observed.waited_ms < observed.clear_after_ms / 2, "{}", observed.waited_ms);
}
