//! How far a rotation was: what is written down, what is kept, what is told from it.

use reseal_entities::{
    ledger::{
        Ledger, now_ms,
        presence::{self, Sign},
        read, samples,
    },
    state::{BatchState, RotationState},
};
use sea_orm::Iterable;

use crate::{
    ground::{for_each_ledger, run},
    rows::World,
};

const HOUR: i64 = 3_600_000;
/// A moment in the middle of ten seconds.
const NOW: i64 = 1_700_000_004_321;
const SLOT: i64 = 1_700_000_000_000;

/// Every sample of a rotation, as (when, rows).
async fn all(ledger: &Ledger, id: i64) -> Vec<(i64, i64)> {
    let found = samples::of_rotation(ledger.db(), id, 0..=i64::MAX).await.unwrap();
    found.iter().map(|s| (s.at, s.rows_done)).collect()
}

async fn record(ledger: &Ledger, w: &World, now: i64) {
    samples::record_if_going(ledger.db(), &w.rotation(ledger.db()).await, now).await.unwrap();
}

/// Says that the rotation's table has so many rows, and that so many were looked at, in two slots.
async fn progress(ledger: &Ledger, w: &World, rows: i64, done: i64) {
    let (db, table, some) = (ledger.db(), w.table, done / 3);
    run(db, format!("UPDATE reseal_planned_tables SET rows = {rows} WHERE id = {table}")).await;
    run(db, format!("DELETE FROM reseal_progress WHERE planned_table_id = {table}")).await;
    for (slot, n) in [(0, some), (7, done - some)] {
        run(db, format!("INSERT INTO reseal_progress VALUES ({table}, {slot}, {n}, 0, 0)")).await;
    }
}

#[test]
fn ten_seconds_have_one_sample_whoever_writes_it() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        progress(&ledger, &w, 100, 30).await;
        record(&ledger, &w, NOW).await;
        progress(&ledger, &w, 100, 40).await;
        record(&ledger, &w, NOW + 5_000).await; // another leader
        assert_eq!(all(&ledger, w.id).await, [(SLOT, 30)]);
        progress(&ledger, &w, 100, 107).await;
        record(&ledger, &w, SLOT + samples::EVERY_MS).await;
        assert_eq!(all(&ledger, w.id).await, [(SLOT, 30), (SLOT + 10_000, 100)], "no more than was planned");
        let late = samples::of_rotation(ledger.db(), w.id, SLOT + 1..=SLOT + 10_000).await.unwrap();
        assert_eq!(late.len(), 1);
    });
}

#[test]
fn only_what_re_encrypts_and_does_not_stand_still_is_sampled() {
    for_each_ledger(async |ledger| {
        for state in RotationState::iter() {
            let w = World::at(ledger.db(), state).await;
            record(&ledger, &w, NOW).await;
            let sampled = all(&ledger, w.id).await.len();
            assert_eq!(sampled, usize::from(state == RotationState::Reencrypting), "{state}");
        }
        for stands in ["paused_at = 1", "pace_rows_per_hour = 0"] {
            let w = World::at(ledger.db(), RotationState::Reencrypting).await;
            run(ledger.db(), format!("UPDATE reseal_rotations SET {stands} WHERE id = {}", w.id)).await;
            record(&ledger, &w, NOW).await;
            assert_eq!(all(&ledger, w.id).await, [], "{stands}");
        }
    });
}

#[test]
fn of_what_is_older_than_an_hour_one_sample_in_five_minutes_is_kept() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let full = SLOT - SLOT % 300_000; // a full five minutes
        let old = [full, full + 10_000, full + 290_000, full + 300_000];
        let new = [full + 310_000, full + 320_000];
        for at in old.into_iter().chain(new) {
            record(&ledger, &w, at).await;
        }
        let kept = async || all(&ledger, w.id).await.into_iter().map(|(at, _)| at).collect::<Vec<_>>();
        assert_eq!(samples::thin(ledger.db(), full).await.unwrap(), 0);
        assert_eq!(samples::thin(ledger.db(), full + 310_000 + HOUR).await.unwrap(), 2);
        assert_eq!(kept().await, [full, full + 300_000, new[0], new[1]]);
        assert_eq!(samples::thin(ledger.db(), full + 100 * HOUR).await.unwrap(), 2);
        assert_eq!(kept().await, [full, full + 300_000]);
    });
}

#[test]
fn the_speed_and_the_time_left_are_told_while_it_goes_on_and_not_while_it_stands() {
    for_each_ledger(async |ledger| {
        let (db, w) = (ledger.db(), World::at(ledger.db(), RotationState::Reencrypting).await);
        let now = now_ms(db).await.unwrap();
        for (ago, done) in [(50, 100), (40, 200), (30, 300), (20, 400), (10, 500)] {
            progress(&ledger, &w, 6_600, done).await;
            record(&ledger, &w, now - ago * 1_000).await;
        }
        progress(&ledger, &w, 6_600, 600).await;
        let told = async || read::status(db, w.id).await.unwrap();
        let alone = told().await;
        assert_eq!((alone.rows_per_second, alone.time_left), (None, None), "nobody works on it");
        let sign = Sign {
            name: "w".into(),
            version: "1".into(),
            state: "running",
            lanes: 1,
            jobs_running: 1,
            reencrypted: 0,
            rows_per_second: None,
            keys_loaded: "[]".into(),
        };
        presence::beat(db, &sign).await.unwrap();

        // ten rows a second, give or take how long ago the last sample is
        let going = told().await;
        let (rate, left) = (going.rows_per_second.unwrap(), going.time_left.unwrap());
        assert!((5.0..=11.0).contains(&rate), "{rate}");
        assert!(left.from_ms >= 540_000 && left.to_ms <= 1_200_000 && left.from_ms <= left.to_ms, "{left:?}");
        assert!(going.summary.contains(&format!("9 % done, {left}")), "{}", going.summary);

        let batch = w.batch(db, BatchState::Leased).await;
        progress(&ledger, &w, 6_600, 6_600).await;
        let last = told().await.summary;
        assert!(last.contains("100 % done; waits for 1 batch to end, then for the proof"), "{last}");
        run(db, format!("UPDATE reseal_batches SET state = 'done' WHERE id = {}", batch.id)).await;
        let last = told().await.summary;
        assert!(last.contains("100 % done; the proof comes next"), "{last}");
        progress(&ledger, &w, 6_600, 600).await;

        for (stands, goes) in [
            ("paused_at = 1, paused_by = 'ada'", "paused_at = NULL, paused_by = NULL"),
            ("pace_rows_per_hour = 0, pace_code = 'x'", "pace_rows_per_hour = NULL, pace_code = NULL"),
        ] {
            run(db, format!("UPDATE reseal_rotations SET {stands}")).await;
            let still = told().await;
            assert_eq!((still.rows_per_second, still.time_left), (None, None), "{stands}");
            assert!(!still.summary.contains(" left"), "{}", still.summary);
            run(db, format!("UPDATE reseal_rotations SET {goes}")).await;
        }
        run(db, "UPDATE reseal_rotations SET planning_done = false").await;
        let planning = told().await;
        assert!(planning.rows_per_second.is_some() && planning.time_left.is_none(), "the end is not known yet");
        run(db, "UPDATE reseal_rotations SET planning_done = true, state = 'proving'").await;
        assert_eq!(told().await.rows_per_second, None);
    });
}
