//! A batch that a person wants in smaller parts: what may be asked, what becomes of it, what is counted.

use reseal_entities::{
    audit, batches,
    ledger::{
        Ledger, LedgerError, claim,
        plan::Bound,
        read,
        report::{self, Delta},
        retry::{Retried, RetryFilter, What, retry},
        split,
    },
    quarantine::QuarantineState,
    state::{BatchState, RotationState},
};
use sea_orm::{EntityTrait, PaginatorTrait, QueryOrder};

use crate::{
    ground::{alone, for_each_ledger, run},
    rows::{World, bad_row, batch, everything},
};

async fn ask(ledger: &Ledger, batch_id: i64) -> Result<batches::Model, LedgerError> {
    alone(ledger, async |txn| split::ask(txn, "ada", batch_id).await).await
}

async fn claimed(ledger: &Ledger, batch_id: i64) -> batches::Model {
    claim::claim_if_due(ledger.db(), batch_id, "w").await.unwrap().expect("claimed").batch
}

/// Splits it behind the row that is the `rows`th of those that are left, with `rest` behind that.
async fn split_at(ledger: &Ledger, held: &batches::Model, rows: i64, rest: i64) -> [batches::Model; 2] {
    let middle = Bound { up_to_key: "50".into(), rows };
    assert!(alone(ledger, async |txn| report::split_if_held(txn, held, &middle, rest).await).await.unwrap());
    let mut all = everything(ledger.db()).await.2;
    let second = all.pop().expect("a half");
    [all.pop().expect("the other"), second]
}

async fn done(ledger: &Ledger, batch_id: i64) {
    let held = claimed(ledger, batch_id).await;
    let left = Delta { rows_done: held.rows - held.rows_counted, ..Delta::default() };
    assert!(alone(ledger, async |txn| report::report_if_held(txn, &held, left, 0).await).await.unwrap());
}

#[test]
fn a_failed_batch_is_due_again_from_where_it_was_and_says_who_wants_it_smaller() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Failed).await;
        let row = w.bad_row(ledger.db(), Some(b.id), QuarantineState::Open).await;
        run(
            ledger.db(),
            "UPDATE reseal_batches SET cursor = '20', rows_counted = 20, attempts = 8, due_at = 9, code = 'c'",
        )
        .await;
        let asked = ask(&ledger, b.id).await.unwrap();
        assert_eq!(asked, batch(ledger.db(), b.id).await);
        assert_eq!((asked.state, asked.split_asked, asked.attempts, asked.due_at), (BatchState::Pending, true, 0, 0));
        assert_eq!((asked.cursor.as_deref(), asked.rows_counted), (Some("20"), 20));
        assert_eq!(bad_row(ledger.db(), row.id).await, row, "nobody asked for its rows");
        let last = audit::Entity::find().order_by_desc(audit::Column::Seq).one(ledger.db()).await.unwrap().unwrap();
        assert_eq!((last.actor.as_str(), last.action.as_str()), ("ada", "batch.split_asked"));
        assert_eq!(last.subject, format!("batch {}", b.id));
        assert!(claimed(&ledger, b.id).await.split_asked, "its next owner is told");
    });
}

#[test]
fn asking_again_changes_nothing_until_it_has_failed_again() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        let first = ask(&ledger, b.id).await.unwrap();
        let said = audit::Entity::find().count(ledger.db()).await.unwrap();
        let unchanged = async |now: &batches::Model| {
            assert_eq!(&ask(&ledger, b.id).await.unwrap(), now, "while {}", now.state);
            assert_eq!(audit::Entity::find().count(ledger.db()).await.unwrap(), said);
        };
        unchanged(&first).await;
        let held = claimed(&ledger, b.id).await;
        unchanged(&held).await;
        alone(&ledger, async |txn| report::fail_if_held(txn, &held, "c", "d").await).await.unwrap();
        assert_eq!(ask(&ledger, b.id).await.unwrap().state, BatchState::Pending, "it could not be split before");
        let said = audit::Entity::find().count(ledger.db()).await.unwrap();
        let held = claimed(&ledger, b.id).await;
        split_at(&ledger, &held, 50, 50).await;
        assert_eq!(ask(&ledger, b.id).await.unwrap().state, BatchState::Superseded, "it is as was asked");
        assert_eq!(audit::Entity::find().count(ledger.db()).await.unwrap(), said);
    });
}

#[test]
fn what_is_in_hand_or_done_or_one_row_or_past_is_not_split() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let mut refused = Vec::new();
        let w = World::at(db, RotationState::Reencrypting).await;
        for state in [BatchState::Leased, BatchState::Done, BatchState::Superseded] {
            refused.push((w.batch(db, state).await.id, "nothing_to_split"));
        }
        let one_row = w.batch(db, BatchState::Failed).await;
        run(db, format!("UPDATE reseal_batches SET rows = 1 WHERE id = {}", one_row.id)).await;
        refused.push((one_row.id, "nothing_to_split"));
        for state in [RotationState::Proving, RotationState::Waiting] {
            let past = World::at(db, state).await;
            refused.push((past.batch(db, BatchState::Pending).await.id, "nothing_to_split"));
        }
        let ended = World::at(db, RotationState::Cancelled).await;
        refused.push((ended.batch(db, BatchState::Failed).await.id, "rotation_ended"));
        refused.push((999_999, "unknown_batch"));
        let before = everything(db).await;
        for (id, code) in refused {
            assert_eq!(ask(&ledger, id).await.unwrap_err().code(), code, "{id}");
        }
        assert_eq!(everything(db).await, before);
        let planning = World::at(db, RotationState::Planning).await;
        assert!(ask(&ledger, planning.batch(db, BatchState::Failed).await.id).await.unwrap().split_asked);
    });
}

#[test]
fn a_batch_that_is_done_all_the_same_is_not_split_when_it_is_done_again() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        ask(&ledger, b.id).await.unwrap();
        done(&ledger, b.id).await;
        assert!(!batch(ledger.db(), b.id).await.split_asked);
    });
}

#[test]
fn parts_of_parts_name_the_batch_that_was_cut_first() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        let [first, second] = split_at(&ledger, &claimed(&ledger, b.id).await, 50, 50).await;
        assert_eq!((first.part_of, second.part_of), (Some(b.id), Some(b.id)));
        let [a, z] = split_at(&ledger, &claimed(&ledger, second.id).await, 25, 25).await;
        assert_eq!((a.part_of, z.part_of), (Some(b.id), Some(b.id)));
        assert!(!a.split_asked && !z.split_asked, "nobody asked that of them");
        assert_eq!((batch(ledger.db(), b.id).await.part_of, b.part_of), (None, None));
    });
}

/// Progress is what was counted, and it must come out at the planned rows, not beside.
#[test]
fn a_splits_parts_count_each_planned_row_once_and_say_how_many_they_have() {
    for_each_ledger(async |ledger| {
        // Counted of the 100 before, whether its cursor stands behind them, and the rows that are there in each half.
        for (counted, cursor, halves) in [
            (0, None, [50, 50]),
            (20, Some("20"), [40, 40]),
            (20, Some("20"), [70, 70]),
            (20, Some("20"), [10, 10]),
            (100, None, [50, 50]),
            (60, None, [50, 50]),
            (100, Some("20"), [40, 40]),
        ] {
            let w = World::at(ledger.db(), RotationState::Reencrypting).await;
            let b = w.batch(ledger.db(), BatchState::Pending).await;
            run(ledger.db(), format!("UPDATE reseal_planned_tables SET rows = 100 WHERE id = {}", w.table)).await;
            let held = claimed(&ledger, b.id).await;
            let before = Delta { rows_done: counted, ..Delta::default() };
            alone(&ledger, async |txn| report::checkpoint_if_held(txn, &held, cursor, before, 0).await).await.unwrap();
            let parts = split_at(&ledger, &batch(ledger.db(), b.id).await, halves[0], halves[1]).await;
            let what = format!("{counted} {cursor:?} {halves:?} {parts:?}");
            assert_eq!(parts[0].rows, halves[0], "{what}");
            assert!(parts[1].rows >= halves[1], "{what}");
            for part in parts {
                done(&ledger, part.id).await;
            }
            let rows = run(
                ledger.db(),
                format!(
                    "UPDATE reseal_progress SET slot = slot WHERE planned_table_id = {} AND rows_done = 100",
                    w.table
                ),
            );
            assert_eq!(rows.await, 1, "{what}");
            assert_eq!(read::status(ledger.db(), w.id).await.unwrap().rows_done, 100, "{what}");
        }
    });
}

#[test]
fn a_wish_to_split_ends_with_the_failure_that_it_led_to_and_a_retry_is_of_the_whole() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        ask(&ledger, b.id).await.unwrap();
        let held = claimed(&ledger, b.id).await;
        alone(&ledger, async |txn| report::fail_if_held(txn, &held, "c", "d").await).await.unwrap();
        alone(&ledger, async |txn| retry(txn, "ada", w.id, What::Batch(b.id)).await).await.unwrap();
        assert!(!claimed(&ledger, b.id).await.split_asked);
    });
}

#[test]
fn all_failed_batches_of_a_cause_are_asked_for_and_those_of_one_row_are_skipped() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let other = World::at(ledger.db(), RotationState::Reencrypting).await;
        let mut failed = Vec::new();
        for (of, code, rows) in [(&w, "a", 100), (&w, "a", 2), (&w, "a", 1), (&w, "b", 100), (&other, "a", 100)] {
            let b = of.batch(ledger.db(), BatchState::Failed).await;
            run(ledger.db(), format!("UPDATE reseal_batches SET code = '{code}', rows = {rows} WHERE id = {}", b.id))
                .await;
            failed.push(b.id);
        }
        let [waits, held, done] = [BatchState::Pending, BatchState::Leased, BatchState::Done];
        for state in [waits, held, done] {
            let b = w.batch(ledger.db(), state).await;
            run(ledger.db(), format!("UPDATE reseal_batches SET code = 'a' WHERE id = {}", b.id)).await;
        }
        let of_a = RetryFilter { code: Some("a".into()), quarantined: true, ..RetryFilter::default() };
        let before = everything(ledger.db()).await.2;
        assert_eq!(split::count_matching(ledger.db(), w.id, &of_a).await.unwrap(), 2);
        let all = async |filter: &RetryFilter| {
            alone(&ledger, async |txn| split::ask_matching(txn, "ada", w.id, filter).await).await
        };
        let (asked, again) = (all(&of_a).await.unwrap(), all(&of_a).await.unwrap());
        assert_eq!(asked, Retried { matched: 3, applied: 2, skipped: 1, rows: 0 });
        assert_eq!(
            again,
            Retried { matched: 1, applied: 0, skipped: 1, rows: 0 },
            "only the one of one row is failed still"
        );
        for (b, was) in everything(ledger.db()).await.2.into_iter().zip(before) {
            let wanted = failed[..2].contains(&b.id);
            assert_eq!((b.state, b.split_asked), if wanted { (BatchState::Pending, true) } else { (was.state, false) });
        }

        let by_id = RetryFilter { batch_ids: Some(failed.clone()), ..RetryFilter::default() };
        let asked = all(&by_id).await.unwrap();
        assert_eq!(
            asked,
            Retried { matched: 4, applied: 1, skipped: 3, rows: 0 },
            "what is of another rotation does not match"
        );

        for (state, code) in
            [(RotationState::Proving, "nothing_to_split"), (RotationState::Cancelled, "rotation_ended")]
        {
            let past = World::at(ledger.db(), state).await;
            past.batch(ledger.db(), BatchState::Failed).await;
            let refused =
                alone(&ledger, async |txn| split::ask_matching(txn, "ada", past.id, &RetryFilter::default()).await);
            assert_eq!(refused.await.unwrap_err().code(), code);
            assert_eq!(split::count_matching(ledger.db(), past.id, &RetryFilter::default()).await.unwrap(), 0);
        }
    });
}
