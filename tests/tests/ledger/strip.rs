//! The strip of a rotation: few bins for however many batches, and every batch in exactly one of them.

use reseal_entities::{
    ledger::{
        Ledger,
        strip::{self, BINS_MAX, Bin, TableStrip},
    },
    quarantine::QuarantineState,
    state::{BatchState, RotationState},
};
use sea_orm::ConnectionTrait;

use crate::{
    ground::{for_each_ledger, run},
    rows::World,
};

async fn strips(ledger: &Ledger, w: &World, bins: i64) -> Vec<TableStrip> {
    strip::of_rotation(ledger.db(), w.id, bins).await.unwrap()
}

/// The bins of the rotation's first table, each as pending, leased, failed and done.
async fn first(ledger: &Ledger, w: &World, bins: i64) -> Vec<[i64; 4]> {
    let told = strips(ledger, w, bins).await.remove(0).bins;
    told.iter().map(|b| [b.pending, b.leased, b.failed, b.done]).collect()
}

/// So many batches at once, all in one state.
async fn many(db: &impl ConnectionTrait, w: &World, state: BatchState, n: i64) {
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})
         INSERT INTO reseal_batches (rotation_id, planned_table_id, up_to_key, rows, state, epoch, rows_counted,
                                     barren_claims, attempts, due_at, next_ring_at, rings)
         SELECT {}, {}, '1', 1, '{state}', 1, 0, 0, 0, 0, 0, 0 FROM n",
        w.id, w.table
    );
    run(db, sql).await;
}

#[test]
fn each_batch_is_in_one_bin_by_its_state_and_bins_are_in_the_tables_order() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Reencrypting).await;
        for (state, n) in [(BatchState::Done, 3), (BatchState::Leased, 2), (BatchState::Failed, 1)] {
            many(db, &w, state, n).await;
        }
        many(db, &w, BatchState::Pending, 3).await;
        assert_eq!(first(&ledger, &w, 3).await, [[0, 0, 0, 3], [0, 2, 1, 0], [3, 0, 0, 0]]);
        assert_eq!(first(&ledger, &w, 2).await, [[0, 2, 0, 3], [3, 0, 1, 0]], "one more or less");
        assert_eq!(first(&ledger, &w, 1).await, [[3, 2, 1, 3]]);
    });
}

#[test]
fn there_are_never_more_bins_than_batches_nor_than_a_strip_can_show() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Reencrypting).await;
        assert_eq!(
            strips(&ledger, &w, 50).await,
            [TableStrip { table: "main:public.messages".into(), bins: Vec::new() }]
        );
        many(db, &w, BatchState::Pending, 3).await;
        assert_eq!(first(&ledger, &w, 50).await, [[1, 0, 0, 0]; 3]);
        for nonsense in [0, -1, i64::MIN] {
            assert_eq!(first(&ledger, &w, nonsense).await, [[3, 0, 0, 0]]);
        }
        many(db, &w, BatchState::Pending, BINS_MAX).await;
        let most = first(&ledger, &w, i64::MAX).await;
        assert_eq!(most.len() as i64, BINS_MAX);
        assert_eq!(most.iter().map(|b| b[0]).sum::<i64>(), BINS_MAX + 3);
    });
}

#[test]
fn batches_stand_where_the_one_stood_in_whose_place_they_were_put() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Reencrypting).await;
        let parent = w.batch(db, BatchState::Superseded).await;
        many(db, &w, BatchState::Done, 2).await;
        for state in [BatchState::Leased, BatchState::Failed] {
            let child = w.batch(db, state).await;
            run(db, format!("UPDATE reseal_batches SET part_of = {} WHERE id = {}", parent.id, child.id)).await;
        }
        assert_eq!(first(&ledger, &w, 50).await, [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1]]);
    });
}

#[test]
fn each_table_has_its_own_strip_and_other_rotations_are_in_none() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Reencrypting).await;
        let notes = w.another_table(db, "second", "notes").await;
        let other = World::at(db, RotationState::Reencrypting).await;
        // given ids of one table with another's between them
        many(db, &notes, BatchState::Done, 1).await;
        many(db, &w, BatchState::Pending, 5).await;
        many(db, &other, BatchState::Failed, 5).await;
        many(db, &notes, BatchState::Leased, 2).await;
        let done = Bin { done: 1, ..Bin::default() };
        let leased = Bin { leased: 1, ..Bin::default() };
        let told = strips(&ledger, &w, 5).await;
        assert_eq!(
            told.iter().map(|t| t.table.as_str()).collect::<Vec<_>>(),
            ["main:public.messages", "second:public.notes"]
        );
        assert_eq!(told[0].bins, [Bin { pending: 1, ..Bin::default() }; 5]);
        assert_eq!(told[1].bins, [done, leased, leased]);
        assert_eq!(strips(&ledger, &other, 1).await[0].bins, [Bin { failed: 5, ..Bin::default() }]);
    });
}

#[test]
fn quarantined_rows_are_counted_where_their_batch_stands_until_they_are_resolved() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Reencrypting).await;
        let clean = w.batch(db, BatchState::Done).await;
        let bad = w.batch(db, BatchState::Done).await;
        for state in [QuarantineState::Open, QuarantineState::Open, QuarantineState::Retrying] {
            w.bad_row(db, Some(bad.id), state).await;
        }
        for state in [QuarantineState::Resolved, QuarantineState::Abandoned] {
            w.bad_row(db, Some(clean.id), state).await;
        }
        w.bad_row(db, None, QuarantineState::Open).await;
        let told = strips(&ledger, &w, 2).await.remove(0).bins;
        assert_eq!(told.iter().map(|b| (b.batches(), b.rows_quarantined)).collect::<Vec<_>>(), [(1, 0), (1, 3)]);
        let told = strips(&ledger, &w, 1).await.remove(0).bins;
        assert_eq!((told[0].batches(), told[0].rows_quarantined), (2, 3));
    });
}
