//! Asking for a key to be cleared: what is in the way is told, and asking clears nothing.

use reseal_entities::{
    ledger::{
        LedgerError,
        clearing::{Clearing, ask, hurry_if_waited},
    },
    quarantine::QuarantineState,
    state::{KeyState, RotationState},
};
use sea_orm::Iterable;

use crate::{
    ground::{for_each_ledger, run},
    rows::{World, column, everything, key, keyset, later, proof},
};

#[test]
fn a_key_is_ready_only_when_every_condition_is_met() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        for state in RotationState::iter() {
            let w = World::at(db, state).await;
            let column = column(db, &w.keyset).await;
            proof(db, w.id, column).await;
            run(db, format!("UPDATE reseal_rotations SET waited_ms = clear_after_ms WHERE id = {}", w.id)).await;
            let before = everything(db).await;
            let asked = ask(db, w.old).await.unwrap();
            assert_eq!(everything(db).await, before, "asking changes nothing");
            let pinned = !matches!(state, RotationState::Requested | RotationState::Planning);
            match (state, asked) {
                (RotationState::Waiting | RotationState::Clearing, Clearing::Ready(ready)) => {
                    assert_eq!(ready.rotation_id, w.id);
                    assert!(ready.gate.iter().all(|c| c.met));
                }
                (RotationState::Completed, Clearing::Destroyed { .. }) => {}
                (_, Clearing::InUse(in_use)) if !matches!(state, RotationState::Waiting | RotationState::Clearing) => {
                    assert_eq!(in_use.rotation_id, pinned.then_some(w.id), "{state}");
                    assert_eq!(LedgerError::from(in_use).code(), "key_in_use");
                }
                (state, other) => panic!("{state}: {other:?}"),
            }
            run(db, format!("UPDATE reseal_catalog SET forgotten_at = 1 WHERE id = {column}")).await;
        }
        assert_eq!(ask(db, 1).await.unwrap_err().code(), "unknown_key");
        let unused = key(db, &keyset(db).await, 1, KeyState::PreActive).await;
        let Clearing::InUse(in_use) = ask(db, unused).await.unwrap() else { panic!("it is pre_active") };
        assert!(in_use.message.contains("no rotation retires it"), "{}", in_use.message);
    });
}

#[test]
fn what_is_not_met_is_told_as_data() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Waiting).await;
        let column = column(db, &w.keyset).await;
        w.bad_row(db, None, QuarantineState::Open).await;
        run(db, format!("UPDATE reseal_rotations SET paused_at = 1, paused_by = 'bob' WHERE id = {}", w.id)).await;
        let Clearing::InUse(in_use) = ask(db, w.old).await.unwrap() else { panic!("nothing is met") };
        let unmet: Vec<_> = in_use.unmet.iter().map(|c| c.what).collect();
        assert_eq!(
            unmet,
            [
                "no row is quarantined",
                "every registered column is proved under the fence",
                "the waiting time is over",
                "nothing holds it"
            ]
        );
        assert!(in_use.message.contains("paused by bob"), "{}", in_use.message);
        run(db, format!("UPDATE reseal_catalog SET forgotten_at = 1 WHERE id = {column}")).await;
    });
}

#[test]
fn a_clearing_is_hurried_only_when_it_may_begin() {
    for_each_ledger(async |ledger| {
        let later = later(ledger.db()).await;
        let db = ledger.db();
        let due = |w: &World| {
            format!(
                "UPDATE reseal_rotations SET step_due_at = {later}, next_ring_at = {later}, waited_ms = clear_after_ms WHERE id = {}",
                w.id
            )
        };
        for state in RotationState::iter() {
            let w = World::at(db, state).await;
            run(db, due(&w)).await;
            let hurried = hurry_if_waited(db, w.id).await.unwrap();
            assert_eq!(hurried, matches!(state, RotationState::Waiting | RotationState::Clearing), "{state}");
            let r = w.rotation(db).await;
            assert_eq!((r.state, r.step_due_at < later, r.next_ring_at == 0), (state, hurried, hurried), "{state}");
        }
        let w = World::at(db, RotationState::Waiting).await;
        for obstacle in [
            "waited_ms = clear_after_ms - 1",
            "hold_at = 1",
            "paused_at = 1",
            "step_failures = 1",
            &format!("step_lease_until = {later}"),
        ] {
            run(db, due(&w)).await;
            run(db, format!("UPDATE reseal_rotations SET {obstacle} WHERE id = {}", w.id)).await;
            let before = w.rotation(db).await;
            assert!(!hurry_if_waited(db, w.id).await.unwrap(), "{obstacle}");
            assert_eq!(w.rotation(db).await, before, "{obstacle}");
            run(db, format!("UPDATE reseal_rotations SET hold_at = NULL, paused_at = NULL, step_failures = 0, step_lease_until = NULL WHERE id = {}", w.id)).await;
        }
    });
}
