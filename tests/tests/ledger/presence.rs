//! What is remembered of workers besides what they say: which batches they hold.

use reseal_entities::{
    ledger::presence::{self, Sign},
    state::{BatchState, RotationState},
};

use crate::{
    ground::{for_each_ledger, run},
    rows::World,
};

#[test]
fn a_worker_holds_the_batches_whose_lease_it_has_and_who_has_ended_has_no_pace() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        for (name, state) in [("w", "running"), ("v", "running"), ("gone", "stopped")] {
            let sign = Sign {
                name: name.into(),
                version: "0".into(),
                state,
                lanes: 2,
                jobs_running: 2,
                reencrypted: 100,
                rows_per_second: Some(7),
                keys_loaded: "[]".into(),
            };
            presence::beat(db, &sign).await.unwrap();
        }
        run(db, "UPDATE reseal_workers SET seen_at = 1 WHERE name = 'v'").await;
        let going = World::at(db, RotationState::Reencrypting).await;
        let ended = World::at(db, RotationState::Cancelled).await;
        let mut held = Vec::new();
        let later = crate::rows::later(db).await;
        for (of, state, until) in [
            (&going, BatchState::Leased, later),
            (&going, BatchState::Leased, later),
            (&going, BatchState::Leased, 1),
            (&going, BatchState::Done, later),
            (&ended, BatchState::Leased, later),
        ] {
            let b = of.batch(db, state).await;
            run(db, format!("UPDATE reseal_batches SET worker = 'w', lease_until = {until} WHERE id = {}", b.id)).await;
            held.push(b.id);
        }
        let mut told = presence::remembered(db).await.unwrap();
        told.sort_by(|a, b| a.worker.name.cmp(&b.worker.name));
        let told: Vec<_> = told
            .iter()
            .map(|w| (w.worker.name.as_str(), w.standing(), w.rows_per_second(), w.batches.clone()))
            .collect();
        assert_eq!(
            told,
            [
                ("gone", "stopped", None, vec![]),
                ("v", "lost", None, vec![]),
                ("w", "running", Some(7), held[..2].to_vec())
            ]
        );
    });
}
