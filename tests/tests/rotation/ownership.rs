//! Whose a source is stands in the source, and is compared over a fresh connection: copies of a source and of a ledger
//! are told from the original, and what was moved or restored waits for a person.

use crate::{
    on_every_database,
    site::{Site, Truth},
};
use reseal_config::{Config, SecretUrl};
use reseal_engine::{Engine, check, plan};
use reseal_entities::{
    ledger::{Ledger, sources},
    state::RotationState,
};
use reseal_tests::{Postgres as Server, Proxy};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DbBackend};
use std::path::PathBuf;

on_every_database! {
    a_source_that_was_restored_is_refused_until_a_person_accepts_it,
    a_copy_of_the_ledger_is_refused_at_the_source_of_the_first_one,
    a_ledger_that_was_restored_is_refused_until_a_person_accepts_it,
    another_ledger_is_refused_at_a_source_that_has_one,
    a_change_of_the_mark_that_was_cut_off_is_finished,
    a_source_at_another_address_is_refused_until_a_person_accepts_it,
}

async fn reopened(site: &mut Site, adjust: impl FnOnce(&mut Config)) {
    let mut config = site.engine.config.clone();
    adjust(&mut config);
    site.engine = Engine::open(config, site.engine.ledger.clone(), "reopened".into()).await.unwrap().into();
}

/// A rotation that waits for its clearing, whose time is over once [`is_over`] says so.
async fn waiting(site: &Site) -> (i64, Truth) {
    let truth = site.seed(30).await;
    plan::register(&site.engine).await.unwrap();
    let id = site.request().await;
    site.ledger_sql("UPDATE reseal_rotations SET clear_after_ms = 3600000").await;
    site.drive_to(id, RotationState::Waiting).await;
    (id, truth)
}

async fn is_over(site: &Site) {
    site.ledger_sql("UPDATE reseal_rotations SET waited_ms = clear_after_ms, step_due_at = 0, next_ring_at = 0").await;
}

/// The clearing is refused with this code, and no key is wiped; then a person accepts, and it completes.
async fn refused_until_accepted(site: &Site, id: i64, code: &str) {
    is_over(site).await;
    let status = site.drive(id, |s| s.code.as_deref() == Some(code)).await;
    assert!(status.needs_attention && status.detail.unwrap().contains("`reseal check --accept-source app`"));
    assert_eq!(site.ledger_count("SELECT count(*) FROM reseal_keys WHERE wrapped_dek IS NULL").await, 0);
    check::accept_source(&site.engine, "ada", "app").await.unwrap();
    is_over(site).await;
    site.ledger_sql("UPDATE reseal_rotations SET clear_after_ms = 0, waited_ms = 0").await;
    site.drive_to(id, RotationState::Completed).await;
    let audited = "SELECT count(*) FROM reseal_audit WHERE action = 'source.accepted' AND actor = 'ada'";
    assert_eq!(site.ledger_count(audited).await, 1);
}

/// The SQLite source's file.
fn file(site: &Site) -> PathBuf {
    site.dir.dir().join("app.sqlite")
}

/// What a backup of the source keeps of the mark, and what restoring that backup puts back.
enum Backup {
    File(PathBuf),
    Mark(String),
}

async fn back_up(site: &Site, backend: DbBackend) -> Backup {
    if backend == DbBackend::Postgres {
        let sql = "SELECT prosrc FROM pg_proc WHERE proname = 'reseal_owner'";
        let row = site.app.query_one_raw(sea_orm::Statement::from_string(backend, sql)).await.unwrap().unwrap();
        return Backup::Mark(row.try_get_by_index(0).unwrap());
    }
    let copy = site.dir.dir().join("backup.sqlite");
    site.sql(&format!("VACUUM INTO '{}'", copy.display())).await;
    Backup::File(copy)
}

/// The restored file takes the name of the one that applications and workers have open.
async fn restore(site: &mut Site, backup: Backup) {
    match backup {
        Backup::Mark(body) => {
            let function = "CREATE OR REPLACE FUNCTION public.reseal_owner() RETURNS text LANGUAGE sql AS $body$";
            site.sql(&format!("{function}{body}$body$")).await;
        }
        Backup::File(copy) => {
            std::fs::rename(copy, file(site)).unwrap();
            let mut options = ConnectOptions::new(format!("sqlite://{}", file(site).display()));
            options.max_connections(4).sqlx_logging(false);
            site.app = Database::connect(options).await.unwrap();
        }
    }
}

async fn a_source_that_was_restored_is_refused_until_a_person_accepts_it(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    let truth = site.seed(30).await;
    plan::register(&site.engine).await.unwrap();
    let backup = back_up(&site, backend).await;
    let id = site.request().await;
    site.ledger_sql("UPDATE reseal_rotations SET clear_after_ms = 3600000").await;
    site.drive_to(id, RotationState::Waiting).await;
    restore(&mut site, backup).await;
    refused_until_accepted(&site, id, "source_is_older").await;
    // On SQLite every row of the restored file was under the old key.
    assert_eq!(site.read_all().await, truth);
}

/// A second ledger with all that the first one has, elsewhere.
async fn copied(site: &Site, backend: DbBackend) -> String {
    let url = site.engine.config.ledger.url.expose().to_owned();
    if backend != DbBackend::Postgres {
        let copy = site.dir.dir().join("copy.sqlite");
        site.ledger_sql(&format!("VACUUM INTO '{}'", copy.display())).await;
        return format!("sqlite://{}", copy.display());
    }
    let (server, name) = url.rsplit_once('/').unwrap();
    loop {
        // A template must not be in use, and the ledger's pool connects again at once.
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        let _ = site.app.execute_unprepared(&end).await;
        if site.app.execute_unprepared(&format!("CREATE DATABASE {name}_copy TEMPLATE {name}")).await.is_ok() {
            return format!("{server}/{name}_copy");
        }
    }
}

async fn a_copy_of_the_ledger_is_refused_at_the_source_of_the_first_one(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    let truth = site.seed(30).await;
    site.rotate().await;
    let url = copied(&site, backend).await;
    let first = site.engine.clone();
    let mut config = first.config.clone();
    config.ledger.url = SecretUrl::new(&url);
    config.ledger.key_backup = site.dir.dir().join("other-keys");
    std::fs::create_dir(&config.ledger.key_backup).unwrap();
    site.engine = Engine::open(config, Ledger::connect(&url).await.unwrap(), "copy".into()).await.unwrap().into();
    let id = site.request().await;
    let status = site.drive(id, |s| s.code.is_some()).await;
    assert_eq!((status.state, status.code.as_deref()), (RotationState::Requested, Some("ledger_moved")));
    site.engine = first;
    assert_eq!(site.read_all().await, truth, "nothing was re-encrypted");
    site.rotate().await;
}

async fn a_ledger_that_was_restored_is_refused_until_a_person_accepts_it(backend: DbBackend) {
    let site = Site::new(backend).await;
    plan::register(&site.engine).await.unwrap();
    let known = sources::find(site.engine.ledger.db(), "app").await.unwrap().unwrap().nonce.unwrap();
    let (id, _) = waiting(&site).await;
    // What last night's backup of the ledger says of the source.
    site.ledger_sql(&format!("UPDATE reseal_sources SET nonce = '{known}', next_nonce = NULL")).await;
    refused_until_accepted(&site, id, "ledger_is_older").await;
}

async fn another_ledger_is_refused_at_a_source_that_has_one(backend: DbBackend) {
    let first = Site::new(backend).await;
    let truth = first.seed(30).await;
    first.rotate().await;
    let url = first.engine.config.sources[0].url.expose().to_owned();
    let second = Site::over(backend, &url, |_| ()).await;
    let id = second.request().await;
    let status = second.drive(id, |s| s.code.is_some()).await;
    assert_eq!((status.state, status.code.as_deref()), (RotationState::Requested, Some("source_owned")));
    assert!(sources::all(second.engine.ledger.db()).await.unwrap().is_empty(), "it is not registered");
    assert_eq!(first.read_all().await, truth);
    // A person gives the source to the second ledger; the first one is refused from then on.
    check::accept_source(&second.engine, "ada", "app").await.unwrap();
    plan::register(&second.engine).await.unwrap();
    let id = first.request().await;
    first.drive(id, |s| s.code.as_deref() == Some("source_owned")).await;
}

async fn a_change_of_the_mark_that_was_cut_off_is_finished(backend: DbBackend) {
    let site = Site::new(backend).await;
    let truth = site.seed(30).await;
    plan::register(&site.engine).await.unwrap();
    let db = site.engine.ledger.db();
    let before = sources::find(db, "app").await.unwrap().unwrap().nonce;
    // Dead after the first step: the ledger alone knows the next nonce.
    let next = sources::begin_change(db, "app").await.unwrap();
    assert_eq!(sources::begin_change(db, "app").await.unwrap(), next, "one change at a time");
    site.rotate().await;
    // Dead after the second: the source has it, and the ledger has not made it the present one.
    let known = sources::find(db, "app").await.unwrap().unwrap();
    assert!(known.next_nonce.is_none() && known.nonce != before && known.nonce != next);
    let now = known.nonce.unwrap();
    site.ledger_sql(&format!("UPDATE reseal_sources SET nonce = '{}', next_nonce = '{now}'", before.unwrap())).await;
    site.rotate().await;
    assert_eq!(site.read_all().await, truth);
}

async fn a_source_at_another_address_is_refused_until_a_person_accepts_it(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    let (id, truth) = waiting(&site).await;
    // A clone that was made since the mark was changed says what the original says, and is elsewhere.
    let nobody = if backend == DbBackend::Postgres { "127.0.0.1:1/app" } else { "/elsewhere/app.sqlite" };
    site.ledger_sql(&format!("UPDATE reseal_source_addresses SET address = '{nobody}'")).await;
    reopened(&mut site, |_| ()).await;
    refused_until_accepted(&site, id, "source_is_another").await;
    assert_eq!(site.read_all().await, truth);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_that_leads_to_the_same_database_is_seen_to_be_the_same() {
    let mut site = Site::new(DbBackend::Postgres).await;
    let truth = site.seed(30).await;
    plan::register(&site.engine).await.unwrap();
    let url = site.engine.config.sources[0].url.expose().replace("127.0.0.1", "localhost");
    reopened(&mut site, |config| config.sources[0].url = SecretUrl::new(&url)).await;
    site.rotate().await;
    assert_eq!(site.read_all().await, truth);
    assert_eq!(sources::addresses(site.engine.ledger.db(), "app").await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_physical_clone_behind_the_sources_address_is_refused_and_written_to_by_nobody() {
    let primary = Server::start();
    let url = primary.create_database("app");
    let proxy = Proxy::before(primary.port());
    let proxied = url.replace(&format!(":{}/", primary.port()), &format!(":{}/", proxy.port()));
    let mut site = Site::over(DbBackend::Postgres, &proxied, |_| ()).await;
    let truth = site.seed(60).await;
    plan::register(&site.engine).await.unwrap();
    let clone = primary.replica("clone");
    clone.sql("postgres", "SELECT pg_promote()");
    let cells = "SELECT string_agg(encode(encrypted_content, 'hex'), ' ' ORDER BY id) FROM messages";
    let before = clone.sql("app", cells);
    let id = site.request().await;
    site.drive(id, |s| s.rows_done > 0).await;

    // As after a failover to a server that had missed the plan: for a worker that still has connections to the source, and
    // for one that starts then.
    proxy.redirect(clone.port());
    let running = site.drive(id, |s| s.code.as_deref() == Some("source_is_older")).await;
    assert_eq!(running.state, RotationState::Reencrypting, "{running:#?}");
    site.ledger_sql("UPDATE reseal_rotations SET step_code = NULL, step_detail = NULL").await;
    site.end_pauses().await;
    reopened(&mut site, |_| ()).await;
    let status = site.drive(id, |s| s.code.as_deref() == Some("source_is_older")).await;
    assert_eq!(status.state, RotationState::Reencrypting, "{status:#?}");

    // The same worker still has connections to the clone when the address leads to the source again.
    proxy.redirect(primary.port());
    site.end_pauses().await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(clone.sql("app", cells), before, "the clone was written to");
    assert_eq!(site.read_all().await, truth);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_takes_the_sources_name_while_rows_are_written_is_rotated_whole() {
    let mut site = Site::new(DbBackend::Sqlite).await;
    let truth = site.seed(60).await;
    let id = site.request().await;
    site.drive(id, |s| s.rows_done > 0).await;
    // Compacted in the middle of the rotation: the same mark, in another file.
    let Backup::File(copy) = back_up(&site, DbBackend::Sqlite).await else { panic!("a file") };
    restore(&mut site, Backup::File(copy)).await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_ledgers_file_was_replaced_writes_nothing_more() {
    let site = Site::new(DbBackend::Sqlite).await;
    site.seed(30).await;
    let (ledger, copy) = (site.dir.dir().join("ledger.sqlite"), site.dir.dir().join("copy.sqlite"));
    site.ledger_sql(&format!("VACUUM INTO '{}'", copy.display())).await;
    std::fs::rename(copy, ledger).unwrap();
    assert!(site.engine.ledger.begin().await.is_err());
    assert_eq!(site.engine.ledger.refuse_replaced().unwrap_err().code(), "ledger_replaced");
    assert_eq!(plan::plan(&site.engine, 1, &|| false).await.unwrap_err().code(), "ledger_replaced");
}
