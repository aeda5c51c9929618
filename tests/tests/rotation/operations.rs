//! Operations, done by a real engine: asked for, rung for, cut off anywhere, ended once.

use crate::{on_every_database, site::Site};
use reseal_engine::operation::{self, Fate};
use reseal_entities::{
    job::{Job, JobKind},
    ledger::operations::{self, Ask, Caller, work},
    operations::Model,
    state::{KeyState, OperationState, RotationState},
};
use sea_orm::DbBackend;
use serde_json::Value;
use std::time::{Duration, Instant};

on_every_database! {
    a_census_and_a_dry_run_are_done_for_whoever_asks,
    a_clearing_that_is_followed_ends_when_the_key_is_destroyed,
    a_clearing_is_not_followed_while_something_needs_the_key,
    a_clearing_whose_proof_falls_while_it_is_followed_says_what_is_in_the_way,
    cut_off_anywhere_another_worker_does_it_again_and_it_ends_once,
    one_at_which_its_workers_die_is_given_up_by_the_leader,
    a_drained_worker_gives_it_back_for_another,
    what_the_ledger_refuses_fails_at_once_and_what_may_pass_is_tried_thrice,
}

impl Site {
    async fn ask(&self, ask: Ask) -> i64 {
        let caller = Caller { actor: "tester".into(), ..Caller::default() };
        let txn = self.engine.ledger.begin().await.unwrap();
        let (asked, _) = operations::request(&txn, &ask, &caller).await.unwrap();
        txn.commit().await.unwrap();
        asked.id
    }

    async fn operation(&self, id: i64) -> Model {
        operations::get(self.engine.ledger.db(), id).await.unwrap()
    }

    async fn result(&self, id: i64) -> Value {
        serde_json::from_str(&self.operation(id).await.result.expect("a result")).unwrap()
    }

    async fn all_due(&self) {
        self.ledger_sql("UPDATE reseal_operations SET due_at = 0, next_ring_at = 0 WHERE state = 'requested'").await;
    }

    /// Does what is rung for until the operation has ended.
    async fn followed(&self, id: i64) -> Model {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let operation = self.operation(id).await;
            if matches!(operation.state, OperationState::Succeeded | OperationState::Failed) {
                return operation;
            }
            assert!(Instant::now() < deadline, "it got stuck: {operation:#?}");
            self.all_due().await;
            self.dispatch().await;
            while let Some(job) = self.next_job() {
                let _ = self.perform(&job).await;
            }
        }
    }

    /// What dispatch rings for, nothing of it done.
    async fn rung(&self) -> Vec<Job> {
        self.dispatch().await;
        std::iter::from_fn(|| self.next_job()).collect()
    }

    async fn old_key(&self, rotation: i64) -> i64 {
        self.status(rotation).await.old_keys[0].key_id
    }
}

fn everything() -> Ask {
    Ask::Census { column: None, key_id: None }
}

fn hour(config: &mut reseal_config::Config) {
    config.rotation.clear_after = Some(Duration::from_secs(3_600));
}

async fn a_census_and_a_dry_run_are_done_for_whoever_asks(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(60).await;
    reseal_engine::plan::register(&site.engine).await.unwrap();
    let census = site.ask(everything()).await;
    let one = site.ask(Ask::Census { column: Some("messages.encrypted_content".into()), key_id: None }).await;
    let dry_run = site.ask(Ask::DryRun { keyset: "default".into(), to_key_id: None }).await;
    assert_eq!(site.followed(census).await.state, OperationState::Succeeded);
    let columns = site.result(census).await["columns"].as_array().unwrap().clone();
    assert_eq!(columns.len(), 3);
    for column in &columns {
        assert_eq!((&column["keys"][0]["cells"], &column["keys"][0]["state"]), (&54.into(), &"active".into()));
    }
    assert_eq!(site.followed(one).await.state, OperationState::Succeeded);
    assert_eq!(site.result(one).await["columns"].as_array().unwrap().len(), 1);

    assert_eq!(site.followed(dry_run).await.state, OperationState::Succeeded);
    let found = site.result(dry_run).await;
    assert_eq!((&found["keyset"], &found["tables"][0]["rows"]), (&"default".into(), &60.into()));
    assert_eq!(found["problems"], serde_json::json!([]));
    let (keys, rotations) = ("SELECT count(*) FROM reseal_keys", "SELECT count(*) FROM reseal_rotations");
    assert_eq!((site.ledger_count(keys).await, site.ledger_count(rotations).await), (1, 0), "nothing of it stays");
}

async fn a_clearing_that_is_followed_ends_when_the_key_is_destroyed(backend: DbBackend) {
    let site = Site::with(backend, false, hour).await;
    site.seed(30).await;
    let rotation = site.request().await;
    site.drive_to(rotation, RotationState::Waiting).await;
    let old = site.old_key(rotation).await;
    // given a waiting time that is over and a step that would come much later
    let later = reseal_entities::ledger::now_ms(site.engine.ledger.db()).await.unwrap() + 50_000;
    let later = format!(
        "UPDATE reseal_rotations SET waited_ms = clear_after_ms, step_due_at = {later}, next_ring_at = {later}"
    );
    site.ledger_sql(&later).await;
    assert_eq!(site.rung().await, []);
    let clear = site.ask(Ask::Clear { key_id: old }).await;
    assert_eq!(site.operation(clear).await.rotation_id, Some(rotation));

    // the look rings and gives the lane back; the step clears
    assert_eq!(site.rung().await, [Job { kind: JobKind::Operation, id: clear }]);
    assert_eq!(operation::perform(&site.engine, clear, &|| false).await.unwrap(), Fate::Released);
    assert_eq!(site.status(rotation).await.state, RotationState::Waiting, "it only rings and looks");
    let waits = site.operation(clear).await;
    assert_eq!((waits.state, waits.code.as_deref()), (OperationState::Requested, Some("clears_next")));
    assert_eq!(site.rung().await, [Job { kind: JobKind::Clear, id: rotation }], "the step is due, the look later");
    site.perform(&Job { kind: JobKind::Clear, id: rotation }).await.unwrap();

    assert_eq!(site.followed(clear).await.state, OperationState::Succeeded);
    assert_eq!(site.result(clear).await["state"], "destroyed");
    let status = site.status(rotation).await;
    assert_eq!((status.state, status.old_key_state), (RotationState::Completed, Some(KeyState::Destroyed)));
    let again = site.ask(Ask::Clear { key_id: old }).await;
    assert_eq!(site.followed(again).await.state, OperationState::Succeeded, "of a destroyed key");
}

async fn a_clearing_is_not_followed_while_something_needs_the_key(backend: DbBackend) {
    let site = Site::with(backend, false, hour).await;
    site.seed(30).await;
    let active = site.engine.keyring.keyset("default").await.unwrap().active();
    let clear = site.ask(Ask::Clear { key_id: active.0.into() }).await;
    let refused = site.followed(clear).await;
    assert_eq!((refused.state, refused.code.as_deref()), (OperationState::Failed, Some("key_in_use")));

    let rotation = site.request().await;
    site.drive_to(rotation, RotationState::Waiting).await;
    let clear = site.ask(Ask::Clear { key_id: site.old_key(rotation).await }).await;
    let refused = site.followed(clear).await;
    assert_eq!((refused.state, refused.code.as_deref()), (OperationState::Failed, Some("key_in_use")));
    assert!(refused.detail.unwrap().contains("the waiting time is over"));
    assert_eq!(site.result(clear).await["unmet"][0]["what"], "the waiting time is over");
    let status = site.status(rotation).await;
    assert_eq!((status.state, status.old_key_state), (RotationState::Waiting, Some(KeyState::Suspended)));
}

async fn a_clearing_whose_proof_falls_while_it_is_followed_says_what_is_in_the_way(backend: DbBackend) {
    let site = Site::with(backend, false, hour).await;
    site.seed(30).await;
    let old = site.engine.keyring.keyset("default").await.unwrap();
    let rotation = site.request().await;
    site.drive_to(rotation, RotationState::Waiting).await;
    site.ledger_sql("UPDATE reseal_rotations SET waited_ms = clear_after_ms").await;
    let clear = site.ask(Ask::Clear { key_id: site.old_key(rotation).await }).await;
    assert_eq!(operation::perform(&site.engine, clear, &|| false).await.unwrap(), Fate::Released);

    // a column that nobody registered holds the old key's cell by the time of the last count
    site.sql("CREATE TABLE history (id INTEGER PRIMARY KEY, old_content TEXT)").await;
    let cell: String = old.encrypt(b"kept", b"").iter().map(|byte| format!("{byte:02x}")).collect();
    site.sql(&format!("INSERT INTO history VALUES (1, '{cell}')")).await;
    let refused = site.followed(clear).await;
    assert_eq!((refused.state, refused.code.as_deref()), (OperationState::Failed, Some("key_in_use")));
    let status = site.status(rotation).await;
    assert_ne!(status.old_key_state, Some(KeyState::Destroyed));
    assert!(status.detail.unwrap().contains("history.old_content"));
}

async fn cut_off_anywhere_another_worker_does_it_again_and_it_ends_once(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    site.seed(40).await;
    reseal_engine::plan::register(&site.engine).await.unwrap();
    for (ask, audited) in [(everything(), 1), (Ask::DryRun { keyset: "default".into(), to_key_id: None }, 2)] {
        let id = site.ask(ask).await;
        let (mut cut_off, mut n, began) = (0, 0, Instant::now());
        loop {
            let operation = site.operation(id).await;
            if operation.state == OperationState::Succeeded {
                break;
            }
            assert_ne!(operation.state, OperationState::Failed, "{operation:?}");
            assert!(began.elapsed() < Duration::from_secs(90), "stuck after {n} workers: {operation:?}");
            // Each is another process, whose predecessor has died. A statement of that one may still be on its way.
            site.ledger_sql("UPDATE reseal_operations SET lease_until = 1, attempts = 0 WHERE state = 'running'").await;
            site.ledger_sql("UPDATE reseal_operations SET next_ring_at = 0, due_at = 0").await;
            site.ledger_sql("UPDATE reseal_ledger SET leader_until = 0").await;
            site.restart(&format!("worker-{n}-{audited}")).await;
            if site.rung().await.is_empty() {
                continue;
            }
            let patience = Duration::from_secs_f64(0.000_05 * 1.25_f64.powi(n.min(60)));
            n += 1;
            let one = operation::perform(&site.engine, id, &|| false);
            cut_off += i32::from(tokio::time::timeout(patience, one).await.is_err());
        }
        assert!(cut_off > 5, "only {cut_off} were cut off");
        assert!(site.operation(id).await.epoch > 1);
        let ended = "SELECT count(*) FROM reseal_audit WHERE action = 'operation.ended'";
        assert_eq!(site.ledger_count(ended).await, audited);
    }
    assert_eq!(site.ledger_count("SELECT count(*) FROM reseal_keys").await, 1);
}

async fn one_at_which_its_workers_die_is_given_up_by_the_leader(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    let id = site.ask(everything()).await;
    for n in 1..=3 {
        assert_eq!(site.rung().await, [Job { kind: JobKind::Operation, id }], "attempt {n}");
        let dies = work::claim_if_due(site.engine.ledger.db(), id, &format!("dies-{n}")).await.unwrap();
        assert!(dies.is_some());
        site.ledger_sql("UPDATE reseal_operations SET lease_until = 1, next_ring_at = 0").await;
        site.restart(&format!("worker-{n}")).await;
        site.ledger_sql("UPDATE reseal_ledger SET leader_until = 0").await;
    }
    assert_eq!(site.rung().await, []);
    let ended = site.operation(id).await;
    assert_eq!((ended.state, ended.code.as_deref()), (OperationState::Failed, Some("kills_its_worker")));
}

async fn a_drained_worker_gives_it_back_for_another(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(10).await;
    let id = site.ask(Ask::DryRun { keyset: "default".into(), to_key_id: None }).await;
    assert_eq!(operation::perform(&site.engine, id, &|| true).await.unwrap(), Fate::Released);
    let back = site.operation(id).await;
    assert_eq!((back.state, back.attempts, back.lease_until), (OperationState::Requested, 0, None));
    assert_eq!(site.rung().await, [Job { kind: JobKind::Operation, id }]);
    assert_eq!(operation::perform(&site.engine, id, &|| false).await.unwrap(), Fate::Succeeded);
    assert_eq!(operation::perform(&site.engine, id, &|| false).await.unwrap(), Fate::NotOurs, "rung for twice");
}

async fn what_the_ledger_refuses_fails_at_once_and_what_may_pass_is_tried_thrice(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(10).await;
    reseal_engine::plan::register(&site.engine).await.unwrap();
    let named = site.ask(Ask::Census { column: Some("messages.encrypted_content".into()), key_id: None }).await;
    site.ledger_sql("UPDATE reseal_catalog SET forgotten_at = 1 WHERE table_name = 'messages'").await;
    let refused = site.followed(named).await;
    assert_eq!((refused.code.as_deref(), refused.attempts), (Some("unknown_column"), 1));

    let all = site.ask(everything()).await;
    site.ledger_sql("UPDATE reseal_catalog SET column_name = 'gone' WHERE table_name = 'sync_queue'").await;
    assert_eq!(operation::perform(&site.engine, all, &|| false).await.unwrap(), Fate::Released);
    let failed = site.followed(all).await;
    assert_eq!((failed.state, failed.attempts), (OperationState::Failed, 3), "{failed:?}");
    assert_eq!(failed.epoch, 3);
}

/// PostgreSQL, where a lock on the catalog makes an operation as long as it must be.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_takes_long_is_held_until_it_is_lost() {
    let site = Site::new(sea_orm::DbBackend::Postgres).await;
    let id = site.ask(everything()).await;
    let blocker = site.engine.ledger.begin().await.unwrap();
    sea_orm::ConnectionTrait::execute_unprepared(&blocker, "LOCK TABLE reseal_catalog IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let engine = site.engine.clone();
    let at_it = tokio::spawn(async move { operation::perform(&engine, id, &|| false).await.unwrap() });
    let lease = async |after: i64| {
        let patience = Duration::from_secs(30);
        reseal_tests::eventually(patience, "its lease is renewed", async || {
            site.operation(id).await.lease_until.filter(|until| *until > after)
        })
        .await
    };
    let first = lease(0).await;
    lease(first).await;
    site.ledger_sql("UPDATE reseal_operations SET epoch = epoch + 1").await;
    assert_eq!(at_it.await.unwrap(), Fate::Lost);
    assert_eq!(site.operation(id).await.state, OperationState::Running, "whoever has it now writes its end");
    blocker.rollback().await.unwrap();
}
