//! Closing: the last batch moves its rotation on, once, and never while something is open.

use std::sync::Arc;

use reseal_entities::{
    audit,
    ledger::{
        close::close_if_nothing_is_open,
        quarantine::resolve_if_unresolved,
        report::{Delta, report_if_held},
        retry::{What, retry},
    },
    quarantine::QuarantineState,
    state::{BatchState, RotationState},
};
use sea_orm::{ColumnTrait, EntityTrait, Iterable, PaginatorTrait, QueryFilter};
use tokio::{sync::Barrier, task::JoinSet};

use crate::{
    ground::{alone, for_each_ledger, is_postgres, run, warm},
    rows::{World, batch},
};

#[test]
fn racing_last_batches_close_each_rotation_once() {
    for_each_ledger(async |ledger| {
        let (rotations, sessions) = (if is_postgres(&ledger) { 20 } else { 5 }, 8);
        warm(&ledger).await;
        let mut worlds = Vec::new();
        let mut held = vec![Vec::new(); sessions];
        for _ in 0..rotations {
            let w = World::at(ledger.db(), RotationState::Reencrypting).await;
            for session in &mut held {
                session.push(w.batch(ledger.db(), BatchState::Leased).await);
            }
            worlds.push(w);
        }
        let start = Arc::new(Barrier::new(sessions));
        let mut racing = JoinSet::new();
        for batches in held {
            let (ledger, start) = (ledger.clone(), Arc::clone(&start));
            racing.spawn(async move {
                let mut closed = Vec::new();
                for b in batches {
                    start.wait().await;
                    let reported = alone(&ledger, async |txn| report_if_held(txn, &b, Delta::default(), 0).await);
                    assert!(reported.await.unwrap());
                    if close_if_nothing_is_open(&ledger, "w", b.rotation_id).await.unwrap() {
                        closed.push(b.rotation_id);
                    }
                }
                closed
            });
        }
        let mut closed: Vec<i64> = racing.join_all().await.concat();
        closed.sort_unstable();
        assert_eq!(closed, worlds.iter().map(|w| w.id).collect::<Vec<_>>());
        for w in worlds {
            assert_eq!(w.rotation(ledger.db()).await.state, RotationState::Proving);
            let entries = audit::Entity::find().filter(audit::Column::Subject.eq(format!("rotation {}", w.id)));
            assert_eq!(entries.count(ledger.db()).await.unwrap(), 1);
        }
    });
}

#[test]
fn a_rotation_does_not_close_while_something_of_it_is_open() {
    for_each_ledger(async |ledger| {
        for state in BatchState::iter() {
            let w = World::at(ledger.db(), RotationState::Reencrypting).await;
            w.batch(ledger.db(), BatchState::Done).await;
            w.batch(ledger.db(), state).await;
            let closed = close_if_nothing_is_open(&ledger, "w", w.id).await.unwrap();
            assert_eq!(closed, matches!(state, BatchState::Done | BatchState::Superseded), "{state}");
        }
        for state in QuarantineState::iter() {
            let w = World::at(ledger.db(), RotationState::Reencrypting).await;
            let b = w.batch(ledger.db(), BatchState::Done).await;
            w.bad_row(ledger.db(), Some(b.id), state).await;
            let closed = close_if_nothing_is_open(&ledger, "w", w.id).await.unwrap();
            assert_eq!(closed, matches!(state, QuarantineState::Resolved | QuarantineState::Abandoned), "{state:?}");
        }
        // what only the sweep looks at again is no reason not to sweep
        for (state, closes) in [(QuarantineState::Open, false), (QuarantineState::Retrying, true)] {
            let w = World::at(ledger.db(), RotationState::Reencrypting).await;
            w.bad_row(ledger.db(), None, state).await;
            assert_eq!(close_if_nothing_is_open(&ledger, "w", w.id).await.unwrap(), closes, "{state:?}");
        }
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        run(ledger.db(), format!("UPDATE reseal_rotations SET planning_done = false WHERE id = {}", w.id)).await;
        assert!(!close_if_nothing_is_open(&ledger, "w", w.id).await.unwrap(), "planning goes on");
    });
}

#[test]
fn what_is_open_in_another_rotation_holds_nobody_up() {
    for_each_ledger(async |ledger| {
        let other = World::at(ledger.db(), RotationState::Reencrypting).await;
        other.batch(ledger.db(), BatchState::Pending).await;
        other.bad_row(ledger.db(), None, QuarantineState::Open).await;
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        w.batch(ledger.db(), BatchState::Done).await;
        assert!(close_if_nothing_is_open(&ledger, "w", w.id).await.unwrap());
    });
}

/// A rotation that only one row keeps open, and a person settles that row and asks for a retry at
/// the same time as dispatch closes.
#[test]
fn a_retry_that_races_with_closing_leaves_no_open_batch_in_a_rotation_that_is_proving() {
    for_each_ledger(async |ledger| {
        let rounds = if is_postgres(&ledger) { 60 } else { 15 };
        warm(&ledger).await;
        let mut outcomes = [0, 0];
        for round in 0..rounds {
            let w = World::at(ledger.db(), RotationState::Reencrypting).await;
            let b = w.batch(ledger.db(), BatchState::Done).await;
            let state = if round % 2 == 0 { QuarantineState::Open } else { QuarantineState::Retrying };
            let row = w.bad_row(ledger.db(), Some(b.id), state).await;
            let start = Arc::new(Barrier::new(2));

            let (retrying, at, id) = (ledger.clone(), Arc::clone(&start), w.id);
            let retrying = tokio::spawn(async move {
                at.wait().await;
                alone(&retrying, async |txn| retry(txn, "ada", id, What::All).await).await.unwrap();
            });
            let (closing, at) = (ledger.clone(), start);
            let closing = tokio::spawn(async move {
                at.wait().await;
                let seen = alone(&closing, async |txn| {
                    resolve_if_unresolved(txn, "bob", &row, QuarantineState::Resolved, None).await
                });
                assert!(seen.await.unwrap());
                close_if_nothing_is_open(&closing, "w", id).await.unwrap()
            });
            retrying.await.unwrap();
            let closed = closing.await.unwrap();
            let (rotation, b) = (w.rotation(ledger.db()).await, batch(ledger.db(), b.id).await);
            assert_eq!(closed, rotation.state == RotationState::Proving);
            assert!(!(closed && BatchState::OPEN.contains(&b.state)), "round {round}: proving while {}", b.state);
            outcomes[usize::from(closed)] += 1;
        }
        assert_eq!(outcomes.iter().sum::<i32>(), rounds);
    });
}

/// The same race with its worst moment held open: the retry has not committed when closing looks.
#[test]
fn closing_waits_for_a_retry_that_has_begun() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Done).await;
        let row = w.bad_row(ledger.db(), Some(b.id), QuarantineState::Retrying).await;
        let retrying = ledger.begin().await.unwrap();
        retry(&retrying, "ada", w.id, What::All).await.unwrap();
        if is_postgres(&ledger) {
            // settled meanwhile; on SQLite the transaction that has begun keeps every other writer out
            run(ledger.db(), format!("UPDATE reseal_quarantine SET state = 'resolved' WHERE id = {}", row.id)).await;
        }
        let (closing, id) = (ledger.clone(), w.id);
        let closing = tokio::spawn(async move { close_if_nothing_is_open(&closing, "w", id).await.unwrap() });
        if is_postgres(&ledger) {
            let sql = "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                       WHERE NOT l.granted AND a.datname = current_database()";
            let waits = || sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql);
            reseal_tests::eventually(std::time::Duration::from_secs(10), "closing waits or has ended", async || {
                let blocked = sea_orm::ConnectionTrait::query_one_raw(ledger.db(), waits()).await.unwrap();
                (blocked.is_some() || closing.is_finished()).then_some(())
            })
            .await;
        }
        retrying.commit().await.unwrap();
        assert!(!closing.await.unwrap());
        assert_eq!(w.rotation(ledger.db()).await.state, RotationState::Reencrypting);
        assert_eq!(batch(ledger.db(), b.id).await.state, BatchState::Pending);
    });
}
