//! The waiting time: observed by one, and over before anything is cleared.

use reseal_entities::{
    ledger::{Ledger, clear, prove, scope::Scope},
    state::{KeyState, RotationState},
};

use crate::{
    ground::{alone, for_each_ledger, run},
    rows::{World, column, everything, key_row},
};

async fn set(ledger: &Ledger, w: &World, what: &str) {
    run(ledger.db(), format!("UPDATE reseal_rotations SET {what} WHERE id = {}", w.id)).await;
}

#[test]
fn waiting_time_is_added_only_by_who_observed_last() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Waiting).await;
        let waited = async || w.rotation(ledger.db()).await.waited_ms;
        let add = async |seen, ms| clear::add_waited_if_unseen(ledger.db(), w.id, seen, ms).await.unwrap();

        let first = add(None, 500).await;
        assert_eq!((first.is_some(), waited().await), (true, 0), "the first look has seen nothing pass");
        // an older observation of somebody else's
        set(&ledger, &w, "waited_at = 1").await;
        assert_eq!((add(first, 500).await, waited().await), (None, 0));
        // and on from there
        let second = add(Some(1), 300).await;
        assert_eq!((second.is_some(), waited().await), (true, 300));
        assert_eq!(w.rotation(ledger.db()).await.waited_at, second);
        assert_eq!((add(Some(1), 300).await, waited().await), (None, 300), "the same observation counts once");
        assert!(add(second, -5).await.is_some());
        assert_eq!(waited().await, 300, "time does not run backwards");
    });
}

#[test]
fn no_waiting_time_passes_while_paused_or_not_waiting() {
    for_each_ledger(async |ledger| {
        for what in ["paused_at = 1", "state = 'proving'", "state = 'clearing'", "state = 'completed'"] {
            let w = World::at(ledger.db(), RotationState::Waiting).await;
            set(&ledger, &w, &format!("waited_at = 1, {what}")).await;
            let before = everything(ledger.db()).await;
            for seen in [None, Some(1)] {
                assert_eq!(clear::add_waited_if_unseen(ledger.db(), w.id, seen, 500).await.unwrap(), None, "{what}");
            }
            assert_eq!(everything(ledger.db()).await, before, "{what}");
        }
    });
}

#[test]
fn clearing_is_intended_only_after_the_waiting_time_and_when_nothing_holds_it() {
    for_each_ledger(async |ledger| {
        let cases = [
            ("waited_ms = 0", false),
            ("waited_ms = 999", false),
            ("waited_ms = 5000, hold_at = 1", false),
            ("waited_ms = 5000, paused_at = 1", false),
            ("waited_ms = 1000, clear_after_ms = 1001", false),
            ("waited_ms = 1000", true),
            ("waited_ms = 5000", true),
            ("waited_ms = 0, clear_after_ms = 0", true),
        ];
        for (what, may) in cases {
            let w = World::at(ledger.db(), RotationState::Waiting).await;
            set(&ledger, &w, what).await;
            let before = everything(ledger.db()).await;
            let r = w.rotation(ledger.db()).await;
            let intended = alone(&ledger, async |txn| clear::intend_if_waited(txn, "w", &r).await).await.unwrap();
            assert_eq!(intended, may, "{what}");
            if may {
                assert_eq!(w.rotation(ledger.db()).await.state, RotationState::Clearing, "{what}");
            } else {
                assert_eq!(everything(ledger.db()).await, before, "{what}");
            }
        }
    });
}

#[test]
fn a_hold_or_a_pause_after_the_intent_keeps_the_key() {
    for_each_ledger(async |ledger| {
        for what in ["hold_at = 1", "paused_at = 1", "state = 'proving'", "step_epoch = 8"] {
            let w = World::at(ledger.db(), RotationState::Clearing).await;
            crate::rows::proof(ledger.db(), w.id, column(ledger.db(), &w.keyset).await).await;
            let r = w.rotation(ledger.db()).await;
            set(&ledger, &w, what).await;
            let before = everything(ledger.db()).await;
            let wiped = alone(&ledger, async |txn| clear::wipe_if_held(txn, "w", &r, &Scope::default()).await).await;
            assert_eq!(wiped.unwrap_err().code(), "lease_lost", "{what}");
            assert_eq!(everything(ledger.db()).await, before, "{what}");
            run(ledger.db(), "UPDATE reseal_catalog SET forgotten_at = 1").await;
        }
    });
}

fn found(catalog_id: i64) -> prove::Found {
    prove::Found {
        catalog_id,
        cells: 3,
        nulls: 1,
        predicate: "p".into(),
        schema_fingerprint: "s".into(),
        fence_fingerprint: "f".into(),
        scope: "all".into(),
        opened: 10,
    }
}

#[test]
fn a_new_proof_begins_the_waiting_time_anew_and_a_voided_one_gives_the_key_back() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Proving).await;
        let c = column(ledger.db(), &w.keyset).await;
        set(&ledger, &w, "waited_ms = 900, waited_at = 5").await;
        for round in 1..=2 {
            let r = w.rotation(ledger.db()).await;
            alone(&ledger, async |txn| prove::record_if_held(txn, "w", &r, &[found(c)], &Scope::default()).await)
                .await
                .unwrap();
            let r = w.rotation(ledger.db()).await;
            assert_eq!((r.state, r.waited_ms, r.waited_at), (RotationState::Waiting, 0, None));
            assert!(r.proved_at.is_some());
            assert_eq!(prove::current(ledger.db(), w.id).await.unwrap().len(), 1, "round {round}");
            assert_eq!(key_row(ledger.db(), w.old).await.state, KeyState::Suspended);

            set(&ledger, &w, "waited_ms = 900, waited_at = 5").await;
            alone(&ledger, async |txn| prove::void_if_held(txn, "w", &r).await).await.unwrap();
            let r = w.rotation(ledger.db()).await;
            assert_eq!((r.state, r.proved_at), (RotationState::Proving, None));
            assert!(prove::current(ledger.db(), w.id).await.unwrap().is_empty());
            assert_eq!(key_row(ledger.db(), w.old).await.state, KeyState::Deactivated);
        }
    });
}

#[test]
fn a_rotation_ends_only_when_every_key_that_it_retires_is_destroyed() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Clearing).await;
        crate::rows::proof(ledger.db(), w.id, column(ledger.db(), &w.keyset).await).await;
        let r = w.rotation(ledger.db()).await;
        let complete = async || alone(&ledger, async |txn| clear::complete_if_held(txn, "w", &r).await).await;
        assert_eq!(complete().await.unwrap_err().code(), "key_in_use");
        alone(&ledger, async |txn| clear::wipe_if_held(txn, "w", &r, &Scope::default()).await).await.unwrap();
        assert_eq!(key_row(ledger.db(), w.old).await.wrapped_dek, None);
        assert_eq!(key_row(ledger.db(), w.new).await.wrapped_dek, Some(vec![1, 2, 3]));
        complete().await.unwrap();
        let ended = w.rotation(ledger.db()).await;
        assert_eq!((ended.state, ended.open_keyset), (RotationState::Completed, None));
        assert!(ended.completed_at.is_some());
    });
}

/// The statement's own conditions, the law's guard aside: the wipe is refused by whichever comes first.
#[test]
fn a_key_that_was_active_again_is_not_wiped() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Clearing).await;
        crate::rows::proof(ledger.db(), w.id, column(ledger.db(), &w.keyset).await).await;
        run(ledger.db(), format!("UPDATE reseal_keys SET generation = 2 WHERE key_id = {}", w.old)).await;
        let (r, before) = (w.rotation(ledger.db()).await, everything(ledger.db()).await);
        let wiped = alone(&ledger, async |txn| clear::wipe_if_held(txn, "w", &r, &Scope::default()).await).await;
        assert_eq!(wiped.unwrap_err().code(), "key_in_use");
        assert_eq!(everything(ledger.db()).await, before);
    });
}
