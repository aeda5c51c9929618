//! A ledger's clock that jumps ahead, or is set back: what was written by the wrong time holds nothing up.
//!
//! The clock itself cannot be set here, so that each test writes the time into the row that a clock a day ahead would have
//! written.

use reseal_entities::{
    ledger::{
        self, Ledger, claim, dispatch,
        operations::{due, work},
        plan, presence,
        sessions::{self, Refusal},
        steps, throttle,
        tokens::{self, New},
        writers,
    },
    state::{BatchState, RotationState},
    tokens::Role,
};

use crate::{
    ground::{alone, for_each_ledger, run},
    operations::{ask, census},
    rows::World,
};

/// The time that a clock shows which is a day ahead.
async fn ahead(ledger: &Ledger) -> i64 {
    ledger::now_ms(ledger.db()).await.unwrap() + 86_400_000
}

async fn set(ledger: &Ledger, w: &World, what: &str) {
    run(ledger.db(), format!("UPDATE reseal_rotations SET {what} WHERE id = {}", w.id)).await;
}

#[test]
fn a_leader_whose_lease_lies_a_day_ahead_leads_no_longer() {
    for_each_ledger(async |ledger| {
        assert!(dispatch::lead_if_free(ledger.db(), "dead").await.unwrap());
        assert!(!dispatch::lead_if_free(ledger.db(), "next").await.unwrap(), "its lease runs");
        run(ledger.db(), format!("UPDATE reseal_ledger SET leader_until = {}", ahead(&ledger).await)).await;
        assert!(dispatch::lead_if_free(ledger.db(), "next").await.unwrap());
    });
}

#[test]
fn a_batch_whose_lease_or_times_lie_a_day_ahead_is_rung_for_once_and_claimed() {
    for_each_ledger(async |ledger| {
        let (db, w) = (ledger.db(), World::at(ledger.db(), RotationState::Reencrypting).await);
        let all = dispatch::Of::AllBut(Vec::new());
        let ahead = ahead(&ledger).await;
        for (state, times) in [
            (BatchState::Leased, format!("lease_until = {ahead}")),
            (BatchState::Leased, format!("lease_until = {ahead}, next_ring_at = {ahead}, rings = 1")),
            (BatchState::Pending, format!("due_at = {ahead}")),
            (BatchState::Pending, format!("next_ring_at = {ahead}, rings = 1")),
        ] {
            let b = w.batch(db, state).await;
            run(db, format!("UPDATE reseal_batches SET {times} WHERE id = {}", b.id)).await;
            let due = async || {
                let due = dispatch::due_batches(db, &all, 100).await.unwrap();
                due.iter().any(|d| d.id == b.id)
            };
            assert_eq!(dispatch::outstanding(db, &all).await.unwrap(), 0, "{times}");
            assert_eq!(throttle::in_hand(db, w.id).await.unwrap(), 0, "{times}");
            assert!(due().await, "{times}");
            dispatch::note_batch_rings(db, &[b.id]).await.unwrap();
            assert!(!due().await, "rung for a moment ago: {times}");
            assert!(claim::claim_if_due(db, b.id, "w").await.unwrap().is_some(), "{times}");
            run(db, format!("UPDATE reseal_batches SET state = 'done' WHERE id = {}", b.id)).await;
        }
    });
}

#[test]
fn a_step_whose_lease_or_times_lie_a_day_ahead_is_rung_for_and_claimed() {
    for_each_ledger(async |ledger| {
        let (db, ahead) = (ledger.db(), ahead(&ledger).await);
        for times in [
            format!("step_lease_until = {ahead}"),
            format!("step_due_at = {ahead}"),
            format!("next_ring_at = {ahead}"),
            format!("step_lease_until = {ahead}, next_ring_at = {ahead}, step_due_at = {ahead}"),
        ] {
            let w = World::at(db, RotationState::Proving).await;
            set(&ledger, &w, &times).await;
            assert!(dispatch::due_rotations(db).await.unwrap().iter().any(|r| r.id == w.id), "{times}");
            let claimed = steps::claim_if_due(db, w.id, "w", &[RotationState::Proving]).await.unwrap();
            assert!(claimed.is_some(), "{times}");
        }
    });
}

#[test]
fn a_step_is_never_left_for_longer_than_its_own_longest_pause() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Proving).await;
        let left = steps::Left { again_in_ms: i64::MAX, code: Some("writer_ttl".into()), detail: None, failed: false };
        steps::leave_if_held(ledger.db(), w.id, 7, left).await.unwrap();
        let now = ledger::now_ms(ledger.db()).await.unwrap();
        assert!(w.rotation(ledger.db()).await.step_due_at <= now + ledger::time::STEP_PAUSE_MAX_MS);
    });
}

#[test]
fn an_operation_whose_lease_or_times_lie_a_day_ahead_is_rung_for_and_claimed() {
    for_each_ledger(async |ledger| {
        let (db, ahead) = (ledger.db(), ahead(&ledger).await);
        for times in [
            format!("due_at = {ahead}"),
            format!("next_ring_at = {ahead}, rings = 1"),
            format!("state = 'running', lease_until = {ahead}"),
        ] {
            let id = ask(&ledger, census(), None).await.unwrap().0.id;
            run(db, format!("UPDATE reseal_operations SET {times} WHERE id = {id}")).await;
            assert_eq!(due::outstanding(db).await.unwrap(), 0, "{times}");
            assert!(due::operations(db, 100).await.unwrap().iter().any(|d| d.id == id), "{times}");
            assert!(work::claim_if_due(db, id, "w").await.unwrap().is_some(), "{times}");
            run(db, format!("UPDATE reseal_operations SET state = 'failed' WHERE id = {id}")).await;
        }
    });
}

#[test]
fn a_worker_that_died_a_day_ahead_is_not_alive_and_an_application_neither() {
    for_each_ledger(async |ledger| {
        let (db, ahead) = (ledger.db(), ahead(&ledger).await);
        for name in ["dead", "alive"] {
            let sign = presence::Sign {
                name: name.to_owned(),
                version: "0".into(),
                state: "running",
                lanes: 1,
                jobs_running: 0,
                reencrypted: 0,
                rows_per_second: None,
                keys_loaded: "[]".into(),
            };
            presence::beat(db, &sign).await.unwrap();
            writers::beat(db, name, "default", 1, 5_000).await.unwrap();
        }
        for table in ["reseal_workers", "reseal_writers"] {
            run(db, format!("UPDATE {table} SET seen_at = {ahead} WHERE name = 'dead'")).await;
        }
        let workers: Vec<_> = presence::alive(db).await.unwrap().into_iter().map(|w| w.name).collect();
        assert_eq!(workers, ["alive"]);
        let told = presence::remembered(db).await.unwrap();
        assert_eq!(told.iter().find(|w| w.worker.name == "dead").unwrap().standing(), "lost");
        let applications: Vec<_> = writers::alive(db, "default").await.unwrap().into_iter().map(|w| w.name).collect();
        assert_eq!(applications, ["alive"]);
    });
}

#[test]
fn a_session_that_was_opened_or_used_a_day_ahead_ends() {
    for_each_ledger(async |ledger| {
        let (db, ahead) = (ledger.db(), ahead(&ledger).await);
        let new = New { name: None, role: Role::Operator, expires_in_ms: None, requests_per_second: None };
        let token = alone(&ledger, async |txn| tokens::create(txn, "root", &new).await).await.unwrap().0;
        for (times, refusal) in [
            (format!("expires_at = {}", ahead + sessions::ABSOLUTE_MS), Refusal::Old),
            (format!("seen_at = {ahead}"), Refusal::Idle),
        ] {
            let (session, presented) = alone(&ledger, async |txn| sessions::open(txn, &token).await).await.unwrap();
            assert!(sessions::is_usable(db, session.id).await.unwrap());
            run(db, format!("UPDATE reseal_sessions SET {times} WHERE id = {}", session.id)).await;
            assert_eq!(sessions::authenticate(db, &presented).await.unwrap().unwrap_err(), refusal, "{times}");
        }
    });
}

#[test]
fn the_writers_time_of_a_promotion_a_day_ahead_is_counted_from_now() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Proving).await;
        assert_eq!(plan::promoted_by_now(ledger.db(), &w.rotation(ledger.db()).await).await.unwrap(), 1);
        set(&ledger, &w, &format!("promoted_at = {}", ahead(&ledger).await)).await;
        let by = plan::promoted_by_now(ledger.db(), &w.rotation(ledger.db()).await).await.unwrap();
        let now = ledger::now_ms(ledger.db()).await.unwrap();
        assert!(by <= now && now - by < 30_000, "{by} at {now}");
        assert_eq!(w.rotation(ledger.db()).await.promoted_at, Some(by), "and stays, so that the wait ends");
    });
}

#[test]
fn who_may_still_be_at_an_ended_rotations_step_by_a_lease_a_day_ahead_is_waited_for_once() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Cancelled).await;
        set(&ledger, &w, &format!("step_lease_until = {}", ahead(&ledger).await)).await;
        let until = steps::left_over_until(ledger.db(), &w.keyset).await.unwrap().unwrap();
        assert!(until <= ledger::now_ms(ledger.db()).await.unwrap() + ledger::time::LEASE_MS);
        assert_eq!(steps::left_over_until(ledger.db(), &w.keyset).await.unwrap(), Some(until), "no new wait begins");
    });
}
