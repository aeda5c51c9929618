//! Columns and tables that are renamed or dropped under a rotation: taking them out of the catalog lets it end, in each state.

use crate::{
    on_every_database,
    site::{Site, Truth, column, table},
};
use reseal_engine::Engine;
use reseal_entities::{
    audit, batches, catalog as rows,
    job::JobKind,
    ledger::catalog,
    quarantine,
    state::{BatchState, KeyState, RotationState},
};
use sea_orm::{ColumnTrait, DbBackend, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};

async fn forget(site: &Site, name: &str) -> Vec<i64> {
    let txn = site.engine.ledger.begin().await.unwrap();
    let column = catalog::named(&txn, name).await.unwrap();
    let unproved = catalog::forget(&txn, "tester", &column).await.unwrap();
    txn.commit().await.unwrap();
    unproved
}

/// Another worker, whose configuration no longer names the table.
async fn without(site: &mut Site, name: &str) {
    let mut config = site.engine.config.clone();
    config.tables.retain(|t| t.name != name);
    site.engine = Engine::open(config, site.engine.ledger.clone(), "worker-2".into()).await.unwrap().into();
}

fn but_for(truth: Truth, table: &str) -> Truth {
    truth.into_iter().filter(|(place, _)| !place.starts_with(table)).collect()
}

async fn told(site: &Site, action: &str) -> u64 {
    let entries = audit::Entity::find().filter(audit::Column::Action.eq(action));
    entries.count(site.engine.ledger.db()).await.unwrap()
}

/// Two columns of one table, the second one renamed while the rotation proves.
async fn a_renamed_column_is_planned_again_once_and_the_rotation_ends(backend: DbBackend) {
    let mut site = Site::with(backend, false, |config| {
        let columns = vec![column("body", "notes.body:{id}"), column("extra", "notes.extra:{id}")];
        config.tables = vec![table("notes", columns)];
    })
    .await;
    site.sql(&format!("CREATE TABLE notes (id bigint PRIMARY KEY, body {0}, extra {0})", site.blob_type())).await;
    let old = site.keyset("default").await;
    for id in 0..60_i64 {
        let cell = |name: &str| old.encrypt(b"x", format!("notes.{name}:{id}").as_bytes());
        let values = vec![id.into(), cell("body").into(), cell("extra").into()];
        site.run("INSERT INTO notes VALUES ($1, $2, $3)", values).await;
    }
    let id = site.request().await;
    site.drive_to(id, RotationState::Proving).await;
    site.sql("ALTER TABLE notes RENAME COLUMN extra TO more").await;
    forget(&site, "notes.extra").await;
    site.reopen(|config| {
        let columns = vec![column("body", "notes.body:{id}"), column("more", "notes.extra:{id}")];
        config.tables = vec![table("notes", columns)];
    })
    .await;
    let status = site.drive_to(id, RotationState::Completed).await;
    assert_eq!((status.rows, status.rows_done), (120, 120), "the table was looked at twice");
    assert_eq!(told(&site, "rotation.replanned").await, 1);
    assert!(told(&site, "rotation.moved").await < 10, "no circle");
    let new = site.keyset("default").await;
    let more = site.stored("SELECT more FROM notes WHERE id = 7", vec![]).await;
    assert_eq!(new.decrypt(&more, b"notes.extra:7").unwrap().to_vec(), b"x");
}

/// Dropped in this state, with what stands open of it then.
async fn dropped_in(backend: DbBackend, state: RotationState) {
    let mut site = Site::with(backend, false, |config| {
        config.rotation.clear_after = Some(std::time::Duration::from_secs(3_600));
    })
    .await;
    let truth = site.seed(120).await;
    let id = site.request().await;
    match state {
        // one batch of it is in hand and fails, the others are pending
        RotationState::Reencrypting => {
            site.drive(id, |s| s.state == state && s.batches.values().sum::<i64>() >= 9).await;
            let spoilt =
                site.count_in_ledger("SELECT min(id) FROM reseal_planned_tables WHERE table_name = 'sync_queue'").await;
            site.ledger_sql(&format!(
                "INSERT INTO reseal_quarantine (rotation_id, planned_table_id, row_key, row_hash, column_name, code, cell_bytes, live, state, found_at)
                 VALUES ({id}, {spoilt}, '1', 'h', 'encrypted_data', 'cell_truncated', 3, {}, 'open', 1)",
                if site.is_postgres() { "true" } else { "1" },
            ))
            .await;
        }
        _ => drop(site.drive_to(id, state).await),
    }
    site.sql("DROP TABLE sync_queue").await;
    without(&mut site, "sync_queue").await;
    if state != RotationState::Reencrypting {
        // what stops it is said, and what helps
        site.ledger_sql("UPDATE reseal_rotations SET waited_ms = clear_after_ms, step_due_at = 0, next_ring_at = 0")
            .await;
        let status = site.drive(id, |s| s.code.as_deref() == Some("table_missing")).await;
        assert!(status.needs_attention && status.summary.contains("reseal catalog forget app:"), "{}", status.summary);
    }
    let covered = matches!(state, RotationState::Waiting);
    assert_eq!(forget(&site, "sync_queue.encrypted_data").await, if covered { vec![id] } else { vec![] });
    if covered {
        let rotation = site.status(id).await;
        assert_eq!((rotation.state, rotation.old_keys[0].state), (RotationState::Proving, KeyState::Deactivated));
    }
    let status = site
        .drive(id, |s| {
            let (db, ready) = (s.state == RotationState::Waiting, s.code.as_deref() != Some("table_missing"));
            db && ready
        })
        .await;
    assert_eq!(status.quarantined, 0);
    assert!(status.tables.iter().all(|t| !t.table.contains("sync_queue")), "{:?}", status.tables);
    site.ledger_sql("UPDATE reseal_rotations SET waited_ms = clear_after_ms, step_due_at = 0, next_ring_at = 0").await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(told(&site, "rotation.replanned").await, 1);
    let open = batches::Entity::find().filter(batches::Column::State.is_in(BatchState::OPEN));
    assert_eq!(open.count(site.engine.ledger.db()).await.unwrap(), 0);
    assert_eq!(read_but(&site, "sync_queue").await, but_for(truth, "sync_queue"));
}

async fn read_but(site: &Site, _: &str) -> Truth {
    site.sql(&format!(
        "CREATE TABLE sync_queue (id bigint PRIMARY KEY, encrypted_data {}, created_at bigint NOT NULL)",
        site.blob_type()
    ))
    .await;
    site.read_all().await
}

async fn a_table_that_is_dropped_while_it_is_re_encrypted_leaves_the_plan(backend: DbBackend) {
    dropped_in(backend, RotationState::Reencrypting).await;
}

async fn a_table_that_is_dropped_while_it_is_proved_leaves_the_plan(backend: DbBackend) {
    dropped_in(backend, RotationState::Proving).await;
}

async fn a_table_that_is_dropped_while_its_proof_waits_sends_the_rotation_back_to_prove_without_it(backend: DbBackend) {
    dropped_in(backend, RotationState::Waiting).await;
}

/// However often the registered columns change, planning again keeps a growing distance.
async fn a_plan_that_is_made_again_and_again_waits_for_longer_and_longer(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(10).await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Proving).await;
    let mut waited = Vec::new();
    for _ in 0..6 {
        let registered =
            rows::Entity::find().order_by_asc(rows::Column::Id).all(site.engine.ledger.db()).await.unwrap();
        let other = format!("messages.encrypted_content:{{id}}:{}", waited.len());
        site.ledger_sql(&format!(
            "UPDATE reseal_catalog SET associated_data = '{other}' WHERE id = {}",
            registered[0].id
        ))
        .await;
        site.ledger_sql("UPDATE reseal_rotations SET state = 'proving', planning_done = true, step_due_at = 0, step_lease_until = NULL")
            .await;
        let job = reseal_entities::job::Job { kind: JobKind::Prove, id };
        site.perform(&job).await.unwrap();
        let rotation = site.rotation(id).await;
        assert_eq!((rotation.state, rotation.step_code.as_deref()), (RotationState::Reencrypting, Some("replanned")));
        let now = reseal_entities::ledger::now_ms(site.engine.ledger.db()).await.unwrap();
        waited.push(rotation.step_due_at - now);
    }
    assert!(waited[0] <= 0, "the first time at once: {waited:?}");
    assert!(waited[5] > 1_000, "then later and later: {waited:?}");
    let left = quarantine::Entity::find().count(site.engine.ledger.db()).await.unwrap();
    assert_eq!(left, 0);
}

on_every_database! {
    a_renamed_column_is_planned_again_once_and_the_rotation_ends,
    a_table_that_is_dropped_while_it_is_re_encrypted_leaves_the_plan,
    a_table_that_is_dropped_while_it_is_proved_leaves_the_plan,
    a_table_that_is_dropped_while_its_proof_waits_sends_the_rotation_back_to_prove_without_it,
    a_plan_that_is_made_again_and_again_waits_for_longer_and_longer,
}
