//! What is waited for before a proof is recorded and before a key is destroyed, and in which order.

use crate::{
    on_every_database,
    site::{Postgres, Site},
};
use reseal_config::{OpenedCells, ReplicaLagMax};
use reseal_entities::{
    audit,
    exemptions::Kind,
    ledger::{exclude, read::RotationStatus, writers},
    proofs,
    state::RotationState,
};
use reseal_tests::{Postgres as Server, eventually};
use sea_orm::{
    ColumnTrait, ConnectionTrait, Database, DbBackend, EntityTrait, QueryFilter, Statement, TransactionTrait,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const SOON: Duration = Duration::from_secs(60);

on_every_database! {
    a_reader_from_before_the_count_is_waited_for_and_named,
    an_application_that_lags_holds_the_proof_until_it_has_moved,
    an_application_that_lags_is_excluded_by_an_operator_and_that_is_audited,
    a_writer_that_refreshes_seldom_has_its_own_time_and_is_a_problem_beforehand,
    a_blocked_proof_is_not_counted_again_until_something_changes,
    a_blocked_proof_is_counted_again_at_once_when_a_person_resumes_it,
    a_cell_that_says_it_is_new_and_does_not_open_blocks_the_proof,
    a_proof_says_how_many_cells_it_opened,
    a_sample_is_taken_at_both_ends_and_between,
}

fn waits(code: &str) -> impl Fn(&RotationStatus) -> bool {
    move |s| s.code.as_deref() == Some(code)
}

fn told(status: &RotationStatus) -> &str {
    status.detail.as_deref().unwrap_or_default()
}

/// A table that nobody registered, with a copy of a cell under the active key.
async fn keep_a_copy(site: &Site) {
    let bytes = if site.app.get_database_backend() == Postgres { "bytea" } else { "blob" };
    site.sql(&format!("CREATE TABLE archive (id int PRIMARY KEY, cell {bytes})")).await;
    site.sql("INSERT INTO archive SELECT 1, encrypted_content FROM messages WHERE id = 1").await;
}

async fn due(site: &Site) {
    site.ledger_sql("UPDATE reseal_rotations SET step_due_at = 0, next_ring_at = 0").await;
}

async fn a_reader_from_before_the_count_is_waited_for_and_named(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(30).await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Waiting).await;
    let reader = site.app.begin().await.unwrap();
    let sql = "SELECT count(*) FROM messages";
    reader.query_one_raw(Statement::from_string(backend, sql)).await.unwrap();
    let status = site.drive(id, waits("older_transactions")).await;
    assert_eq!(status.state, RotationState::Clearing, "{status:#?}");
    assert!(told(&status).contains("source `app`") && told(&status).contains("transaction"), "{status:#?}");
    assert!(status.summary.contains("older than the count"), "{}", status.summary);
    reader.rollback().await.unwrap();
    site.drive_to(id, RotationState::Completed).await;
}

async fn an_application_that_lags_holds_the_proof_until_it_has_moved(backend: DbBackend) {
    let site = Site::new(backend).await;
    let truth = site.seed(30).await;
    let old = site.ledger_count("SELECT key_id FROM reseal_keys").await;
    writers::beat(site.engine.ledger.db(), "app-1", "default", old, 1).await.unwrap();
    let id = site.request().await;
    let status = site.drive(id, waits("writers_lag")).await;
    assert_eq!(status.state, RotationState::Proving);
    assert!(told(&status).contains("app-1"), "{status:#?}");
    assert!(status.gate.iter().any(|c| !c.met && c.detail.contains("app-1")), "{:#?}", status.gate);
    writers::beat(site.engine.ledger.db(), "app-1", "default", site.rotation(id).await.to_key_id.unwrap(), 1)
        .await
        .unwrap();
    site.drive_to(id, RotationState::Waiting).await;
    // one that comes with the old key afterwards holds the clearing, too
    writers::beat(site.engine.ledger.db(), "app-2", "default", old, 1).await.unwrap();
    let status = site.drive(id, waits("writers_lag")).await;
    assert_eq!(status.state, RotationState::Waiting, "no intent is committed meanwhile");
    writers::leave(site.engine.ledger.db(), "app-2").await.unwrap();
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn an_application_that_lags_is_excluded_by_an_operator_and_that_is_audited(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(30).await;
    let old = site.ledger_count("SELECT key_id FROM reseal_keys").await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Proving).await;
    writers::beat(site.engine.ledger.db(), "app-1", "default", old, 1).await.unwrap();
    site.drive(id, waits("writers_lag")).await;
    exclude_it(&site, id, (Kind::Writer, "app-1")).await;
    writers::beat(site.engine.ledger.db(), "app-1", "default", old, 1).await.unwrap();
    site.drive_to(id, RotationState::Completed).await;
    let entry = audit::Entity::find().filter(audit::Column::Action.eq("clearing.excluded"));
    let entry = entry.one(site.engine.ledger.db()).await.unwrap().expect("an entry of the audit");
    assert!(format!("{entry:?}").contains("app-1") && format!("{entry:?}").contains("it was shut down"), "{entry:?}");
}

async fn exclude_it(site: &Site, id: i64, what: (Kind, &str)) {
    let txn = site.engine.ledger.begin().await.unwrap();
    assert!(exclude::exclude(&txn, "ada", id, what, "it was shut down").await.unwrap());
    txn.commit().await.unwrap();
}

async fn a_writer_that_refreshes_seldom_has_its_own_time_and_is_a_problem_beforehand(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(30).await;
    writers::beat(site.engine.ledger.db(), "app-1", "default", 1, 1).await.unwrap();
    site.ledger_sql("UPDATE reseal_writers SET refresh_ms = 3600000").await;
    let dry = reseal_engine::dry_run::dry_run(&site.engine, "default", None).await.unwrap();
    assert!(dry.problems.iter().any(|p| p.contains("app-1 refreshes")), "{:?}", dry.problems);
    let found = reseal_engine::check::check(&site.engine).await.unwrap();
    assert!(!found.can_rotate(), "{found:#?}");
    // and a rotation waits for it all the same
    let id = site.request().await;
    let status = site.drive(id, waits("writer_ttl")).await;
    assert!(told(&status).contains("for another 3"), "{status:#?}");
    writers::leave(site.engine.ledger.db(), "app-1").await.unwrap();
    due(&site).await;
    site.drive_to(id, RotationState::Completed).await;
}

/// What the step remembers of the proof that was blocked.
async fn blocked(site: &Site, id: i64) -> serde_json::Value {
    let memo = site.rotation(id).await.step_memo.expect("the step remembers the block");
    serde_json::from_str::<serde_json::Value>(&memo).unwrap()["blocked"].clone()
}

async fn a_blocked_proof_is_not_counted_again_until_something_changes(backend: DbBackend) {
    let site = Site::new(backend).await;
    let truth = site.seed(30).await;
    keep_a_copy(&site).await;
    let id = site.request().await;
    let status = site.drive(id, waits("proof_blocked")).await;
    assert!(told(&status).contains("archive") && told(&status).contains("counted again once"), "{status:#?}");
    assert!(status.needs_attention);
    let first = blocked(&site, id).await;
    for _ in 0..5 {
        due(&site).await;
        let epoch = site.rotation(id).await.step_epoch;
        eventually(SOON, "another look", async || {
            site.dispatch().await;
            if let Some(job) = site.next_job() {
                let _ = site.perform(&job).await;
            }
            (site.rotation(id).await.step_epoch > epoch).then_some(())
        })
        .await;
        assert_eq!(blocked(&site, id).await, first, "nothing was counted");
        assert!(site.status(id).await.needs_attention, "a look does not hide it");
    }
    site.sql("DELETE FROM archive").await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn a_blocked_proof_is_counted_again_at_once_when_a_person_resumes_it(backend: DbBackend) {
    use reseal_entities::ledger::steps;
    let site = Site::new(backend).await;
    site.seed(30).await;
    keep_a_copy(&site).await;
    let id = site.request().await;
    site.drive(id, waits("proof_blocked")).await;
    let first = blocked(&site, id).await;
    let txn = site.engine.ledger.begin().await.unwrap();
    steps::pause(&txn, id, "ada", None).await.unwrap();
    steps::resume(&txn, id, "ada").await.unwrap();
    txn.commit().await.unwrap();
    site.drive(id, |_| true).await;
    let at = |blocked: &serde_json::Value| blocked["at"].as_i64();
    eventually(SOON, "another count", async || {
        site.dispatch().await;
        if let Some(job) = site.next_job() {
            let _ = site.perform(&job).await;
        }
        let memo = site.rotation(id).await.step_memo?;
        let now = serde_json::from_str::<serde_json::Value>(&memo).unwrap()["blocked"].clone();
        (at(&now) > at(&first)).then_some(())
    })
    .await;
}

async fn a_cell_that_says_it_is_new_and_does_not_open_blocks_the_proof(backend: DbBackend) {
    let site = Site::new(backend).await;
    let truth = site.seed(30).await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Proving).await;
    let good = site.message(1).await;
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    site.set_message(1, Some(bad)).await.unwrap();
    let status = site.drive(id, waits("proof_blocked")).await;
    assert!(told(&status).contains("messages.encrypted_content of row 1 "), "{status:#?}");
    site.set_message(1, Some(good)).await.unwrap();
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn opened(site: &Site, id: i64) -> Vec<(i64, i64)> {
    let current = proofs::Entity::find().filter(proofs::Column::RotationId.eq(id));
    let current = current.filter(proofs::Column::VoidedAt.is_null()).all(site.engine.ledger.db()).await.unwrap();
    current.iter().map(|p| (p.cells, p.opened)).collect()
}

async fn a_proof_says_how_many_cells_it_opened(backend: DbBackend) {
    let site = Site::with(backend, false, |c| c.rotation.opened_cells = OpenedCells::All).await;
    site.seed(130).await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(opened(&site, id).await, [(117, 117); 3]);
}

async fn a_sample_is_taken_at_both_ends_and_between(backend: DbBackend) {
    let site = Site::with(backend, false, |c| c.rotation.opened_cells = OpenedCells::Sample(20)).await;
    site.seed(300).await;
    let id = site.request().await;
    let status = site.drive_to(id, RotationState::Completed).await;
    for (cells, opened) in opened(&site, id).await {
        assert_eq!(cells, 270);
        assert!((10..=40).contains(&opened), "{opened}");
    }
    assert!(status.gate.iter().any(|c| c.met && c.detail.contains("opened")), "{:#?}", status.gate);
}

/// A server of its own, whose settings are nobody else's.
async fn on_a_server(settings: &[&str]) -> (Server, Site, String) {
    let server = Server::start();
    for setting in settings {
        server.sql("postgres", &format!("ALTER SYSTEM SET {setting}"));
    }
    server.restart();
    let url = server.create_database("app");
    let site = Site::over(Postgres, &url, |c| c.sources[0].replica_lag_max = ReplicaLagMax::Off).await;
    (server, site, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_in_a_transaction_that_is_still_open_are_waited_for_and_then_found() {
    let (server, site, _) = on_a_server(&["max_prepared_transactions = 5"]).await;
    site.seed(30).await;
    site.sql("CREATE TABLE archive (id int PRIMARY KEY, cell bytea)").await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Reencrypting).await;
    // read elsewhere before, as a job does that has two connections: it holds no lock on the table
    let cell = hex::encode(site.message(1).await);
    let copy = |n: i32| format!("INSERT INTO archive VALUES ({n}, '\\x{cell}')");
    let job = site.app.begin().await.unwrap();
    job.execute_unprepared(&copy(1)).await.unwrap();
    server.sql("app", &format!("BEGIN; {}; PREPARE TRANSACTION 'two phases'", copy(2)));
    let status = site.drive(id, waits("older_transactions")).await;
    assert_eq!(status.state, RotationState::Proving);
    assert!(told(&status).contains("two phases") && told(&status).contains("transaction of process"), "{status:#?}");
    job.rollback().await.unwrap();
    due(&site).await;
    let status = site.drive(id, |s| waits("older_transactions")(s) && !told(s).contains("of process")).await;
    assert!(told(&status).contains("two phases"), "{status:#?}");
    server.sql("app", "COMMIT PREPARED 'two phases'");
    let status = site.drive(id, waits("proof_blocked")).await;
    assert!(told(&status).contains("archive"), "{status:#?}");
    site.sql("TRUNCATE archive").await;
    site.drive_to(id, RotationState::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_count_saw_survives_a_crash_of_a_server_that_commits_asynchronously() {
    let (server, site, url) = on_a_server(&["wal_writer_delay = '10s'", "bgwriter_lru_maxpages = 0"]).await;
    site.seed(30).await;
    keep_a_copy(&site).await;
    let id = site.request().await;
    site.drive(id, waits("proof_blocked")).await;
    // given an application whose commit is not on disk when the count sees it
    site.sql("SET synchronous_commit = off; DELETE FROM archive").await;
    site.drive_to(id, RotationState::Completed).await;
    server.kill_immediate();
    server.restart();
    let after = Database::connect(&url).await.unwrap();
    let sql = "SELECT count(*) FROM archive";
    let row = after.query_one_raw(Statement::from_string(Postgres, sql)).await.unwrap().unwrap();
    assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), 0, "the copy under the destroyed key came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_has_not_replayed_the_count_holds_the_clearing_by_name_until_it_is_excluded() {
    let (server, site, _) = on_a_server(&[]).await;
    let standby = server.replica("standby1");
    reseal_tests::wait_until(SOON, "it streams", || {
        (server.sql("postgres", "select state from pg_stat_replication") == "streaming").then_some(())
    });
    let truth = site.seed(30).await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Waiting).await;
    standby.sql("postgres", "select pg_wal_replay_pause()");
    site.sql("CREATE TABLE noise (n int)").await; // something to be behind with
    let name = |s: &RotationStatus| told(s).split('`').find(|part| part.starts_with("app:standby1")).map(str::to_owned);
    let status = site.drive(id, waits("replica_behind")).await;
    assert_eq!(status.state, RotationState::Clearing);
    let name = name(&status).unwrap_or_else(|| panic!("no name: {status:#?}"));
    assert_eq!(site.status(id).await.old_key_state.unwrap().to_string(), "suspended");
    // when it catches up, the clearing goes on with what was counted then
    standby.sql("postgres", "select pg_wal_replay_resume()");
    site.drive_to(id, RotationState::Completed).await;

    // and at the next rotation an operator says that it never will
    let id = site.request().await;
    site.drive_to(id, RotationState::Waiting).await;
    standby.sql("postgres", "select pg_wal_replay_pause()");
    site.sql("INSERT INTO noise VALUES (1)").await;
    site.drive(id, waits("replica_behind")).await;
    exclude_it(&site, id, (Kind::Replica, &name)).await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_without_its_standby_and_a_standby_that_the_role_may_not_see_hold_the_clearing() {
    let (server, mut site, url) = on_a_server(&[]).await;
    site.seed(30).await;
    server.sql("app", "SELECT pg_create_physical_replication_slot('away', true)");
    let id = site.request().await;
    let status = site.drive(id, waits("replica_behind")).await;
    assert!(told(&status).contains("`app:away`"), "{status:#?}");
    server.sql("app", "SELECT pg_drop_replication_slot('away')");
    due(&site).await;
    site.drive_to(id, RotationState::Completed).await;

    // a role without pg_monitor
    let _standby = server.replica("standby1");
    reseal_tests::wait_until(SOON, "it streams", || {
        (server.sql("postgres", "select state from pg_stat_replication") == "streaming").then_some(())
    });
    server.sql(
        "app",
        "CREATE ROLE plain LOGIN; GRANT ALL ON SCHEMA public TO plain; \
         ALTER TABLE messages OWNER TO plain; ALTER TABLE sync_queue OWNER TO plain; ALTER TABLE user_profiles OWNER TO plain; \
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO plain",
    );
    let (before, after) = url.split_once('@').unwrap();
    let (scheme, _) = before.split_once("://").unwrap();
    let plain = format!("{scheme}://plain@{after}");
    let mut config = site.engine.config.clone();
    config.sources[0].ddl_url = Some(reseal_config::SecretUrl::new(&url));
    config.sources[0].url = reseal_config::SecretUrl::new(&plain);
    let other = reseal_engine::Engine::open(config, site.engine.ledger.clone(), "worker-2".into()).await.unwrap();
    site.engine = Arc::new(other);
    let id = site.request().await;
    let status = site.drive(id, waits("replica_behind")).await;
    assert!(told(&status).contains("app:standby1") && told(&status).contains("pg_monitor"), "{status:#?}");
    let name = told(&status).split('`').find(|part| part.starts_with("app:standby1")).unwrap().to_owned();
    exclude_it(&site, id, (Kind::Replica, &name)).await;
    site.drive_to(id, RotationState::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_alters_a_table_waits_for_the_count_before_a_clearing() {
    let site = Site::new(Postgres).await;
    site.seed(30).await;
    site.sql(
        "CREATE TABLE archive AS SELECT g AS id, repeat(md5(g::text), 20) AS text FROM generate_series(1, 100000) g",
    )
    .await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Waiting).await;
    let (over, watch) = (Arc::new(AtomicBool::new(false)), site.app.clone());
    let ended = over.clone();
    let watching = tokio::spawn(async move {
        let sql = "SELECT count(*) FILTER (WHERE a.query LIKE '%archive%' AND a.state = 'active'),
                          count(l.pid) FILTER (WHERE a.query LIKE '%archive%' AND a.state = 'active')
                   FROM pg_stat_activity a LEFT JOIN pg_locks l ON l.pid = a.pid AND l.relation = 'messages'::regclass
                     AND l.mode = 'RowExclusiveLock'
                   WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()";
        let (mut counting, mut held) = (0, 0);
        while !ended.load(Ordering::Relaxed) {
            let row = watch.query_one_raw(Statement::from_string(Postgres, sql)).await.unwrap().unwrap();
            counting += row.try_get_by_index::<i64>(0).unwrap();
            held += row.try_get_by_index::<i64>(1).unwrap();
        }
        (counting, held)
    });
    site.drive_to(id, RotationState::Completed).await;
    over.store(true, Ordering::Relaxed);
    let (counting, held) = watching.await.unwrap();
    assert!(counting > 0, "the count was seen");
    assert_eq!(held, 0, "the table was held while another one was counted");
}
