//! The two-person rule in the ledger: who may say that a key is cleared, and what that word is worth.

use reseal_entities::{
    ledger::{Ledger, LedgerError, approve, approve::Approved, cancel, clear, prove, read, scope::Scope},
    rotations,
    state::{KeyState, RotationState},
};
use sea_orm::{EntityTrait, Iterable};

use crate::{
    ground::{alone, for_each_ledger, run},
    rows::{World, column, everything, key_row, proof},
};

async fn set(ledger: &Ledger, w: &World, what: &str) {
    run(ledger.db(), format!("UPDATE reseal_rotations SET {what} WHERE id = {}", w.id)).await;
}

/// A rotation that ada asked for, that waits for nothing but somebody else.
async fn waiting(ledger: &Ledger) -> World {
    let w = World::at(ledger.db(), RotationState::Waiting).await;
    set(ledger, &w, "needs_approval = true, waited_ms = 1000, step_due_at = 5, next_ring_at = 5").await;
    w
}

async fn say(ledger: &Ledger, actor: &str, w: &World) -> Result<Approved, LedgerError> {
    alone(ledger, async |txn| approve::approve(txn, actor, w.id, None).await).await
}

async fn intend(ledger: &Ledger, w: &World) -> bool {
    let r = w.rotation(ledger.db()).await;
    alone(ledger, async |txn| clear::intend_if_waited(txn, "w", &r).await).await.unwrap()
}

async fn entries(ledger: &Ledger, action: &str) -> usize {
    let all = reseal_entities::audit::Entity::find().all(ledger.db()).await.unwrap();
    all.iter().filter(|e| e.action == action).count()
}

#[test]
fn a_clearing_that_needs_approval_does_not_begin_before_somebody_else_has_given_it() {
    for_each_ledger(async |ledger| {
        let w = waiting(&ledger).await;
        let before = everything(ledger.db()).await;
        assert!(!intend(&ledger, &w).await);
        assert_eq!(everything(ledger.db()).await, before);
        // also where somebody wrote his own name into the ledger, or a time without a name
        for forged in ["approved_at = 1, approved_by = requested_by", "approved_at = 1", "approved_by = 'bob'"] {
            set(&ledger, &w, forged).await;
            assert!(!intend(&ledger, &w).await, "{forged}");
            set(&ledger, &w, "approved_at = NULL, approved_by = NULL").await;
        }
        assert_eq!(say(&ledger, "bob", &w).await.unwrap(), Approved { by: "bob".into(), changed: true });
        let r = w.rotation(ledger.db()).await;
        assert_eq!((r.step_due_at, r.next_ring_at), (0, 0), "it goes on at once");
        assert!(intend(&ledger, &w).await);
        assert_eq!(entries(&ledger, "rotation.approved").await, 1);
    });
}

#[test]
fn an_approval_does_not_shorten_the_waiting_time_nor_lift_a_hold() {
    for_each_ledger(async |ledger| {
        for what in ["waited_ms = 999", "hold_at = 1", "paused_at = 1"] {
            let w = waiting(&ledger).await;
            set(&ledger, &w, what).await;
            say(&ledger, "bob", &w).await.unwrap();
            assert!(!intend(&ledger, &w).await, "{what}");
        }
    });
}

#[test]
fn a_wipe_demands_the_approval_too() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Clearing).await;
        proof(ledger.db(), w.id, column(ledger.db(), &w.keyset).await).await;
        set(&ledger, &w, "needs_approval = true").await;
        let r = w.rotation(ledger.db()).await;
        let wipe =
            async || alone(&ledger, async |txn| clear::wipe_if_held(txn, "w", &r, &Scope::default()).await).await;
        assert_eq!(wipe().await.unwrap_err().code(), "lease_lost");
        assert_eq!(key_row(ledger.db(), w.old).await.state, KeyState::Suspended);
        set(&ledger, &w, "approved_at = 1, approved_by = 'bob'").await;
        wipe().await.unwrap();
        assert_eq!(key_row(ledger.db(), w.old).await.state, KeyState::Destroyed);
    });
}

#[test]
fn who_asked_for_a_rotation_does_not_approve_it() {
    for_each_ledger(async |ledger| {
        let w = waiting(&ledger).await;
        let before = everything(ledger.db()).await;
        assert_eq!(say(&ledger, "ada", &w).await.unwrap_err().code(), "same_person");
        assert_eq!(everything(ledger.db()).await, before);
        say(&ledger, "bob", &w).await.unwrap();
        assert_eq!(say(&ledger, "ada", &w).await.unwrap_err().code(), "same_person");
        // a name that is too long for the ledger is the same name, cut off as it was
        let (w, long) = (waiting(&ledger).await, "a".repeat(128));
        set(&ledger, &w, &format!("requested_by = '{long}'")).await;
        assert_eq!(say(&ledger, &format!("{long}b"), &w).await.unwrap_err().code(), "same_person");
    });
}

#[test]
fn an_approval_is_given_only_while_there_is_a_proof_to_approve() {
    for_each_ledger(async |ledger| {
        for state in RotationState::iter() {
            let w = World::at(ledger.db(), state).await;
            assert_eq!(say(&ledger, "bob", &w).await.unwrap_err().code(), "approval_not_needed", "{state}");
            set(&ledger, &w, "needs_approval = true").await;
            let before = everything(ledger.db()).await;
            match say(&ledger, "bob", &w).await {
                Ok(approved) => assert!(approved.changed && state == RotationState::Waiting, "{state}"),
                Err(e) => {
                    assert!(e.code() == "not_waiting" && state != RotationState::Waiting, "{state}: {e}");
                    assert_eq!(everything(ledger.db()).await, before, "{state}");
                }
            }
        }
        let unknown = alone(&ledger, async |txn| approve::approve(txn, "bob", 99_999, None).await).await;
        assert_eq!(unknown.unwrap_err().code(), "unknown_rotation");
    });
}

#[test]
fn approving_again_changes_nothing_and_says_who_has() {
    for_each_ledger(async |ledger| {
        let w = waiting(&ledger).await;
        say(&ledger, "bob", &w).await.unwrap();
        let again = Approved { by: "bob".into(), changed: false };
        for state in ["waiting", "clearing", "completed"] {
            set(&ledger, &w, &format!("state = '{state}'")).await;
            let before = everything(ledger.db()).await;
            assert_eq!(say(&ledger, "bob", &w).await.unwrap(), again, "{state}");
            assert_eq!(say(&ledger, "eve", &w).await.unwrap(), again, "{state}");
            assert_eq!(everything(ledger.db()).await, before, "{state}");
        }
        assert_eq!(entries(&ledger, "rotation.approved").await, 1);
    });
}

#[test]
fn an_approval_falls_with_its_proof() {
    for_each_ledger(async |ledger| {
        let approved = async |w: &World| {
            let r = w.rotation(ledger.db()).await;
            (r.approved_at.is_some(), r.approved_by.is_some())
        };
        for state in [RotationState::Waiting, RotationState::Clearing] {
            let w = World::at(ledger.db(), state).await;
            set(&ledger, &w, "needs_approval = true, approved_at = 1, approved_by = 'bob'").await;
            let r = w.rotation(ledger.db()).await;
            alone(&ledger, async |txn| prove::void_if_held(txn, "w", &r).await).await.unwrap();
            assert_eq!(approved(&w).await, (false, false), "voided while {state}");

            // and a new proof begins without one, whatever stands there
            set(&ledger, &w, "approved_at = 1, approved_by = 'bob'").await;
            let r = w.rotation(ledger.db()).await;
            alone(&ledger, async |txn| prove::record_if_held(txn, "w", &r, &[], &Scope::default()).await)
                .await
                .unwrap();
            assert_eq!(approved(&w).await, (false, false), "proved again after {state}");

            let w = World::at(ledger.db(), state).await;
            set(&ledger, &w, "needs_approval = true, approved_at = 1, approved_by = 'bob'").await;
            alone(&ledger, async |txn| cancel::cancel(txn, "ada", w.id, None).await).await.unwrap();
            assert_eq!(approved(&w).await, (false, false), "cancelled while {state}");
            assert!(w.rotation(ledger.db()).await.needs_approval);
        }
    });
}

#[test]
fn a_rollback_needs_the_approval_that_its_rotation_needed() {
    for_each_ledger(async |ledger| {
        for needed in [false, true] {
            let w = World::at(ledger.db(), RotationState::Waiting).await;
            set(&ledger, &w, &format!("needs_approval = {needed}")).await;
            let turned = alone(&ledger, async |txn| cancel::roll_back(txn, "bob", w.id, None).await).await.unwrap();
            let reverse = rotations::Entity::find_by_id(turned.reverse).one(ledger.db()).await.unwrap().unwrap();
            assert_eq!(reverse.needs_approval, needed);
        }
    });
}

#[test]
fn a_worker_that_knows_of_the_rule_makes_a_rotation_obey_it_for_good() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Planning).await;
        let mut r = w.rotation(ledger.db()).await;
        r.step_epoch += 1;
        let demand = async |r: &rotations::Model| {
            alone(&ledger, async |txn| approve::demand_if_held(txn, "w", r).await).await.map_err(|e| e.code())
        };
        assert_eq!(demand(&r).await, Err("lease_lost"));
        assert!(!w.rotation(ledger.db()).await.needs_approval);
        demand(&w.rotation(ledger.db()).await).await.unwrap();
        assert!(w.rotation(ledger.db()).await.needs_approval);
        demand(&w.rotation(ledger.db()).await).await.unwrap();
        assert_eq!(entries(&ledger, "rotation.approval_demanded").await, 1);
    });
}

#[test]
fn status_says_that_somebody_else_is_waited_for_and_who_has_said_yes() {
    for_each_ledger(async |ledger| {
        let w = waiting(&ledger).await;
        let look = async || read::status(ledger.db(), w.id).await.unwrap();
        let condition = async || look().await.gate.iter().find(|c| c.what.contains("approved")).unwrap().met;

        let status = look().await;
        assert!(status.waits_for_approval() && status.needs_attention && !condition().await, "{status:#?}");
        assert!(status.summary.contains("somebody other than ada"), "{}", status.summary);
        assert!(status.summary.contains(&format!("reseal approve {}", w.id)), "{}", status.summary);
        // a use of the key is what a person has to look at first
        set(&ledger, &w, "hold_at = 1, hold_detail = 'key 7 was used'").await;
        assert!(look().await.summary.contains("key 7 was used"));
        set(&ledger, &w, "hold_at = NULL, hold_detail = NULL, waited_ms = 0").await;
        let status = look().await;
        assert!(!status.waits_for_approval() && !status.needs_attention);
        assert!(status.summary.contains("cleared in 1 s, once somebody other than ada"), "{}", status.summary);

        say(&ledger, "bob", &w).await.unwrap();
        let status = look().await;
        assert_eq!((status.needs_approval, status.approved_by.as_deref()), (true, Some("bob")));
        assert!(condition().await && !status.summary.contains("somebody"), "{}", status.summary);
        // and nothing of it where nobody asked for it
        let other = World::at(ledger.db(), RotationState::Waiting).await;
        let status = read::status(ledger.db(), other.id).await.unwrap();
        assert!(!status.needs_approval && status.gate.iter().all(|c| !c.what.contains("approved")));
    });
}
