//! The laws in SQL, of rotations and keys: each statement, tried from each state, changes something
//! only where the law allows it, and otherwise nothing at all.

use reseal_entities::{
    ledger::{Ledger, LedgerError, cancel, claim, clear, close, keys, plan, prove, scope::Scope},
    state::{
        BatchState, KeyState,
        RotationEvent::{self, Clear, Plan, Prove, Reencrypt, Replan, VoidProof, Wait},
        RotationState::{self, *},
    },
};
use sea_orm::Iterable;

use crate::{
    ground::{alone, for_each_ledger, run},
    laws::ROTATIONS,
    rows::{World, column, everything, key, key_row, proof},
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum OnRotation {
    Advance(RotationEvent),
    Close,
    Promote,
    Finish,
    Reopen,
    Record,
    Void,
    Intend,
    Wipe,
    Complete,
    Observe,
    ClaimBatch,
    Cancel,
    RollBack,
}
use OnRotation::*;

/// Each statement, the states from which it works, and the state of the old key that it needs.
fn on_rotations() -> Vec<(OnRotation, Vec<RotationState>, KeyState)> {
    let mut all = vec![
        (OnRotation::Close, vec![Reencrypting], KeyState::Deactivated),
        (Promote, vec![Planning], KeyState::Active),
        (Finish, vec![Reencrypting], KeyState::Deactivated),
        (Reopen, vec![Proving], KeyState::Deactivated),
        (Record, vec![Proving], KeyState::Deactivated),
        (Void, vec![Waiting, Clearing], KeyState::Suspended),
        (Intend, vec![Waiting], KeyState::Suspended),
        (Wipe, vec![Clearing], KeyState::Suspended),
        (OnRotation::Complete, vec![Clearing], KeyState::Destroyed),
        (Observe, vec![Waiting], KeyState::Suspended),
        (ClaimBatch, vec![Planning, Reencrypting], KeyState::Deactivated),
        (
            OnRotation::Cancel,
            vec![Requested, Planning, Reencrypting, Proving, Waiting, Clearing],
            KeyState::Deactivated,
        ),
        (
            OnRotation::RollBack,
            vec![Planning, Reencrypting, Proving, Waiting, Clearing, Cancelled],
            KeyState::Deactivated,
        ),
    ];
    for event in [Plan, Reencrypt, Prove, Replan, Wait, VoidProof, Clear, RotationEvent::Complete] {
        let from = ROTATIONS.iter().filter(|(_, what, _)| *what == event).map(|(from, _, _)| *from).collect();
        all.push((Advance(event), from, KeyState::Deactivated));
    }
    all
}

/// Runs one statement; true when it says that it changed something. The epoch is off by `off`.
async fn on_rotation(ledger: &Ledger, what: OnRotation, w: &World, off: i64) -> Result<bool, LedgerError> {
    let mut r = w.rotation(ledger.db()).await;
    r.step_epoch += off;
    if what == OnRotation::Close {
        return close::close_if_nothing_is_open(ledger, "w", w.id).await;
    }
    let done = alone(ledger, async |txn| match what {
        Advance(event) => plan::advance_if_held(txn, "w", &r, event).await.map(|()| true),
        Promote => keys::promote_if_held(txn, "w", &r, w.new).await.map(|()| true),
        Finish => plan::finish_if_held(txn, &r).await,
        Reopen => plan::reopen_if_held(txn, "w", &r).await.map(|()| true),
        Record => prove::record_if_held(txn, "w", &r, &[], &Scope::default()).await.map(|()| true),
        Void => prove::void_if_held(txn, "w", &r).await.map(|()| true),
        Intend => clear::intend_if_waited(txn, "w", &r).await,
        Wipe => clear::wipe_if_held(txn, "w", &r, &Scope::default()).await.map(|()| true),
        OnRotation::Complete => clear::complete_if_held(txn, "w", &r).await.map(|()| true),
        Observe => Ok(clear::add_waited_if_unseen(txn, w.id, None, 0).await?.is_some()),
        ClaimBatch => {
            let b = w.batch(txn, BatchState::Pending).await;
            Ok(claim::claim_if_due(txn, b.id, "w").await?.is_some())
        }
        OnRotation::Cancel => cancel::cancel(txn, "w", w.id, None).await,
        OnRotation::RollBack => cancel::roll_back(txn, "w", w.id, None).await.map(|turned| turned.changed),
        OnRotation::Close => unreachable!(),
    });
    match done.await {
        Err(LedgerError::LeaseLost | LedgerError::Refused { code: "rotation_ended" | "rotation_moved", .. }) => {
            Ok(false)
        }
        done => done,
    }
}

#[test]
fn a_rotations_statements_change_it_only_from_the_states_that_the_law_names() {
    for_each_ledger(async |ledger| {
        for (what, from, old) in on_rotations() {
            for state in RotationState::iter() {
                // a column of this rotation alone, so that wiping depends on nothing else
                run(ledger.db(), "UPDATE reseal_catalog SET forgotten_at = 1").await;
                let w = World::with(ledger.db(), state, old).await;
                proof(ledger.db(), w.id, column(ledger.db(), &w.keyset).await).await;
                run(ledger.db(), format!("UPDATE reseal_rotations SET waited_ms = 1000 WHERE id = {}", w.id)).await;
                if what == Finish {
                    let sql = format!("UPDATE reseal_rotations SET planning_done = false WHERE id = {}", w.id);
                    run(ledger.db(), sql).await;
                    // what is registered and not planned keeps planning from its end
                    run(ledger.db(), "UPDATE reseal_catalog SET forgotten_at = 1").await;
                }
                let before = everything(ledger.db()).await;
                let changed = on_rotation(&ledger, what, &w, 0).await.unwrap();
                assert_eq!(changed, from.contains(&state), "{what:?} from {state}");
                if what == ClaimBatch {
                    continue;
                }
                assert_eq!(everything(ledger.db()).await == before, !changed, "{what:?} from {state}");
                let ends = ROTATIONS.iter().find(|(from, event, _)| (*from, Some(*event)) == (state, event_of(what)));
                let expected = ends.map_or(state, |(_, _, to)| *to);
                assert_eq!(w.rotation(ledger.db()).await.state, expected, "{what:?} from {state}");
            }
        }
    });
}

fn event_of(what: OnRotation) -> Option<RotationEvent> {
    match what {
        Advance(event) => Some(event),
        OnRotation::Close => Some(Prove),
        Reopen => Some(Replan),
        Record => Some(Wait),
        Void => Some(VoidProof),
        Intend => Some(Clear),
        OnRotation::Complete => Some(RotationEvent::Complete),
        OnRotation::Cancel => Some(RotationEvent::Cancel),
        OnRotation::RollBack => Some(RotationEvent::RollBack),
        Promote | Finish | Wipe | Observe | ClaimBatch => None,
    }
}

#[test]
fn another_epoch_changes_no_rotation() {
    for_each_ledger(async |ledger| {
        for (what, from, old) in on_rotations() {
            if matches!(what, OnRotation::Close | Observe | ClaimBatch | OnRotation::Cancel | OnRotation::RollBack) {
                continue; // these name no epoch
            }
            for off in [-1, 1] {
                let w = World::with(ledger.db(), from[0], old).await;
                run(ledger.db(), format!("UPDATE reseal_rotations SET waited_ms = 1000 WHERE id = {}", w.id)).await;
                let before = everything(ledger.db()).await;
                assert!(!on_rotation(&ledger, what, &w, off).await.unwrap(), "{what:?}");
                assert_eq!(everything(ledger.db()).await, before, "{what:?}");
            }
        }
    });
}

#[test]
fn a_keys_statements_change_it_only_from_the_states_that_the_law_names() {
    use KeyState::*;
    let statements = [
        (Record, Proving, Deactivated, Suspended),
        (Void, Waiting, Suspended, Deactivated),
        (Wipe, Clearing, Suspended, Destroyed),
    ];
    for_each_ledger(async |ledger| {
        for (what, rotation, from, to) in statements {
            for state in [PreActive, Deactivated, Suspended, Destroyed] {
                run(ledger.db(), "UPDATE reseal_catalog SET forgotten_at = 1").await;
                let w = World::with(ledger.db(), rotation, state).await;
                run(
                    ledger.db(),
                    format!(
                        "UPDATE reseal_rotation_keys SET generation = {} WHERE key_id = {}",
                        key_row(ledger.db(), w.old).await.generation,
                        w.old
                    ),
                )
                .await;
                proof(ledger.db(), w.id, column(ledger.db(), &w.keyset).await).await;
                let before = everything(ledger.db()).await;
                let done = on_rotation(&ledger, what, &w, 0).await;
                if state == from {
                    assert!(done.unwrap(), "{what:?} of a key that is {state}");
                    assert_eq!(key_row(ledger.db(), w.old).await.state, to);
                } else if (what, state) == (Wipe, Destroyed) {
                    assert!(done.unwrap(), "wiping goes on after what is wiped already");
                    assert_eq!(everything(ledger.db()).await.1, before.1);
                } else {
                    done.expect_err("refused");
                    assert_eq!(everything(ledger.db()).await, before, "{what:?} of a key that is {state}");
                }
            }
        }
    });
}

#[test]
fn only_a_pre_active_key_is_promoted_and_only_over_one_active_key() {
    for_each_ledger(async |ledger| {
        for state in KeyState::iter() {
            let w = World::at(ledger.db(), Planning).await;
            let stored = if state == KeyState::Active { KeyState::PreActive } else { state };
            let other = key(ledger.db(), &w.keyset, 3, stored).await;
            let w = World { new: if state == KeyState::Active { w.old } else { other }, ..w };
            let before = everything(ledger.db()).await;
            let done = on_rotation(&ledger, Promote, &w, 0).await;
            if state == KeyState::PreActive {
                assert!(done.unwrap());
                let (old, new) = (key_row(ledger.db(), w.old).await, key_row(ledger.db(), w.new).await);
                assert_eq!((old.state, new.state, new.generation), (KeyState::Deactivated, KeyState::Active, 1));
                assert_eq!(keys::retired_by(ledger.db(), w.id).await.unwrap(), [old]);
            } else {
                done.expect_err("refused");
                assert_eq!(everything(ledger.db()).await, before, "promoting a key that is {state}");
            }
        }
    });
}
