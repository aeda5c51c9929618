//! Locks that others hold while a rotation needs them.

use crate::site::{Postgres, Site};
use reseal_entities::state::RotationState;
use reseal_tests::{Postgres as Server, eventually};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use std::{sync::Arc, time::Duration};

const SOON: Duration = Duration::from_secs(30);

/// An application inside a transaction that it does not end.
async fn holding(url: &str, statement: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(format!("{url}?application_name=payroll"));
    options.max_connections(1).sqlx_logging(false);
    let app = Database::connect(options).await.unwrap();
    app.execute_unprepared(&format!("BEGIN; {statement}")).await.unwrap();
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_read_for_long_is_not_queued_for_and_its_reader_is_named() {
    let server = Server::start();
    let url = server.create_database("app");
    let site = Site::over(Postgres, &url, |_| ()).await;
    let truth = site.seed(30).await;
    let id = site.request().await;
    let dump = holding(&url, "SELECT count(*) FROM messages").await;
    let old = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'payroll' AND xact_start < now() - interval '1 second'";
    eventually(SOON, "the dump has run for a second", async || (server.sql("app", old) == "1").then_some(())).await;
    let site = Arc::new(site);
    let at_work = tokio::spawn({
        let site = site.clone();
        async move { site.drive_to(id, RotationState::Completed).await }
    });
    let detail = eventually(SOON, "status names who is waited for", async || {
        site.status(id).await.detail.filter(|d| d.contains("waits for a lock"))
    })
    .await;
    assert!(detail.contains("messages") && detail.contains("payroll"), "{detail}");
    assert!(!server.log().contains("lock timeout"), "the table was queued for: {}", server.log());
    dump.execute_unprepared("ROLLBACK").await.unwrap();
    at_work.await.unwrap();
    assert_eq!(site.read_all().await, truth);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_an_application_holds_for_long_is_waited_for_by_name() {
    let site = Site::new(Postgres).await;
    let truth = site.seed(30).await;
    let id = site.request().await;
    let url = site.engine.config.sources[0].url.expose().to_owned();
    let app = holding(&url, "SELECT 1 FROM messages ORDER BY id LIMIT 1 FOR UPDATE").await;
    let named = "SELECT count(*) FROM reseal_batches WHERE code = 'source_lock_timeout' AND detail LIKE '%payroll%'";
    eventually(SOON, "the batch says who is waited for", async || {
        site.dispatch().await;
        while let Some(job) = site.next_job() {
            let _ = site.perform(&job).await;
        }
        (site.ledger_count(named).await > 0).then_some(())
    })
    .await;
    app.execute_unprepared("ROLLBACK").await.unwrap();
    site.ledger_sql("UPDATE reseal_batches SET due_at = 0, next_ring_at = 0").await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}
