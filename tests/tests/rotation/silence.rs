//! A PostgreSQL source whose host is gone without a word, or that is cut off at the worst moment.

use crate::site::{Postgres, Site};
use reseal_config::SecretUrl;
use reseal_engine::source::{self, CellColumn};
use reseal_entities::state::RotationState;
use reseal_keyring::{Encoding, Format, Layout};
use reseal_tests::{Postgres as Server, Proxy, eventually, shared_postgres};
use std::{sync::Arc, time::Duration};

const SOON: Duration = Duration::from_secs(30);

/// The engine reaches its source through a proxy and gives a silent server two seconds; the test does not.
async fn behind_a_proxy() -> (Site, Proxy, String) {
    let proxy = Proxy::before(shared_postgres().port());
    let port = proxy.port();
    let site = Site::with(Postgres, false, |config| {
        let source = &mut config.sources[0];
        source.silence_max = Duration::from_secs(2);
        let name = source.url.expose().rsplit('/').next().unwrap().to_owned();
        source.url = SecretUrl::new(format!("postgres://postgres@127.0.0.1:{port}/{name}"));
    })
    .await;
    let name = site.engine.config.sources[0].url.expose().rsplit('/').next().unwrap().to_owned();
    (site, proxy, name)
}

/// A dead host's sessions hold nothing on the one that takes its address.
fn end_sessions(database: &str) {
    shared_postgres().sql(
        "postgres",
        &format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}' AND application_name LIKE 'reseal%'"
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_source_vanishes_without_a_word_is_done_over_another_connection() {
    let (site, proxy, name) = behind_a_proxy().await;
    let truth = site.seed(60).await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Reencrypting).await;
    proxy.hold_after(b"UPDATE ");
    let site = Arc::new(site);
    let at_work = tokio::spawn({
        let site = site.clone();
        async move { site.drive_to(id, RotationState::Completed).await }
    });
    eventually(SOON, "a chunk is under way", async || proxy.holds().then_some(())).await;
    proxy.vanish();
    end_sessions(&name);
    at_work.await.unwrap();
    assert_eq!(site.read_all().await, truth);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_whose_source_vanishes_without_a_word_says_so_and_is_begun_again() {
    let (site, proxy, name) = behind_a_proxy().await;
    site.seed(30).await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Proving).await;
    proxy.hold_after(b"count(*)");
    let site = Arc::new(site);
    let at_work = tokio::spawn({
        let site = site.clone();
        async move { site.drive(id, |s| s.code.as_deref() == Some("source_silent")).await }
    });
    eventually(SOON, "a count is under way", async || proxy.holds().then_some(())).await;
    proxy.vanish();
    end_sessions(&name);
    let said = at_work.await.unwrap();
    assert!(said.detail.as_deref().unwrap().contains("nothing was heard from 127.0.0.1"), "{said:#?}");
    site.ledger_sql("UPDATE reseal_rotations SET step_due_at = 0, next_ring_at = 0").await;
    site.drive_to(id, RotationState::Completed).await;
}

/// A source whose table became a view after it was found: what is asked of it meets functions of the test.
async fn over_a_view(view: &str, silence_max: Duration) -> (Box<dyn source::Source>, source::Shape) {
    let site = Site::new(Postgres).await;
    let config = reseal_config::Source { silence_max, ..site.engine.config.sources[0].clone() };
    site.sql("CREATE TABLE notes (id text PRIMARY KEY, body bytea)").await;
    site.sql("INSERT INTO notes SELECT n::text, '\\x01' FROM generate_series(1, 8) n").await;
    let source = source::open(&config, "sqlite://nowhere").await.unwrap();
    let layout = Layout { format: Format::Tink, encoding: Encoding::Bytes };
    let wanted = [CellColumn::wanted("body", layout)];
    let shape = source.shape(Some("public"), "notes", &["id".to_owned()], &wanted).await.unwrap();
    site.sql("ALTER TABLE notes RENAME TO told").await;
    site.sql(&format!("CREATE VIEW notes AS {view}")).await;
    (source, shape)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_takes_longer_than_silence_may_last_comes_to_its_end() {
    let slow = "SELECT id, CASE WHEN pg_sleep(0.5) IS NOT NULL THEN body END AS body FROM told";
    let (source, shape) = over_a_view(slow, Duration::from_secs(1)).await;
    assert_eq!(source.longest(&shape, "body").await.unwrap(), 1, "four seconds of work");
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_over_whole_tables_are_not_under_the_everyday_limit() {
    let limit = "SELECT current_setting('statement_timeout') || '!' AS id, convert_to(current_setting('statement_timeout'), 'UTF8') AS body";
    let (source, shape) = over_a_view(limit, Duration::from_secs(60)).await;
    assert_eq!(source.longest(&shape, "body").await.unwrap(), "0".len());
    assert!(source.key_contains(&shape, "id", "0!").await.unwrap());
    assert!(!source.key_contains(&shape, "id", "s!").await.unwrap());
    let counted = source.census(&shape, "body", &[]).await.unwrap();
    assert_eq!(counted.len(), 1, "{counted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_dropped_while_its_transaction_begins_leaves_none_open() {
    let (site, proxy, name) = behind_a_proxy().await;
    site.seed(60).await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Reencrypting).await;
    proxy.hold_after(b"BEGIN");
    let site = Arc::new(site);
    let at_work = tokio::spawn({
        let site = site.clone();
        async move { site.drive_to(id, RotationState::Completed).await }
    });
    eventually(SOON, "a transaction begins", async || proxy.holds().then_some(())).await;
    at_work.abort();
    let _ = at_work.await;
    proxy.let_go();
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND application_name = 'reseal' AND state LIKE 'idle in%'"
    );
    eventually(SOON, "nothing is inside a transaction", async || {
        (shared_postgres().sql("postgres", &open) == "0").then_some(())
    })
    .await;
    site.ledger_sql("UPDATE reseal_batches SET lease_until = 0, next_ring_at = 0, due_at = 0 WHERE state <> 'done'")
        .await;
    site.ledger_sql("UPDATE reseal_ledger SET leader_until = 0").await;
    site.drive_to(id, RotationState::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_too_old_is_refused_when_it_is_opened() {
    let server = Server::start();
    let url = server.create_database("app");
    let version = server.sql("app", "SHOW server_version");
    let site = Site::over(Postgres, &url, |_| ()).await;
    let proxy = Proxy::before(server.port());
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    proxy.replace(&format!("server_version\0{major}"), "server_version\u{0}13");
    let mut config = site.engine.config.sources[0].clone();
    config.url = SecretUrl::new(format!("postgres://postgres@127.0.0.1:{}/app", proxy.port()));
    let refused = source::open(&config, "sqlite://nowhere").await.err().unwrap();
    assert_eq!(refused.code, "source_too_old", "{refused}");
    assert!(refused.message.contains("PostgreSQL 13"), "{refused}");
}
