//! Failures by cause, and a word for every code.

use reseal_entities::{
    ledger::{
        failures::{Failed, Nature, cause, failures},
        now_ms, report,
    },
    quarantine::QuarantineState::*,
    state::{BatchState, RotationState},
};
use std::collections::BTreeSet;

use crate::{
    ground::{for_each_ledger, run},
    rows::World,
};

#[test]
fn failures_are_grouped_by_code_and_table() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        let w = World::at(db, RotationState::Reencrypting).await;
        for (code, failed_at, counted) in [("source_busy", 5, 10), ("source_busy", 9, 30), ("write_refused", 7, 0)] {
            let b = w.batch(db, BatchState::Failed).await;
            run(
                db,
                format!(
                    "UPDATE reseal_batches SET code = '{code}', detail = 'said {code}', failed_at = {failed_at}, \
                     rows_counted = {counted} WHERE id = {}",
                    b.id
                ),
            )
            .await;
        }
        let b = w.batch(db, BatchState::Done).await;
        for state in [Open, Open, Retrying, Resolved, Abandoned] {
            w.bad_row(db, Some(b.id), state).await;
        }
        // what failed elsewhere, or is done again already, is none of it
        World::at(db, RotationState::Reencrypting).await.batch(db, BatchState::Failed).await;
        let again = w.batch(db, BatchState::Pending).await;
        run(db, format!("UPDATE reseal_batches SET code = 'source_busy' WHERE id = {}", again.id)).await;

        let found = failures(db, w.id).await.unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|f| (f.failed, f.code.as_str(), f.batches, f.rows, f.first_at, f.last_at, f.nature))
            .collect();
        assert_eq!(
            told,
            [
                (Failed::Batches, "source_busy", 2, 160, Some(5), Some(9), Nature::Transient),
                (Failed::Batches, "write_refused", 1, 100, Some(7), Some(7), Nature::Poison),
                (Failed::Rows, "truncated", 1, 3, Some(1), Some(1), Nature::Setup),
            ]
        );
        assert!(found.iter().all(|f| f.table == "main:public.messages"));
        assert!(found[0].sample.ends_with("said source_busy"), "{}", found[0].sample);
        assert!(found[2].sample.contains("column cell"), "{}", found[2].sample);
        assert_eq!(failures(db, 999_999).await.unwrap_err().code(), "unknown_rotation");
    });
}

#[test]
fn a_batch_that_is_given_up_is_told_with_its_time() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let held = w.batch(ledger.db(), BatchState::Leased).await;
        let before = now_ms(ledger.db()).await.unwrap();
        assert!(report::fail_if_held(ledger.db(), &held, "source_busy", "no connection").await.unwrap());
        let found = failures(ledger.db(), w.id).await.unwrap();
        assert!(found[0].first_at >= Some(before) && found[0].first_at == found[0].last_at, "{found:?}");
        assert_eq!(found[0].sample, format!("batch {}: no connection", held.id));
    });
}

#[test]
fn a_rotation_without_a_failure_has_none() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        w.batch(ledger.db(), BatchState::Done).await;
        assert!(failures(ledger.db(), w.id).await.unwrap().is_empty());
    });
}

/// The codes in quotes of those lines that make one.
fn codes(source: &'static str, makes: impl Fn(&str) -> bool) -> BTreeSet<&'static str> {
    let quoted = source.lines().filter(|line| makes(line)).flat_map(|line| line.split('"').skip(1).step_by(2));
    let is_code = |text: &&str| text.contains('_') && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    quoted.filter(is_code).collect()
}

/// The ledger knows neither source nor cipher, and repeats their codes.
#[test]
fn every_code_of_a_source_and_of_a_cell_has_its_advice() {
    // A routine of PostgreSQL, and a code that no caller sees.
    let of_others = |line: &str| line.contains("db.routine()") || line.contains("WATCHED_CODE");
    let of_sources = codes(include_str!("../../../engine/src/source/error.rs"), |line| !of_others(line));
    let of_cells = codes(include_str!("../../../keyring/src/cell.rs"), |line| line.contains("=> \""));
    assert!(of_sources.len() > 12 && of_cells.len() > 9, "{of_sources:?} {of_cells:?}");
    let nothing = cause("a code that nobody knows").1;
    for code in of_sources.union(&of_cells) {
        assert_ne!(cause(code).1, nothing, "{code}");
    }
    for code in ["kills_its_worker", "keyset_stale", "fenced", "kek_io", "reencryption_panicked"] {
        assert_ne!(cause(code).1, nothing, "{code}");
    }
}
