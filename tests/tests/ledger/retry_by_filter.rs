//! Retries by filter: what is named, what of it is applied, what is skipped.

use reseal_entities::{
    batches,
    ledger::{
        Ledger, LedgerError,
        retry::{Retried, RetryFilter, retry_matching},
    },
    quarantine::QuarantineState::*,
    state::{BatchState, RotationState},
};
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait};

use crate::{
    ground::{alone, for_each_ledger, run},
    rows::{World, bad_row, batch},
};

async fn retried(ledger: &Ledger, w: &World, filter: RetryFilter) -> Result<Retried, LedgerError> {
    alone(ledger, async |txn| retry_matching(txn, "ada", w.id, &filter).await).await
}

fn counted(matched: u64, applied: u64, rows: u64) -> Retried {
    Retried { matched, applied, skipped: matched - applied, rows }
}

async fn failed_for(db: &impl ConnectionTrait, w: &World, code: &str) -> batches::Model {
    let b = w.batch(db, BatchState::Failed).await;
    run(db, format!("UPDATE reseal_batches SET code = '{code}' WHERE id = {}", b.id)).await;
    b
}

#[test]
fn nothing_set_means_every_failed_batch_and_no_row() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Reencrypting).await;
        let failed = [failed_for(db, &w, "a").await, failed_for(db, &w, "b").await];
        let done = w.batch(db, BatchState::Done).await;
        let row = w.bad_row(db, Some(done.id), Open).await;
        assert_eq!(retried(&ledger, &w, RetryFilter::default()).await.unwrap(), counted(2, 2, 0));
        for b in failed {
            let now = batch(db, b.id).await;
            assert_eq!((now.state, now.attempts, now.due_at), (BatchState::Pending, 0, 0));
        }
        assert_eq!(batch(db, done.id).await, done);
        assert_eq!(bad_row(db, row.id).await, row);
        assert_eq!(retried(&ledger, &w, RetryFilter::default()).await.unwrap(), counted(0, 0, 0), "none is left");
    });
}

#[test]
fn a_code_and_a_table_each_leave_what_they_do_not_name() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Reencrypting).await;
        let elsewhere = w.another_table(db, "main", "notes").await;
        let (here, other_code) = (failed_for(db, &w, "a").await, failed_for(db, &w, "b").await);
        let there = failed_for(db, &elsewhere, "a").await;
        let filter =
            RetryFilter { code: Some("a".into()), table: Some("main:public.notes".into()), ..RetryFilter::default() };
        assert_eq!(retried(&ledger, &w, filter).await.unwrap(), counted(1, 1, 0));
        assert_eq!(batch(db, there.id).await.state, BatchState::Pending);
        let by_code = RetryFilter { code: Some("a".into()), ..RetryFilter::default() };
        assert_eq!(retried(&ledger, &w, by_code).await.unwrap(), counted(1, 1, 0));
        assert_eq!(batch(db, here.id).await.state, BatchState::Pending);
        assert_eq!(batch(db, other_code.id).await.state, BatchState::Failed);
        let by_table = RetryFilter { table: Some("messages".into()), ..RetryFilter::default() };
        assert_eq!(retried(&ledger, &w, by_table).await.unwrap(), counted(1, 1, 0));
        assert_eq!(batch(db, other_code.id).await.state, BatchState::Pending);
    });
}

#[test]
fn a_table_that_is_unknown_or_not_clear_is_refused() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        w.another_table(ledger.db(), "second", "messages").await;
        for (name, code) in [("letters", "unknown_table"), ("messages", "ambiguous_table")] {
            let filter = RetryFilter { table: Some(name.into()), ..RetryFilter::default() };
            assert_eq!(retried(&ledger, &w, filter).await.unwrap_err().code(), code);
        }
    });
}

#[test]
fn a_named_batch_that_is_not_failed_any_more_is_skipped() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Reencrypting).await;
        let mut ids = vec![999_999];
        for state in [BatchState::Failed, BatchState::Pending, BatchState::Leased, BatchState::Done] {
            ids.push(w.batch(db, state).await.id);
        }
        let other = World::at(db, RotationState::Reencrypting).await.batch(db, BatchState::Failed).await;
        let unnamed = failed_for(db, &w, "a").await;
        ids.push(other.id);
        let named = RetryFilter { batch_ids: Some(ids), ..RetryFilter::default() };
        assert_eq!(retried(&ledger, &w, named.clone()).await.unwrap(), counted(4, 1, 0), "two of them are not its own");
        assert_eq!(batch(db, other.id).await, other, "another rotation's");
        assert_eq!(batch(db, unnamed.id).await.state, BatchState::Failed);
        assert_eq!(retried(&ledger, &w, named.clone()).await.unwrap(), counted(4, 0, 0), "done again: all are skipped");
        let by_code = RetryFilter { code: Some("none has it".into()), ..named };
        assert_eq!(retried(&ledger, &w, by_code).await.unwrap(), counted(0, 0, 0), "what does not fit is not matched");
        let none = RetryFilter { batch_ids: Some(Vec::new()), ..RetryFilter::default() };
        assert_eq!(retried(&ledger, &w, none).await.unwrap(), counted(0, 0, 0), "no batch named is no batch");
    });
}

#[test]
fn rows_with_a_code_are_looked_at_again_with_their_batches_and_no_others() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Reencrypting).await;
        let mut rows = Vec::new();
        for code in ["truncated", "truncated", "unknown_key"] {
            let b = w.batch(db, BatchState::Done).await;
            let row = w.bad_row(db, Some(b.id), Open).await;
            run(db, format!("UPDATE reseal_quarantine SET code = '{code}' WHERE id = {}", row.id)).await;
            rows.push(row);
        }
        let swept = w.bad_row(db, None, Open).await;
        let at_work = w.batch(db, BatchState::Leased).await;
        let worked_on = w.bad_row(db, Some(at_work.id), Open).await;
        // given a failed batch for another code in which a row was left by an earlier retry
        let earlier = failed_for(db, &w, "source_unreachable").await;
        let left = w.bad_row(db, Some(earlier.id), Retrying).await;
        run(db, format!("UPDATE reseal_quarantine SET code = 'unknown_key' WHERE id = {}", left.id)).await;

        let filter = RetryFilter { code: Some("truncated".into()), quarantined: true, ..RetryFilter::default() };
        assert_eq!(retried(&ledger, &w, filter.clone()).await.unwrap(), counted(2, 2, 3));
        for row in &rows[..2] {
            assert_eq!(bad_row(db, row.id).await.state, Retrying);
            assert_eq!(batch(db, row.batch_id.unwrap()).await.state, BatchState::Pending);
        }
        assert_eq!(bad_row(db, swept.id).await.state, Retrying, "the sweep looks at it");
        assert_eq!(bad_row(db, worked_on.id).await.state, Open, "its batch has passed it and goes on");
        assert_eq!(bad_row(db, rows[2].id).await.state, Open, "of another code");
        assert_eq!(batch(db, rows[2].batch_id.unwrap()).await.state, BatchState::Done);
        assert_eq!(batch(db, earlier.id).await.state, BatchState::Failed, "its row was not asked for");
    });
}

#[test]
fn rows_of_a_rotation_that_proves_are_left_to_its_sweep() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Proving).await;
        let b = w.batch(db, BatchState::Done).await;
        let row = w.bad_row(db, Some(b.id), Open).await;
        let filter = RetryFilter { batch_ids: Some(vec![b.id]), quarantined: true, ..RetryFilter::default() };
        assert_eq!(retried(&ledger, &w, filter).await.unwrap(), counted(1, 0, 1));
        assert_eq!(batch(db, b.id).await.state, BatchState::Done);
        let row = bad_row(db, row.id).await;
        assert_eq!((row.state, row.batch_id), (Retrying, None));
    });
}

/// More than a statement takes values, on either database.
#[test]
fn seventy_thousand_named_batches_are_retried_at_once() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Reencrypting).await;
        let first = failed_for(db, &w, "a").await;
        run(
            db,
            format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 69999)
                 INSERT INTO reseal_batches (rotation_id, planned_table_id, up_to_key, rows, state, epoch, rows_counted,
                                             barren_claims, attempts, due_at, next_ring_at, rings)
                 SELECT {}, {}, '1', 1, 'failed', 1, 0, 0, 8, 0, 0, 0 FROM n",
                w.id, w.table
            ),
        )
        .await;
        assert_eq!(batches::Entity::find().count(db).await.unwrap(), 70_000);
        let filter = RetryFilter { batch_ids: Some((first.id..first.id + 70_000).collect()), ..RetryFilter::default() };
        assert_eq!(retried(&ledger, &w, filter).await.unwrap(), counted(70_000, 70_000, 0));
        assert_eq!(run(db, "UPDATE reseal_batches SET rings = 0 WHERE state <> 'pending'").await, 0);
    });
}

/// A mistyped field would otherwise be a filter that names everything.
#[test]
fn a_filter_with_a_field_that_is_unknown_is_no_filter() {
    let parse = |text: &str| serde_json::from_str::<RetryFilter>(text);
    assert_eq!(parse(r#"{"code": "a"}"#).unwrap(), RetryFilter { code: Some("a".into()), ..RetryFilter::default() });
    assert!(parse(r#"{"codes": "a"}"#).is_err());
}
