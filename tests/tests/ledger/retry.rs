//! Quarantined rows and retries: found, found again, looked at again, settled.

use reseal_entities::{
    batches,
    ledger::{
        Ledger, claim, close,
        plan::Bound,
        quarantine::{self, Finding},
        report::{self, Delta},
        retry::{Retried, What, retry},
    },
    quarantine::{
        Model,
        QuarantineState::{self, *},
    },
    state::{BatchState, RotationState},
};
use sea_orm::Iterable;

use crate::{
    ground::{alone, for_each_ledger},
    rows::{World, bad_row, batch},
};

fn finding(row_key: &str, code: &'static str) -> Finding {
    Finding { row_key: row_key.into(), column_name: "cell".into(), code, found_key_id: None, cell_bytes: 4 }
}

async fn found(ledger: &Ledger, w: &World, batch_id: Option<i64>, findings: &[Finding]) {
    quarantine::found(ledger.db(), w.id, w.table, batch_id, findings).await.unwrap();
}

async fn rows(ledger: &Ledger, w: &World) -> Vec<Model> {
    quarantine::list(ledger.db(), Some(w.id), true, 1_000).await.unwrap()
}

async fn again(ledger: &Ledger, w: &World, what: What) -> Retried {
    alone(ledger, async |txn| retry(txn, "ada", w.id, what).await).await.unwrap()
}

/// Every batch that was named was applied.
fn retried(batches: u64, rows: u64) -> Retried {
    Retried { matched: batches, applied: batches, skipped: 0, rows }
}

async fn claimed(ledger: &Ledger, id: i64) -> batches::Model {
    claim::claim_if_due(ledger.db(), id, "w").await.unwrap().expect("claimed").batch
}

async fn reported(ledger: &Ledger, held: &batches::Model) {
    let done = alone(ledger, async |txn| report::report_if_held(txn, held, Delta::default(), 0).await);
    assert!(done.await.unwrap());
}

#[test]
fn a_cell_that_is_found_twice_is_one_row_with_what_is_wrong_now() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Leased).await;
        found(&ledger, &w, Some(b.id), &[finding("1", "truncated"), finding("2", "truncated")]).await;
        found(&ledger, &w, Some(b.id), &[finding("1", "unknown_key")]).await;
        let rows = rows(&ledger, &w).await;
        let told: Vec<_> = rows.iter().map(|r| (r.row_key.as_str(), r.code.as_str(), r.state)).collect();
        assert_eq!(told, [("2", "truncated", Open), ("1", "unknown_key", Open)]);
    });
}

#[test]
fn more_findings_than_fit_into_one_statement_are_all_kept() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let many: Vec<Finding> = (0..450).map(|n| finding(&n.to_string(), "truncated")).collect();
        found(&ledger, &w, None, &many).await;
        assert_eq!(rows(&ledger, &w).await.len(), 450);
    });
}

#[test]
fn a_retried_row_that_is_not_found_again_is_resolved_by_its_batchs_report() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let (b, other) = (w.batch(ledger.db(), BatchState::Done).await, w.batch(ledger.db(), BatchState::Leased).await);
        found(&ledger, &w, Some(b.id), &[finding("1", "truncated"), finding("2", "truncated")]).await;
        assert_eq!(again(&ledger, &w, What::Batch(b.id)).await, retried(1, 2));
        assert!(rows(&ledger, &w).await.iter().all(|r| r.state == Retrying));
        let reset = batch(ledger.db(), b.id).await;
        assert_eq!((reset.state, reset.cursor, reset.attempts), (BatchState::Pending, None, 0));

        reported(&ledger, &other).await;
        assert!(rows(&ledger, &w).await.iter().all(|r| r.state == Retrying), "another batch's report settles nothing");

        let held = claimed(&ledger, b.id).await;
        found(&ledger, &w, Some(b.id), &[finding("1", "unknown_key")]).await;
        reported(&ledger, &held).await;
        let after = rows(&ledger, &w).await;
        assert_eq!((after[1].state, after[1].code.as_str()), (Open, "unknown_key"), "found again is open again");
        assert_eq!((after[0].state, after[0].resolved_at.is_some()), (Resolved, true));
    });
}

#[test]
fn a_report_settles_no_row_that_nobody_asked_to_be_retried() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Leased).await;
        found(&ledger, &w, Some(b.id), &[finding("1", "truncated")]).await;
        reported(&ledger, &b).await;
        assert_eq!(rows(&ledger, &w).await[0].state, Open);
    });
}

/// The row's own batch is still being worked on, past the row.
#[test]
fn a_retried_row_is_not_resolved_before_it_was_looked_at_again() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Leased).await;
        found(&ledger, &w, Some(b.id), &[finding("10", "truncated")]).await;
        alone(&ledger, async |txn| report::checkpoint_if_held(txn, &b, Some("50"), Delta::default(), 0).await)
            .await
            .unwrap();
        let _ = alone(&ledger, async |txn| retry(txn, "ada", w.id, What::All).await).await;
        let still_held =
            alone(&ledger, async |txn| report::report_if_held(txn, &b, Delta::default(), 0).await).await.unwrap();
        let row = rows(&ledger, &w).await.remove(0);
        assert_ne!(row.state, Resolved, "the batch went on from its cursor (still held: {still_held})");
    });
}

/// The same for a batch that was given back and waits with its cursor past the row.
#[test]
fn a_retried_row_of_a_batch_that_waits_is_looked_at_again() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Leased).await;
        found(&ledger, &w, Some(b.id), &[finding("10", "truncated")]).await;
        alone(&ledger, async |txn| report::checkpoint_if_held(txn, &b, Some("50"), Delta::default(), 0).await)
            .await
            .unwrap();
        assert!(report::release_if_held(ledger.db(), &b, 0, None).await.unwrap());
        let _ = alone(&ledger, async |txn| retry(txn, "ada", w.id, What::All).await).await;
        let held = claimed(&ledger, b.id).await;
        let passed = held.cursor.is_some();
        reported(&ledger, &held).await;
        let row = rows(&ledger, &w).await.remove(0);
        assert!(!(passed && row.state == Resolved), "resolved, and no worker looked at it");
    });
}

#[test]
fn a_retried_row_of_a_batch_that_was_split_can_be_settled() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Leased).await;
        found(&ledger, &w, Some(b.id), &[finding("10", "truncated")]).await;
        let split = alone(&ledger, async |txn| {
            report::checkpoint_if_held(txn, &b, Some("20"), Delta::default(), 0).await?;
            report::split_if_held(txn, &batch(txn, b.id).await, &Bound { up_to_key: "60".into(), rows: 40 }, 40).await
        });
        assert!(split.await.unwrap());
        again(&ledger, &w, What::All).await;
        for b in crate::rows::everything(ledger.db()).await.2 {
            if b.state == BatchState::Pending {
                reported(&ledger, &claimed(&ledger, b.id).await).await;
            }
        }
        // no batch looks at it any more, so the sweep must be let to
        assert!(close::close_if_nothing_is_open(&ledger, "w", w.id).await.unwrap());
        quarantine::settle_table(ledger.db(), w.table).await.unwrap();
        assert_eq!(rows(&ledger, &w).await[0].state, Resolved);
    });
}

/// The sweep of a rotation that is proving finds a cell again that a batch had found before.
#[test]
fn a_retry_while_proving_leaves_no_batch_open_that_nobody_can_claim() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Done).await;
        found(&ledger, &w, Some(b.id), &[finding("10", "truncated")]).await;
        let row = rows(&ledger, &w).await.remove(0);
        alone(&ledger, async |txn| {
            quarantine::resolve_if_unresolved(txn, "ada", &row, QuarantineState::Resolved, None).await
        })
        .await
        .unwrap();
        assert!(close::close_if_nothing_is_open(&ledger, "w", w.id).await.unwrap());
        found(&ledger, &w, None, &[finding("10", "truncated")]).await;

        again(&ledger, &w, What::All).await;
        let (rotation, b) = (w.rotation(ledger.db()).await, batch(ledger.db(), b.id).await);
        assert!(
            !(rotation.state == RotationState::Proving && BatchState::OPEN.contains(&b.state)),
            "the rotation is proving, and its batch is {} and cannot be claimed",
            b.state
        );
    });
}

#[test]
fn what_is_not_failed_and_has_no_quarantined_row_is_not_retried() {
    for_each_ledger(async |ledger| {
        for state in BatchState::iter() {
            let w = World::at(ledger.db(), RotationState::Reencrypting).await;
            let b = w.batch(ledger.db(), state).await;
            let done = alone(&ledger, async |txn| retry(txn, "ada", w.id, What::Batch(b.id)).await).await;
            match state {
                BatchState::Failed => assert_eq!(done.unwrap(), retried(1, 0)),
                _ => assert_eq!(done.unwrap_err().code(), "nothing_to_retry", "{state}"),
            }
        }
        let ended = World::at(ledger.db(), RotationState::Completed).await;
        let done = alone(&ledger, async |txn| retry(txn, "ada", ended.id, What::All).await).await;
        assert_eq!(done.unwrap_err().code(), "rotation_ended");
        let done = alone(&ledger, async |txn| retry(txn, "ada", 999_999, What::All).await).await;
        assert_eq!(done.unwrap_err().code(), "unknown_rotation");
    });
}

#[test]
fn a_retry_of_all_touches_no_other_rotation() {
    for_each_ledger(async |ledger| {
        let (w, other) = (
            World::at(ledger.db(), RotationState::Reencrypting).await,
            World::at(ledger.db(), RotationState::Reencrypting).await,
        );
        let theirs = other.batch(ledger.db(), BatchState::Failed).await;
        let row = other.bad_row(ledger.db(), Some(theirs.id), Open).await;
        w.batch(ledger.db(), BatchState::Failed).await;
        let with_row = w.batch(ledger.db(), BatchState::Done).await;
        w.bad_row(ledger.db(), Some(with_row.id), Open).await;
        assert_eq!(again(&ledger, &w, What::All).await, retried(2, 1));
        assert_eq!(batch(ledger.db(), theirs.id).await, theirs);
        assert_eq!(bad_row(ledger.db(), row.id).await, row);
    });
}

#[test]
fn a_row_is_resolved_by_a_person_once() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        for state in QuarantineState::iter() {
            let row = w.bad_row(ledger.db(), None, state).await;
            let done = alone(&ledger, async |txn| {
                quarantine::keep_bytes_if_unresolved(txn, "w", &row, vec![9]).await?; // none: resolved by then
                quarantine::resolve_if_unresolved(txn, "ada", &row, Abandoned, Some("lost")).await
            });
            let unresolved = matches!(state, Open | Retrying);
            assert_eq!(done.await.unwrap(), unresolved, "{state:?}");
            let after = bad_row(ledger.db(), row.id).await;
            if unresolved {
                assert_eq!((after.state, after.abandoned_cell.as_deref()), (Abandoned, Some(&[9u8][..])));
                assert_eq!((after.resolved_by.as_deref(), after.note.as_deref()), (Some("ada"), Some("lost")));
            } else {
                assert_eq!(after, row);
            }
        }
    });
}

/// What a process leaves behind that dies between setting a cell to NULL and noting it, and what is done with it.
#[test]
fn no_row_that_keeps_bytes_ever_keeps_others() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let keep = async |row: &Model, bytes: u8| {
            alone(&ledger, async |txn| quarantine::keep_bytes_if_unresolved(txn, "ada", row, vec![bytes]).await)
                .await
                .unwrap()
        };
        found(&ledger, &w, None, &[finding("1", "truncated")]).await;
        let first = rows(&ledger, &w).await.remove(0);
        assert_eq!(keep(&first, 1).await.unwrap().id, first.id);
        assert_eq!(keep(&first, 1).await.unwrap().id, first.id, "the same bytes again are the same value");
        let second = keep(&first, 2).await.unwrap();
        assert_eq!((second.state, second.live, &second.row_key), (Open, Some(true), &first.row_key));
        assert_eq!(keep(&first, 3).await, None, "it is closed");
        let closed = bad_row(ledger.db(), first.id).await;
        assert_eq!((closed.state, closed.live, closed.resolved_by.as_deref()), (Abandoned, None, Some("ada")));
        assert_eq!(closed.abandoned_cell, Some(vec![1]));
        // found NULL by a sweep, and bad once more
        quarantine::look_again(ledger.db(), w.table).await.unwrap();
        quarantine::settle_table(ledger.db(), w.table).await.unwrap();
        found(&ledger, &w, None, &[finding("1", "truncated")]).await;
        let third = rows(&ledger, &w).await.remove(0);
        assert_ne!(third.id, second.id);
        keep(&third, 3).await.unwrap();
        let kept: Vec<_> = rows(&ledger, &w).await.into_iter().map(|r| r.abandoned_cell.unwrap()).collect();
        assert_eq!(kept, [vec![3], vec![2], vec![1]]);
    });
}
