//! Cancelled and turned round, wherever it stands.

use crate::{
    on_every_database,
    site::{Site, Truth},
};
use reseal_engine::keys::Keyring;
use reseal_entities::{
    ledger::{cancel, prove, read::RotationStatus},
    state::{KeyState, RotationState},
};
use reseal_keyring::Keyset;
use sea_orm::DbBackend;
use std::{sync::Arc, time::Duration};

on_every_database! {
    cancelled_anywhere_every_value_stays_readable_and_the_next_rotation_retires_what_is_left,
    turned_round_anywhere_every_row_ends_under_the_key_that_gave_way,
    a_cancelled_rotation_is_turned_round,
    a_rotation_that_promoted_nothing_or_destroyed_its_key_is_not_turned_round,
    a_fence_that_somebody_puts_up_late_is_opened_again,
    turned_round_twice_it_ends_under_the_new_key,
    a_worker_that_knew_the_key_before_reads_what_is_under_the_key_between,
}

/// How far a rotation gets before it is disturbed.
const STAGES: [fn(&RotationStatus) -> bool; 5] = [
    |s| s.new_key.as_ref().is_some_and(|k| k.state == KeyState::Active),
    |s| s.reencrypted > 30,
    |s| s.state == RotationState::Proving,
    |s| s.state == RotationState::Waiting,
    |s| s.state == RotationState::Waiting && s.workers == 0,
];

impl Site {
    async fn waits(backend: DbBackend) -> Self {
        Self::with(backend, false, |c| c.rotation.clear_after = Some(Duration::from_secs(3_600))).await
    }

    async fn cancel(&self, id: i64) {
        let txn = self.engine.ledger.begin().await.unwrap();
        assert!(cancel::cancel(&txn, "tester", id, Some("enough")).await.unwrap());
        txn.commit().await.unwrap();
    }

    async fn roll_back(&self, id: i64) -> i64 {
        let txn = self.engine.ledger.begin().await.unwrap();
        let turned = cancel::roll_back(&txn, "tester", id, Some("wrong key")).await.unwrap();
        txn.commit().await.unwrap();
        assert!(turned.changed);
        turned.reverse
    }

    async fn clear_at_once(&self, id: i64) -> RotationStatus {
        self.drive_to(id, RotationState::Waiting).await;
        self.ledger_sql("UPDATE reseal_rotations SET waited_ms = clear_after_ms, step_due_at = 0, next_ring_at = 0")
            .await;
        self.drive_to(id, RotationState::Completed).await
    }

    async fn keyset_now(&self) -> Arc<Keyset> {
        self.engine.keyring.forget();
        self.engine.keyring.keyset("default").await.unwrap()
    }

    /// Every message opens, under whichever key.
    async fn readable(&self, truth: &Truth) {
        let keyset = self.keyset_now().await;
        for (place, value) in truth.iter().filter(|(place, _)| place.starts_with("messages")) {
            let id: i64 = place.rsplit(':').next().unwrap().parse().unwrap();
            assert_eq!(keyset.decrypt(&self.message(id).await, place.as_bytes()).unwrap()[..], value[..], "{place}");
        }
    }
}

async fn cancelled_anywhere_every_value_stays_readable_and_the_next_rotation_retires_what_is_left(backend: DbBackend) {
    for stage in STAGES {
        let site = Site::waits(backend).await;
        let truth = site.seed(60).await;
        let id = site.request().await;
        site.drive(id, stage).await;
        site.cancel(id).await;
        let status = site.status(id).await;
        assert_eq!((status.state, status.needs_attention), (RotationState::Cancelled, false));
        assert_eq!(status.old_key_state, Some(KeyState::Deactivated), "it decrypts again");
        assert!(prove::current(site.engine.ledger.db(), id).await.unwrap().is_empty(), "its proofs are void");
        while let Some(job) = site.next_job() {
            site.perform(&job).await.unwrap();
        }
        assert_eq!(site.status(id).await.reencrypted, status.reencrypted, "nobody goes on");
        site.readable(&truth).await;

        let next = site.request().await;
        let status = site.clear_at_once(next).await;
        assert_eq!(status.old_keys.iter().map(|k| k.state).collect::<Vec<_>>(), [KeyState::Destroyed; 2]);
        assert_eq!(site.read_all().await, truth);
    }
}

async fn turned_round_anywhere_every_row_ends_under_the_key_that_gave_way(backend: DbBackend) {
    for stage in STAGES {
        let site = Site::waits(backend).await;
        let truth = site.seed(60).await;
        let first = site.keyset_now().await;
        let id = site.request().await;
        site.drive(id, stage).await;
        let second = site.keyset_now().await;

        let reverse = site.roll_back(id).await;

        assert_eq!(site.status(id).await.state, RotationState::RolledBack);
        let promoted = |s: &RotationStatus| s.new_key.as_ref().is_some_and(|k| k.state == KeyState::Active);
        site.drive(reverse, promoted).await;
        // at once an application may write under the first key again, and still under the second
        for (keyset, value) in [(&first, b"under the first"), (&second, b"under the other")] {
            let cell = keyset.encrypt(value, b"messages.encrypted_content:1");
            site.set_message(1, Some(cell)).await.expect("let in");
        }
        let mut truth = truth;
        truth.insert("messages.encrypted_content:1".into(), b"under the other".to_vec());
        let status = site.clear_at_once(reverse).await;
        assert_eq!(site.keyset_now().await.active(), first.active());
        assert_eq!(site.read_all().await, truth);
        assert_eq!(status.old_keys.len(), 1);
        assert_eq!(status.old_keys[0].key_id, i64::from(second.active().0));
        let late = site.set_message(1, Some(second.encrypt(b"late", b"messages.encrypted_content:1"))).await;
        assert!(late.unwrap_err().to_string().contains("reload the keyset"), "the other one is fenced now");
        let verdict = reseal_entities::ledger::audit::verify(site.engine.ledger.db()).await.unwrap();
        assert_eq!(verdict.broken, None);
    }
}

async fn a_cancelled_rotation_is_turned_round(backend: DbBackend) {
    let site = Site::waits(backend).await;
    let truth = site.seed(60).await;
    let first = site.keyset_now().await;
    let id = site.request().await;
    site.drive(id, |s| s.reencrypted > 30).await;
    site.cancel(id).await;
    let active_since = format!("SELECT activated_at FROM reseal_keys WHERE key_id = {}", first.active().0);
    let since = site.ledger_count(&active_since).await;
    let reverse = site.roll_back(id).await;
    site.clear_at_once(reverse).await;
    assert_eq!(site.keyset_now().await.active(), first.active());
    assert_eq!(site.ledger_count(&active_since).await, since, "its age goes on");
    assert_eq!(site.read_all().await, truth);
}

async fn a_rotation_that_promoted_nothing_or_destroyed_its_key_is_not_turned_round(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(10).await;
    let refused = async |id: i64| {
        let txn = site.engine.ledger.begin().await.unwrap();
        let refused = cancel::roll_back(&txn, "tester", id, None).await.unwrap_err();
        txn.rollback().await.unwrap();
        refused.code()
    };
    let id = site.request().await;
    assert_eq!(refused(id).await, "nothing_to_roll_back");
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(refused(id).await, "rotation_ended");
    let txn = site.engine.ledger.begin().await.unwrap();
    assert_eq!(cancel::cancel(&txn, "tester", id, None).await.unwrap_err().code(), "rotation_ended");
    txn.rollback().await.unwrap();
    // and one that was cancelled is not, once another has taken its place
    let second = site.request().await;
    site.drive(second, |s| s.reencrypted > 1).await;
    site.cancel(second).await;
    let third = site.request().await;
    site.drive_to(third, RotationState::Completed).await;
    assert_eq!(refused(second).await, "too_late_to_roll_back");
}

/// A worker that slept through the rollback at its fence puts it up when it wakes.
async fn a_fence_that_somebody_puts_up_late_is_opened_again(backend: DbBackend) {
    use reseal_engine::source::{CellColumn, Fence, Rule};
    let site = Site::waits(backend).await;
    let truth = site.seed(60).await;
    let first = site.keyset_now().await;
    let id = site.request().await;
    site.drive(id, |s| s.state == RotationState::Proving).await;
    let reverse = site.roll_back(id).await;
    site.drive(reverse, |s| s.reencrypted > 5).await;
    let source = site.engine.source("app").unwrap();
    let native = CellColumn::wanted("encrypted_content", reseal_keyring::Layout::NATIVE);
    let shape = source.shape(None, "messages", &["id".into()], &[native]).await.unwrap();
    let rule = Rule::Deny(vec![reseal_keyring::cell::header(first.active())]);
    let fence = Fence { keyset: "default".into(), column: "encrypted_content".into(), text: false, rule };
    source.fence(&shape, &fence).await.unwrap();

    site.ledger_sql("UPDATE reseal_batches SET due_at = 0, next_ring_at = 0").await;
    site.clear_at_once(reverse).await;

    assert_eq!(site.read_all().await, truth);
    let cell = first.encrypt(b"let in", b"messages.encrypted_content:1");
    site.set_message(1, Some(cell)).await.expect("the active key is let in");
}

async fn turned_round_twice_it_ends_under_the_new_key(backend: DbBackend) {
    let site = Site::waits(backend).await;
    let truth = site.seed(60).await;
    let id = site.request().await;
    site.drive(id, |s| s.reencrypted > 30).await;
    let second = site.keyset_now().await;
    let reverse = site.roll_back(id).await;
    site.drive(reverse, |s| s.reencrypted > 10).await;
    let again = site.roll_back(reverse).await;
    site.clear_at_once(again).await;
    assert_eq!(site.keyset_now().await.active(), second.active());
    assert_eq!(site.read_all().await, truth);
}

/// The active key is again the one that the worker has in memory, and its keyset is from before the other one was made.
async fn a_worker_that_knew_the_key_before_reads_what_is_under_the_key_between(backend: DbBackend) {
    let site = Site::waits(backend).await;
    let truth = site.seed(60).await;
    let first = site.request().await;
    site.drive(first, |s| s.reencrypted > 30).await;
    site.cancel(first).await;
    let second = site.request().await;
    site.drive(second, STAGES[0]).await;
    // An application loads the keyset, which this worker does not.
    let kek = site.engine.config.kek.uri.expose();
    let elsewhere = Keyring::open(site.engine.ledger.clone(), kek, &site.engine.config.ledger.key_backup).unwrap();
    let between = elsewhere.keyset("default").await.unwrap();
    for (place, value) in truth.iter().filter(|(place, _)| place.starts_with("messages")) {
        let id = place.rsplit(':').next().unwrap().parse().unwrap();
        site.set_message(id, Some(between.encrypt(value, place.as_bytes()))).await.unwrap();
    }
    let reverse = site.roll_back(second).await;

    let status = site.clear_at_once(reverse).await;

    assert_eq!((status.state, status.quarantined), (RotationState::Completed, 0), "{status:?}");
    assert_eq!(site.read_all().await, truth);
}
