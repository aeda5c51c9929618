//! The two-person rule, from a worker's configuration to the destroyed key.

use crate::{on_every_database, site::Site};
use reseal_engine::operate;
use reseal_entities::{
    audit,
    ledger::{LedgerError, approve, audit::verify, read::RotationStatus},
    state::{KeyState, RotationState},
};
use sea_orm::{DbBackend, EntityTrait, QueryOrder};
use std::time::Duration;

on_every_database! {
    with_the_rule_the_old_key_is_cleared_only_after_somebody_else_has_approved,
    an_approval_does_not_outlive_the_proof_that_it_was_given_for,
    what_a_person_takes_down_is_in_the_audit_before_and_after,
}

impl Site {
    async fn of_two(backend: DbBackend) -> Self {
        Self::with(backend, false, |c| c.rotation.two_person = true).await
    }

    async fn approve(&self, actor: &str, id: i64) -> Result<approve::Approved, LedgerError> {
        let txn = self.engine.ledger.begin().await?;
        let approved = approve::approve(&txn, actor, id).await?;
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

async fn what_a_person_takes_down_is_in_the_audit_before_and_after(backend: DbBackend) {
    // ledger and source are one database, and on SQLite one writer
    let hour = Duration::from_secs(3_600);
    let site = Site::with(backend, true, |c| c.rotation.clear_after = Some(hour)).await;
    site.seed(10).await;
    site.rotate_and_cancel().await;
    operate::remove_fence(&site.engine, "ada", "messages.encrypted_content").await.unwrap();
    let fences = operate::fences(&site.engine).await.unwrap();
    assert!(fences.iter().any(|f| f.column.ends_with("messages.encrypted_content") && !f.state.complete));
    let actions = site.actions().await;
    assert_eq!(actions[actions.len() - 2..], ["fence.removing", "fence.removed"]);

    // given a source that does not do it: what was begun is on the record
    site.sql("DROP TABLE sync_queue").await;
    let before = site.actions().await.len();
    let _ = operate::remove_fence(&site.engine, "ada", "sync_queue.encrypted_data").await;
    assert_eq!(site.actions().await[before], "fence.removing");
}

impl Site {
    async fn rotate_and_cancel(&self) {
        let id = self.request().await;
        self.drive_to(id, RotationState::Waiting).await;
        let txn = self.engine.ledger.begin().await.unwrap();
        reseal_entities::ledger::cancel::cancel(&txn, "tester", id, None).await.unwrap();
        txn.commit().await.unwrap();
    }
}
