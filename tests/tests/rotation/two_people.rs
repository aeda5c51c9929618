//! The two-person rule, from a worker's configuration to the destroyed key.

use crate::{on_every_database, site::Site};
use reseal_engine::operate;
use reseal_entities::{
    audit,
    ledger::{LedgerError, approve, audit::verify, read::RotationStatus},
    state::{KeyState, RotationState},
};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, QueryOrder, TransactionTrait};
use std::time::{Duration, Instant};

on_every_database! {
    with_the_rule_the_old_key_is_cleared_only_after_somebody_else_has_approved,
    an_approval_does_not_outlive_the_proof_that_it_was_given_for,
    what_a_person_takes_down_is_in_the_audit_before_it_is_down,
    a_fence_is_taken_down_where_ledger_and_source_are_one_database,
}

impl Site {
    async fn of_two(backend: DbBackend) -> Self {
        Self::with(backend, false, |c| c.rotation.two_person = true).await
    }

    async fn approve(&self, actor: &str, id: i64) -> Result<approve::Approved, LedgerError> {
        let txn = self.engine.ledger.begin().await?;
        let approved = approve::approve(&txn, actor, id, None).await?;
        txn.commit().await?;
        Ok(approved)
    }

    /// Until a worker has tried to clear and says what it waits for.
    async fn drive_to_the_second_person(&self, id: i64) -> RotationStatus {
        self.drive(id, |s| s.state == RotationState::Waiting && s.code.as_deref() == Some("approval")).await
    }

    async fn actions(&self) -> Vec<String> {
        let entries = audit::Entity::find().order_by_asc(audit::Column::Seq).all(self.engine.ledger.db()).await;
        entries.unwrap().into_iter().map(|e| e.action).collect()
    }
}

async fn with_the_rule_the_old_key_is_cleared_only_after_somebody_else_has_approved(backend: DbBackend) {
    let site = Site::of_two(backend).await;
    let truth = site.seed(40).await;
    // asked for where nobody had heard of the rule: the worker that plans it has
    let id = site.request().await;
    assert!(!site.status(id).await.needs_approval);

    let status = site.drive_to_the_second_person(id).await;
    assert!(status.waits_for_approval() && status.needs_attention, "{status:#?}");
    assert!(status.summary.contains("somebody other than tester"), "{}", status.summary);
    assert_eq!(status.old_key_state, Some(KeyState::Suspended));
    for _ in 0..3 {
        site.ledger_sql("UPDATE reseal_rotations SET step_due_at = 0, next_ring_at = 0").await;
        assert!(site.dispatch().await, "it is rung for");
        while let Some(job) = site.next_job() {
            site.perform(&job).await.unwrap();
        }
        assert_eq!(site.status(id).await.state, RotationState::Waiting);
    }
    assert_eq!(site.approve("tester", id).await.unwrap_err().code(), "same_person");

    assert!(site.approve("second", id).await.unwrap().changed);
    let status = site.drive_to(id, RotationState::Completed).await;
    assert_eq!((status.old_key_state, status.approved_by.as_deref()), (Some(KeyState::Destroyed), Some("second")));
    assert_eq!(site.read_all().await, truth);
    let actions = site.actions().await;
    let place =
        |action: &str| actions.iter().position(|a| a == action).unwrap_or_else(|| panic!("{action}: {actions:?}"));
    assert!(place("rotation.approval_demanded") < place("rotation.approved"));
    assert!(place("rotation.approved") < place("key.destroyed"));
    assert_eq!(verify(site.engine.ledger.db()).await.unwrap().broken, None);
}

async fn an_approval_does_not_outlive_the_proof_that_it_was_given_for(backend: DbBackend) {
    let site = Site::of_two(backend).await;
    site.seed(40).await;
    let id = site.request().await;
    site.drive_to_the_second_person(id).await;
    let schema = if backend == DbBackend::Postgres { "public" } else { "main" };
    site.engine.source("app").unwrap().unfence(schema, "messages", "encrypted_content").await.unwrap();
    site.approve("second", id).await.unwrap();

    // the clearing finds the fence down, and what was approved is no longer so
    let status = site.drive(id, |s| s.state == RotationState::Proving).await;
    assert_eq!((status.approved_by, status.old_key_state), (None, Some(KeyState::Deactivated)));
    let status = site.drive_to_the_second_person(id).await;
    assert_eq!((status.approved_by, status.old_key_state), (None, Some(KeyState::Suspended)));

    site.approve("third", id).await.unwrap();
    let status = site.drive_to(id, RotationState::Completed).await;
    assert_eq!(status.approved_by.as_deref(), Some("third"));
}

/// Ledger and source share no transaction: dying in between must not leave a change that nobody made.
async fn what_a_person_takes_down_is_in_the_audit_before_it_is_down(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(10).await;
    site.rotate().await;
    // given a source that lets nobody at its tables for a while
    let busy = site.app.begin().await.unwrap();
    let lock = match backend {
        DbBackend::Postgres => "LOCK TABLE messages IN ACCESS EXCLUSIVE MODE",
        _ => "UPDATE messages SET created_at = created_at",
    };
    busy.execute_unprepared(lock).await.unwrap();
    let engine = site.engine.clone();
    let removing =
        tokio::spawn(async move { operate::remove_fence(&engine, "ada", "messages.encrypted_content").await });
    let deadline = Instant::now() + Duration::from_secs(20);
    while site.actions().await.last().unwrap() != "fence.removing" {
        assert!(Instant::now() < deadline, "it is not said before it is done");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    busy.rollback().await.unwrap();
    removing.await.unwrap().unwrap();
    assert_eq!(site.actions().await.last().unwrap(), "fence.removed");
}

async fn a_fence_is_taken_down_where_ledger_and_source_are_one_database(backend: DbBackend) {
    let site = Site::with(backend, true, |_| ()).await;
    site.seed(10).await;
    site.rotate().await;
    operate::remove_fence(&site.engine, "ada", "messages.encrypted_content").await.unwrap();
    let fences = operate::fences(&site.engine).await.unwrap();
    assert!(fences.iter().any(|f| f.column.ends_with("messages.encrypted_content") && !f.state.complete));
}
