//! How each try at a batch ended: written down once, with what ended it, by nobody who is late.

use reseal_entities::{
    batches,
    ledger::{
        Ledger,
        attempts::{self, Attempt, AttemptOutcome, TOLD_MAX},
        claim, now_ms,
        plan::Bound,
        report::{self, Delta},
        retry::{What, retry},
        split,
    },
    quarantine::QuarantineState,
    state::{BatchState, RotationState},
};

use crate::{
    ground::{alone, for_each_ledger, run},
    rows::{World, batch},
};

const TEN: Delta = Delta { rows_done: 10, reencrypted: 9, changed_underneath: 1 };

async fn told(ledger: &Ledger, batch_id: i64) -> Vec<Attempt> {
    attempts::of_batch(ledger.db(), batch_id).await.unwrap()
}

/// Claims it, whoever held it.
async fn claimed(ledger: &Ledger, batch_id: i64, worker: &str) -> batches::Model {
    run(ledger.db(), format!("UPDATE reseal_batches SET lease_until = 1, due_at = 0 WHERE id = {batch_id}")).await;
    claim::claim_if_due(ledger.db(), batch_id, worker).await.unwrap().expect("claimed").batch
}

async fn checkpointed(ledger: &Ledger, held: &batches::Model) {
    let kept = alone(ledger, async |txn| report::checkpoint_if_held(txn, held, Some("10"), TEN, 0).await);
    assert_ne!(kept.await.unwrap(), report::Hold::Lost);
}

async fn released(ledger: &Ledger, held: &batches::Model, failure: Option<(&str, &str)>) {
    let released = alone(ledger, async |txn| report::release_if_held(txn, held, 0, failure).await);
    assert!(released.await.unwrap());
}

async fn reported(ledger: &Ledger, held: &batches::Model) {
    assert!(alone(ledger, async |txn| report::report_if_held(txn, held, TEN, 0).await).await.unwrap());
}

async fn failed(ledger: &Ledger, held: &batches::Model) {
    let failed = alone(ledger, async |txn| report::fail_if_held(txn, held, "source_busy", "no connection").await);
    assert!(failed.await.unwrap());
}

#[test]
fn each_try_that_did_not_do_its_batch_is_told_in_order_and_the_one_that_did() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        let before = now_ms(ledger.db()).await.unwrap();
        let first = claimed(&ledger, b.id, "one").await;
        checkpointed(&ledger, &first).await;
        released(&ledger, &first, Some(("source_busy", "no connection"))).await;
        released(&ledger, &claimed(&ledger, b.id, "two").await, None).await;
        failed(&ledger, &claimed(&ledger, b.id, "three").await).await;
        alone(&ledger, async |txn| retry(txn, "ada", w.id, What::Batch(b.id)).await).await.unwrap();
        reported(&ledger, &claimed(&ledger, b.id, "four").await).await;
        let after = now_ms(ledger.db()).await.unwrap();

        let told = told(&ledger, b.id).await;
        let some = |s: &str| Some(s.to_owned());
        let each: Vec<_> =
            told.iter().map(|a| (a.epoch, a.worker.clone(), a.outcome, a.code.clone(), a.rows_done)).collect();
        let expected = [
            (1, some("one"), AttemptOutcome::Released, some("source_busy"), 10),
            (2, some("two"), AttemptOutcome::Released, None, 0),
            (3, some("three"), AttemptOutcome::Failed, some("source_busy"), 0),
            (4, some("four"), AttemptOutcome::Done, None, 10),
        ];
        assert_eq!(each, expected);
        assert_eq!(told[2].detail.as_deref(), Some("no connection"));
        let times: Vec<i64> = told.iter().flat_map(|a| [a.began_at.unwrap(), a.ended_at]).collect();
        assert!(times.is_sorted() && before <= times[0] && times[7] <= after, "{before} {times:?} {after}");
        assert_eq!(attempts::lost(&batch(ledger.db(), b.id).await, &told), [0i64; 0]);
    });
}

/// As nearly every batch is.
#[test]
fn a_batch_that_is_done_at_the_first_try_costs_no_row() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        let held = claimed(&ledger, b.id, "one").await;
        assert_eq!(attempts::lost(&held, &[]), [0i64; 0], "it is in hand");
        reported(&ledger, &held).await;
        assert!(told(&ledger, b.id).await.is_empty());
        assert_eq!(attempts::lost(&batch(ledger.db(), b.id).await, &[]), [0i64; 0]);
    });
}

#[test]
fn a_first_try_is_told_once_its_batch_is_done_again() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let (b, other) =
            (w.batch(ledger.db(), BatchState::Pending).await, w.batch(ledger.db(), BatchState::Done).await);
        reported(&ledger, &claimed(&ledger, b.id, "one").await).await;
        w.bad_row(ledger.db(), Some(b.id), QuarantineState::Open).await;
        alone(&ledger, async |txn| retry(txn, "ada", w.id, What::All).await).await.unwrap();
        reported(&ledger, &claimed(&ledger, b.id, "two").await).await;
        let told_of = told(&ledger, b.id).await;
        let each: Vec<_> = told_of.iter().map(|a| (a.epoch, a.worker.as_deref(), a.outcome)).collect();
        assert_eq!(each, [(1, Some("one"), AttemptOutcome::Done), (2, Some("two"), AttemptOutcome::Done)]);
        assert_eq!((told_of[0].began_at, told_of[0].ended_at <= told_of[1].ended_at), (None, true));
        assert_eq!(attempts::lost(&batch(ledger.db(), b.id).await, &told_of), [0i64; 0]);
        assert!(told(&ledger, other.id).await.is_empty(), "nobody asked for it again");
    });
}

#[test]
fn a_worker_that_died_is_known_by_its_epoch_of_which_no_try_tells() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        claimed(&ledger, b.id, "dies").await;
        released(&ledger, &claimed(&ledger, b.id, "two").await, None).await;
        claimed(&ledger, b.id, "dies, too").await;
        let held = claimed(&ledger, b.id, "four").await;
        assert_eq!(attempts::lost(&held, &told(&ledger, b.id).await), [1, 3]);
        reported(&ledger, &held).await;
        assert_eq!(attempts::lost(&batch(ledger.db(), b.id).await, &told(&ledger, b.id).await), [1, 3]);
    });
}

#[test]
fn a_worker_that_is_late_writes_no_try() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        claimed(&ledger, b.id, "before").await;
        let late = claimed(&ledger, b.id, "late").await;
        claimed(&ledger, b.id, "now").await;
        let middle = Bound { up_to_key: "50".into(), rows: 50 };
        let wrote = alone(&ledger, async |txn| {
            Ok([
                report::report_if_held(txn, &late, TEN, 0).await?,
                report::release_if_held(txn, &late, 0, Some(("code", "detail"))).await?,
                report::fail_if_held(txn, &late, "code", "detail").await?,
                report::split_if_held(txn, &late, &middle, 50).await?,
            ])
        });
        assert_eq!(wrote.await.unwrap(), [false; 4]);
        assert!(told(&ledger, b.id).await.is_empty());
    });
}

#[test]
fn a_try_is_kept_only_with_what_ended_it() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        let held = claimed(&ledger, b.id, "one").await;
        let txn = ledger.begin().await.unwrap();
        assert!(report::fail_if_held(&txn, &held, "code", "detail").await.unwrap());
        txn.rollback().await.unwrap();
        assert!(told(&ledger, b.id).await.is_empty());
        assert_eq!(batch(ledger.db(), b.id).await, held);
    });
}

#[test]
fn a_split_ends_a_try_and_its_parts_begin_without_one() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        alone(&ledger, async |txn| split::ask(txn, "ada", b.id).await).await.unwrap();
        let held = claimed(&ledger, b.id, "one").await;
        let middle = Bound { up_to_key: "50".into(), rows: 50 };
        assert!(alone(&ledger, async |txn| report::split_if_held(txn, &held, &middle, 50).await).await.unwrap());
        let each: Vec<_> = told(&ledger, b.id).await.iter().map(|a| (a.epoch, a.outcome)).collect();
        assert_eq!(each, [(1, AttemptOutcome::Split)]);
        assert_eq!(attempts::lost(&batch(ledger.db(), b.id).await, &told(&ledger, b.id).await), [0i64; 0]);
        assert!(told(&ledger, b.id + 1).await.is_empty() && told(&ledger, b.id + 2).await.is_empty());
    });
}

#[test]
fn of_very_many_tries_the_last_hundred_are_told() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        let most = TOLD_MAX as i64;
        for n in 0..most + 2 {
            let held = claimed(&ledger, b.id, "w").await;
            if n != 5 {
                released(&ledger, &held, None).await;
            }
        }
        let told = told(&ledger, b.id).await;
        let epochs: Vec<i64> = told.iter().map(|a| a.epoch).collect();
        let expected: Vec<i64> = (2..=most + 2).filter(|epoch| *epoch != 6).collect();
        assert_eq!(epochs, expected);
        assert_eq!(attempts::lost(&batch(ledger.db(), b.id).await, &told), [6]);
        let long_ago = batches::Model { epoch: 1_000_000_000, ..batch(ledger.db(), b.id).await };
        assert_eq!(attempts::lost(&long_ago, &[]).len(), TOLD_MAX as usize, "nobody reads more of them either");
    });
}
