//! What stood still is due at once when it may move again: no ring that was used up meanwhile is waited for.

use reseal_entities::{
    batches,
    ledger::{
        Ledger, approve, cancel, claim, dispatch, hold,
        open::{Opened, Request, open_if_none_is},
        report::{self, Delta, Hold},
        steps,
        throttle::{self, Decision, Limits, Pace},
    },
    state::{BatchState, RotationState},
};

use crate::{
    ground::{alone, for_each_ledger, run},
    rows::{World, batch, later},
};

/// A batch that was rung for a moment ago, and will be again in about a minute.
async fn rung(ledger: &Ledger, w: &World) -> batches::Model {
    let b = w.batch(ledger.db(), BatchState::Pending).await;
    dispatch::note_batch_rings(ledger.db(), &[b.id]).await.unwrap();
    assert!(!is_due(ledger, b.id).await);
    b
}

async fn is_due(ledger: &Ledger, id: i64) -> bool {
    let all = dispatch::Of::AllBut(Vec::new());
    dispatch::due_batches(ledger.db(), &all, 100).await.unwrap().iter().any(|due| due.id == id)
}

async fn set(ledger: &Ledger, w: &World, what: &str) {
    run(ledger.db(), format!("UPDATE reseal_rotations SET {what} WHERE id = {}", w.id)).await;
}

#[test]
fn resuming_makes_every_batch_and_the_step_due_at_once() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let (one, two) = (rung(&ledger, &w).await, rung(&ledger, &w).await);
        dispatch::note_rotation_ring(ledger.db(), w.id, dispatch::RING_AGAIN_MS).await.unwrap();
        alone(&ledger, async |txn| steps::pause(txn, w.id, "ada", None).await).await.unwrap();
        assert!(!is_due(&ledger, one.id).await);
        alone(&ledger, async |txn| steps::resume(txn, w.id, "ada").await).await.unwrap();
        assert!(is_due(&ledger, one.id).await && is_due(&ledger, two.id).await);
        assert!(dispatch::due_rotations(ledger.db()).await.unwrap().iter().any(|r| r.id == w.id));
    });
}

#[test]
fn a_claim_that_is_refused_gives_its_ring_back() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = rung(&ledger, &w).await;
        set(&ledger, &w, "paused_at = 1").await;
        assert!(claim::claim_if_due(ledger.db(), b.id, "w").await.unwrap().is_none());
        let refused = batch(ledger.db(), b.id).await;
        assert_eq!((refused.state, refused.epoch, refused.next_ring_at), (BatchState::Pending, 0, 0));
        set(&ledger, &w, "paused_at = NULL").await;
        assert!(is_due(&ledger, b.id).await);
        assert!(claim::claim_if_due(ledger.db(), b.id, "w").await.unwrap().is_some());
    });
}

#[test]
fn lifting_a_stop_makes_what_was_rung_due_at_once() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = rung(&ledger, &w).await;
        set(&ledger, &w, "pace_rows_per_hour = 0, pace_code = 'replica_lag'").await;
        throttle::publish_if_open(ledger.db(), &w.rotation(ledger.db()).await, &Decision::default(), 0).await.unwrap();
        assert!(is_due(&ledger, b.id).await);
    });
}

#[test]
fn approving_and_dismissing_make_the_clearing_due_at_once() {
    for_each_ledger(async |ledger| {
        let later = later(ledger.db()).await;
        for held in ["needs_approval = true, proved_at = 1", "hold_at = 1, hold_detail = 'used'"] {
            let w = World::at(ledger.db(), RotationState::Waiting).await;
            set(&ledger, &w, &format!("{held}, step_due_at = {later}, next_ring_at = {later}")).await;
            alone(&ledger, async |txn| {
                if held.starts_with("hold") {
                    hold::dismiss(txn, "bob", w.id, "looked", None).await.map(|_| ())
                } else {
                    approve::approve(txn, "bob", w.id, None).await.map(|_| ())
                }
            })
            .await
            .unwrap();
            assert!(dispatch::due_rotations(ledger.db()).await.unwrap().iter().any(|r| r.id == w.id), "{held}");
        }
    });
}

#[test]
fn a_step_that_was_paused_under_its_worker_is_free_when_the_worker_has_left() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Proving).await;
        let states = [RotationState::Proving];
        let held = steps::claim_if_due(ledger.db(), w.id, "a", &states).await.unwrap().unwrap();
        alone(&ledger, async |txn| steps::pause(txn, w.id, "ada", None).await).await.unwrap();
        steps::let_go_if_held(ledger.db(), w.id, held.step_epoch).await.unwrap();
        alone(&ledger, async |txn| steps::resume(txn, w.id, "ada").await).await.unwrap();
        let next = steps::claim_if_due(ledger.db(), w.id, "b", &states).await.unwrap().unwrap();
        // and who left before takes nothing from who came after
        steps::let_go_if_held(ledger.db(), w.id, held.step_epoch).await.unwrap();
        assert_eq!(w.rotation(ledger.db()).await.step_lease_until, next.step_lease_until);
    });
}

#[test]
fn a_limit_holds_from_the_first_row_and_the_batches_in_hand_share_it_from_the_start() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let slow = |_| Limits { rows_per_second: Some(100), ..Limits::default() };
        alone(&ledger, async |txn| throttle::limit_if_open(txn, w.id, "ada", slow).await).await.unwrap();
        // no leader has published anything
        assert_eq!(w.rotation(ledger.db()).await.pace_rows_per_hour, None);
        let mut held = Vec::new();
        for share in [360_000, 180_000, 120_000, 90_000] {
            let b = w.batch(ledger.db(), BatchState::Pending).await;
            let claimed = claim::claim_if_due(ledger.db(), b.id, "w").await.unwrap().unwrap();
            assert_eq!(claimed.pace, Pace::RowsPerHour(share));
            held.push(claimed.batch);
        }
        // the first one learns of the others at its next checkpoint, and a limit that is lifted is lifted there, too
        let checkpoint = async || {
            let delta = Delta { rows_done: 1, reencrypted: 1, changed_underneath: 0 };
            alone(&ledger, async |txn| report::checkpoint_if_held(txn, &held[0], Some("1"), delta, 0).await).await
        };
        assert_eq!(checkpoint().await.unwrap(), Hold::Held(Pace::RowsPerHour(90_000)));
        alone(&ledger, async |txn| throttle::limit_if_open(txn, w.id, "ada", |_| Limits::default()).await)
            .await
            .unwrap();
        assert_eq!(checkpoint().await.unwrap(), Hold::Held(Pace::Unlimited));
    });
}

#[test]
fn limits_come_with_the_request_and_pass_to_the_rotation_that_reverses_it() {
    for_each_ledger(async |ledger| {
        let limits = Limits { rows_per_second: Some(500), lanes: Some(2), batches: Some(9) };
        let w = World::at(ledger.db(), RotationState::Completed).await;
        let request = |limits| Request {
            keyset: w.keyset.clone(),
            to_key_id: None,
            actor: "ada".into(),
            reason: None,
            idempotency_key: None,
            clear_after_ms: 0,
            writer_ttl_ms: 0,
            batch_rows: 100,
            needs_approval: false,
            limits,
        };
        for wrong in [Limits { lanes: Some(0), ..limits }, Limits { rows_per_second: Some(i64::MAX), ..limits }] {
            let refused = alone(&ledger, async |txn| open_if_none_is(txn, &request(wrong)).await).await.unwrap_err();
            assert_eq!(refused.code(), "invalid_limit");
        }
        let opened = alone(&ledger, async |txn| open_if_none_is(txn, &request(limits)).await).await.unwrap();
        let Opened::Created(id) = opened else { panic!("{opened:?}") };
        let limited = reseal_entities::ledger::read::rotation(ledger.db(), id).await.unwrap();
        assert_eq!(limited.limits(), limits);

        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        set(&ledger, &w, "limit_rows_per_second = 500, limit_lanes = 2, limit_batches = 9").await;
        let turned = alone(&ledger, async |txn| cancel::roll_back(txn, "ada", w.id, None).await).await.unwrap();
        let reverse = reseal_entities::ledger::read::rotation(ledger.db(), turned.reverse).await.unwrap();
        assert_eq!(reverse.limits(), limits);
    });
}
