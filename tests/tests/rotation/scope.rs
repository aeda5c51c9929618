//! What a proof must cover stands in the ledger, whatever the file of the worker says that proves or clears.

use crate::{
    on_every_database,
    site::{Site, Truth},
};
use reseal_config::{Config, SecretUrl, Source};
use reseal_engine::{Engine, check};
use reseal_entities::{
    job::{Job, JobKind},
    ledger::{prove, read::RotationStatus, scope, scope::Scope},
    state::RotationState,
};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend};
use std::{sync::Arc, time::Duration};

on_every_database! {
    a_worker_whose_file_lacks_a_source_leaves_proving_and_clearing_to_another,
    an_exclusion_counts_once_a_person_has_registered_it,
    a_source_that_is_registered_after_the_proof_sends_the_rotation_back,
    an_exclusion_that_is_registered_after_the_proof_sends_the_rotation_back,
    a_source_is_forgotten_when_nothing_names_it_and_no_proof_rests_on_it,
}

async fn engine(site: &Site, name: &str, adjust: impl FnOnce(&mut Config)) -> Arc<Engine> {
    let mut config = site.engine.config.clone();
    adjust(&mut config);
    Arc::new(Engine::open(config, site.engine.ledger.clone(), name.into()).await.unwrap())
}

/// A site whose second source holds a copy of a cell; its worker knows both sources. Also the first worker, whose file
/// lacks the second source.
async fn with_reports(backend: DbBackend) -> (Site, Truth, DatabaseConnection, Arc<Engine>) {
    let mut site = Site::new(backend).await;
    let truth = site.seed(30).await;
    let url = site.another_database("reports").await;
    let reports = Database::connect(&url).await.unwrap();
    let blob = if backend == DbBackend::Postgres { "bytea" } else { "blob" };
    reports.execute_unprepared(&format!("CREATE TABLE copies (body {blob})")).await.unwrap();
    let lacking = site.engine.clone();
    site.engine = engine(&site, "has-both", |config| {
        config.sources.push(Source { name: "reports".into(), url: SecretUrl::new(&url), ..config.sources[0].clone() });
    })
    .await;
    (site, truth, reports, lacking)
}

async fn copy_a_cell(site: &Site, into: &DatabaseConnection) {
    let cell = hex::encode(site.message(1).await);
    let cell =
        if into.get_database_backend() == DbBackend::Postgres { format!("'\\x{cell}'") } else { format!("x'{cell}'") };
    into.execute_unprepared(&format!("INSERT INTO copies VALUES ({cell})")).await.unwrap();
}

async fn now(site: &Site) -> Scope {
    scope::now(site.engine.ledger.db()).await.unwrap()
}

async fn covered(site: &Site, id: i64) -> Scope {
    Scope::of(&prove::current(site.engine.ledger.db(), id).await.unwrap()[0])
}

fn is_blocked(status: &RotationStatus) -> bool {
    status.code.as_deref() == Some("proof_blocked")
}

/// Lets every step that is left to another worker, or was, be due at once.
async fn due(site: &Site) {
    site.ledger_sql("UPDATE reseal_rotations SET step_due_at = 0, next_ring_at = 0").await;
}

async fn a_worker_whose_file_lacks_a_source_leaves_proving_and_clearing_to_another(backend: DbBackend) {
    let (mut site, truth, reports, lacking) = with_reports(backend).await;
    copy_a_cell(&site, &reports).await;
    let id = site.request().await;
    let status = site.drive(id, is_blocked).await;
    assert!(status.detail.unwrap().contains("copies.body is not registered"));
    let both = std::mem::replace(&mut site.engine, lacking.clone());
    due(&site).await;
    site.perform(&Job { kind: JobKind::Prove, id }).await.unwrap_err();
    let status = site.status(id).await;
    assert_eq!((status.state, status.code.as_deref()), (RotationState::Proving, Some("source_not_configured")));
    assert!(status.needs_attention && status.detail.unwrap().contains("source `reports`"));
    assert_eq!(
        site.ledger_count("SELECT CAST(step_failures AS bigint) FROM reseal_rotations").await,
        0,
        "it is no failure of the step"
    );
    // It clears nothing either.
    reports.execute_unprepared("DELETE FROM copies").await.unwrap();
    site.engine = both;
    site.ledger_sql("UPDATE reseal_rotations SET clear_after_ms = 3600000").await;
    due(&site).await;
    site.drive_to(id, RotationState::Waiting).await;
    assert_eq!(covered(&site, id).await.sources, ["app", "reports"].map(String::from).into());
    site.ledger_sql("UPDATE reseal_rotations SET waited_ms = clear_after_ms").await;
    let both = std::mem::replace(&mut site.engine, lacking);
    due(&site).await;
    site.perform(&Job { kind: JobKind::Clear, id }).await.unwrap_err();
    assert_eq!(site.status(id).await.code.as_deref(), Some("source_not_configured"));
    assert_eq!(site.ledger_count("SELECT count(*) FROM reseal_keys WHERE wrapped_dek IS NULL").await, 0);
    site.engine = both;
    due(&site).await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn an_exclusion_counts_once_a_person_has_registered_it(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    let truth = site.seed(30).await;
    let schema = if backend == DbBackend::Postgres { "public" } else { "main" };
    site.sql("CREATE TABLE copies AS SELECT encrypted_content AS body FROM messages").await;
    let pattern = format!("{schema}.copies.body");
    site.engine = engine(&site, "ignores", |config| config.sources[0].ignore_columns = vec![pattern.clone()]).await;
    let id = site.request().await;
    let status = site.drive(id, is_blocked).await;
    assert!(status.detail.unwrap().contains("`reseal check` registers exclusions"));
    assert!(now(&site).await.exclusions.is_empty(), "a worker registers none");
    assert_eq!(check::exclude(&site.engine, "ada").await.unwrap(), 1);
    assert_eq!(check::exclude(&site.engine, "ada").await.unwrap(), 0, "once");
    due(&site).await;
    // What leaves it out is the ledger, not the file.
    site.engine = engine(&site, "ignores-nothing", |config| config.sources[0].ignore_columns.clear()).await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(covered(&site, id).await.exclusions, [("app".to_owned(), pattern.clone())].into());
    assert_eq!(site.read_all().await, truth);
    let audited = "SELECT count(*) FROM reseal_audit WHERE action = 'scope.excluded' AND actor = 'ada'";
    assert_eq!(site.ledger_count(audited).await, 1);
    // Taken out, it is looked at again.
    let txn = site.engine.ledger.begin().await.unwrap();
    assert_eq!(scope::include(&txn, "ada", "app:else.where").await.unwrap_err().code(), "unknown_exclusion");
    scope::include(&txn, "ada", &format!("app:{pattern}")).await.unwrap();
    txn.commit().await.unwrap();
    site.sql("DELETE FROM copies; INSERT INTO copies SELECT encrypted_content FROM messages").await;
    let id = site.request().await;
    site.drive(id, is_blocked).await;
}

async fn waiting(site: &Site) -> i64 {
    let id = site.request().await;
    site.ledger_sql("UPDATE reseal_rotations SET clear_after_ms = 3600000").await;
    site.drive_to(id, RotationState::Waiting).await;
    id
}

/// The waiting time is over: the rotation goes back to proving, and then to its end.
async fn goes_back_and_completes(site: &Site, id: i64) {
    site.ledger_sql("UPDATE reseal_rotations SET waited_ms = clear_after_ms").await;
    due(site).await;
    let status = site.drive(id, |s| s.state == RotationState::Proving).await;
    assert!(status.detail.unwrap().contains("what a proof must cover changed"));
    assert_eq!(site.ledger_count("SELECT count(*) FROM reseal_keys WHERE wrapped_dek IS NULL").await, 0);
    site.ledger_sql("UPDATE reseal_rotations SET clear_after_ms = 0").await;
    due(site).await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(covered(site, id).await, now(site).await);
}

async fn a_source_that_is_registered_after_the_proof_sends_the_rotation_back(backend: DbBackend) {
    let (mut site, truth, reports, lacking) = with_reports(backend).await;
    let both = std::mem::replace(&mut site.engine, lacking);
    let id = waiting(&site).await;
    copy_a_cell(&site, &reports).await; // under the new key, which is no obstacle
    site.engine = both;
    check::check(&site.engine).await.unwrap();
    goes_back_and_completes(&site, id).await;
    assert_eq!(site.read_all().await, truth);
}

async fn an_exclusion_that_is_registered_after_the_proof_sends_the_rotation_back(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    let truth = site.seed(30).await;
    let id = waiting(&site).await;
    site.engine = engine(&site, "ignores", |config| config.sources[0].ignore_columns = vec!["a.b".into()]).await;
    check::exclude(&site.engine, "ada").await.unwrap();
    goes_back_and_completes(&site, id).await;
    assert_eq!(site.read_all().await, truth);
}

async fn a_source_is_forgotten_when_nothing_names_it_and_no_proof_rests_on_it(backend: DbBackend) {
    let (mut site, _, _, lacking) = with_reports(backend).await;
    let forget = async |site: &Site, name: &str| {
        let txn = site.engine.ledger.begin().await.unwrap();
        let forgotten = scope::forget_source(&txn, "ada", name).await;
        txn.commit().await.unwrap();
        forgotten.map_err(|e| e.code())
    };
    site.engine = engine(&site, "ignores", |config| config.sources[1].ignore_columns = vec!["a.b".into()]).await;
    let id = waiting(&site).await;
    check::exclude(&site.engine, "ada").await.unwrap();
    assert_eq!(forget(&site, "nowhere").await, Err("unknown_source"));
    assert_eq!(forget(&site, "app").await, Err("source_in_use"));
    assert_eq!(forget(&site, "reports").await, Err("catalog_in_use"));
    site.ledger_sql("UPDATE reseal_rotations SET clear_after_ms = 0").await;
    due(&site).await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(forget(&site, "reports").await, Ok(()));
    assert_eq!(now(&site).await, Scope { sources: ["app".to_owned()].into(), exclusions: [].into() });
    site.engine = lacking;
    let id = site.request().await;
    tokio::time::timeout(Duration::from_secs(60), site.drive_to(id, RotationState::Completed)).await.unwrap();
}
