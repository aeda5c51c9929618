//! What a retry would do, counted before it: the number that a person is shown is the number that is done.

use reseal_entities::{
    ledger::{
        Ledger, quarantine,
        retry::{Matching, Retried, RetryFilter, count_matching, retry_matching},
    },
    quarantine::QuarantineState,
    state::{BatchState, RotationState},
};
use sea_orm::{ConnectionTrait, Iterable};
use std::time::Duration;

use crate::{
    ground::{alone, for_each_ledger, run},
    rows::{World, everything},
};

const PATIENCE: Duration = Duration::from_secs(10);

async fn counted(ledger: &Ledger, w: &World, filter: &RetryFilter) -> Matching {
    count_matching(ledger.db(), w.id, filter).await.unwrap()
}

/// Does the retry, says what it did, and takes it back.
async fn would_be(ledger: &Ledger, w: &World, filter: &RetryFilter) -> Retried {
    let txn = ledger.begin().await.unwrap();
    let retried = retry_matching(&txn, "ada", w.id, filter).await.unwrap();
    txn.rollback().await.unwrap();
    retried
}

/// In two tables, and for two codes each: a batch in every state with a row in every state and with none, and rows that
/// a sweep found.
async fn of_everything_one(db: &impl ConnectionTrait, state: RotationState) -> (World, World) {
    let here = World::at(db, state).await;
    let there = here.another_table(db, "second", "notes").await;
    for w in [&here, &there] {
        for code in ["a", "b"] {
            for row in QuarantineState::iter().map(Some).chain([None]) {
                for b in BatchState::iter() {
                    let b = w.batch(db, b).await;
                    run(db, format!("UPDATE reseal_batches SET code = '{code}' WHERE id = {}", b.id)).await;
                    let Some(row) = row else { continue };
                    let row = w.bad_row(db, Some(b.id), row).await;
                    run(db, format!("UPDATE reseal_quarantine SET code = '{code}' WHERE id = {}", row.id)).await;
                }
                if let Some(row) = row {
                    w.bad_row(db, None, row).await;
                }
            }
        }
    }
    (here, there)
}

/// Each kind of filter, alone and with the others.
fn filters(some: &[i64]) -> Vec<RetryFilter> {
    let mut filters = Vec::new();
    for quarantined in [false, true] {
        for code in [None, Some("a"), Some("no such code")] {
            for table in [None, Some("second:public.notes")] {
                for batch_ids in [None, Some(some.to_vec()), Some(Vec::new())] {
                    let (code, table) = (code.map(str::to_owned), table.map(str::to_owned));
                    filters.push(RetryFilter { batch_ids, code, table, quarantined });
                }
            }
        }
    }
    filters
}

#[test]
fn what_is_counted_before_a_retry_is_what_it_then_does() {
    for_each_ledger(async |ledger| {
        let mut told = Vec::new();
        for state in [RotationState::Planning, RotationState::Reencrypting, RotationState::Proving] {
            let (w, _) = of_everything_one(ledger.db(), state).await;
            let batches = everything(ledger.db()).await.2.into_iter().filter(|b| b.rotation_id == w.id);
            let every_third: Vec<i64> = batches.map(|b| b.id).step_by(3).collect();
            for filter in filters(&every_third) {
                let (counted, done) = (counted(&ledger, &w, &filter).await, would_be(&ledger, &w, &filter).await);
                assert_eq!((counted.batches, counted.rows), (done.applied, done.rows), "{state}, {filter:?}");
                told.push(counted);
            }
        }
        assert!(
            told.iter().filter(|m| m.batches > 0 && m.rows > 0).count() > 8,
            "there was something to count: {told:?}"
        );
    });
}

#[test]
fn counting_before_a_retry_changes_nothing_and_waits_for_nobody() {
    for_each_ledger(async |ledger| {
        let (w, _) = of_everything_one(ledger.db(), RotationState::Reencrypting).await;
        let all_there_is = async || {
            let rows = quarantine::list(ledger.db(), Some(w.id), true, 1_000).await.unwrap();
            (everything(ledger.db()).await, rows)
        };
        let before = all_there_is().await;
        let all = RetryFilter { quarantined: true, ..RetryFilter::default() };
        let alone = counted(&ledger, &w, &all).await;
        assert_eq!(all_there_is().await, before);
        // given somebody in the middle of a retry
        let txn = ledger.begin().await.unwrap();
        retry_matching(&txn, "ada", w.id, &all).await.unwrap();
        let beside = tokio::time::timeout(PATIENCE, counted(&ledger, &w, &all)).await.expect("it does not wait");
        txn.rollback().await.unwrap();
        assert_eq!(beside, alone);
    });
}

#[test]
fn what_a_retry_would_be_refused_for_is_not_counted() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        w.another_table(ledger.db(), "second", "messages").await;
        for (name, code) in [("letters", "unknown_table"), ("messages", "ambiguous_table")] {
            let filter = RetryFilter { table: Some(name.into()), ..RetryFilter::default() };
            assert_eq!(count_matching(ledger.db(), w.id, &filter).await.unwrap_err().code(), code);
        }
        let ended = World::at(ledger.db(), RotationState::Cancelled).await;
        let nothing = RetryFilter::default();
        assert_eq!(count_matching(ledger.db(), ended.id, &nothing).await.unwrap_err().code(), "rotation_ended");
        assert_eq!(count_matching(ledger.db(), 999_999, &nothing).await.unwrap_err().code(), "unknown_rotation");
        let done = alone(&ledger, async |txn| retry_matching(txn, "ada", ended.id, &nothing).await).await;
        assert_eq!(done.unwrap_err().code(), "rotation_ended");
    });
}
