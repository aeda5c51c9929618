//! Dispatch: one leader, and rings for what is due and for nothing else.

use reseal_entities::{
    ledger::{
        Ledger,
        dispatch::{self, Of},
        now_ms,
    },
    state::{BatchState, RotationState},
};
use tokio::task::JoinSet;

use crate::{
    ground::{alone, for_each_ledger, run, warm},
    rows::{World, batch, later},
};

const ALL: Of = Of::AllBut(Vec::new());

async fn due(ledger: &Ledger) -> Vec<i64> {
    dispatch::due_batches(ledger.db(), &ALL, 1_000).await.unwrap().iter().map(|due| due.id).collect()
}

#[test]
fn of_sixteen_at_once_one_leads_until_it_resigns_or_is_silent() {
    for_each_ledger(async |ledger| {
        warm(&ledger).await;
        let lead = async || {
            let mut all = JoinSet::new();
            for n in 0..16 {
                let ledger = ledger.clone();
                all.spawn(async move {
                    let name = format!("w{n}");
                    dispatch::lead_if_free(ledger.db(), &name).await.unwrap().then_some(name)
                });
            }
            let mut leaders: Vec<String> = all.join_all().await.into_iter().flatten().collect();
            assert!(leaders.len() <= 1, "{leaders:?}");
            leaders.pop()
        };
        let leader = lead().await.expect("one leads");
        assert_eq!(lead().await, Some(leader.clone()), "it keeps the lead");
        dispatch::resign(ledger.db(), "somebody else").await.unwrap();
        assert!(!dispatch::lead_if_free(ledger.db(), "other").await.unwrap());
        dispatch::resign(ledger.db(), &leader).await.unwrap();
        assert!(dispatch::lead_if_free(ledger.db(), "other").await.unwrap());
        run(ledger.db(), "UPDATE reseal_ledger SET leader_until = 1").await;
        assert!(dispatch::lead_if_free(ledger.db(), "third").await.unwrap());
        assert!(!dispatch::lead_if_free(ledger.db(), "other").await.unwrap());
    });
}

#[test]
fn a_queue_that_was_not_met_before_makes_everything_open_due() {
    for_each_ledger(async |ledger| {
        let later = later(ledger.db()).await;
        let meet = async |name: &str| alone(&ledger, async |txn| dispatch::meet_queue(txn, name).await).await.unwrap();
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let ended = World::at(ledger.db(), RotationState::Completed).await;
        let mut batches = Vec::new();
        for state in [BatchState::Pending, BatchState::Leased, BatchState::Done, BatchState::Failed] {
            batches.push(w.batch(ledger.db(), state).await.id);
        }
        for (incarnation, new) in [("one", true), ("one", false), ("two", true), ("one", true)] {
            run(ledger.db(), format!("UPDATE reseal_batches SET next_ring_at = {later}")).await;
            run(ledger.db(), format!("UPDATE reseal_rotations SET next_ring_at = {later}")).await;
            assert_eq!(meet(incarnation).await, new, "{incarnation}");
            let mut rings = Vec::new();
            for id in &batches {
                rings.push(batch(ledger.db(), *id).await.next_ring_at);
            }
            let first = if new { 0 } else { later };
            assert_eq!(rings, [first, first, later, later], "{incarnation}");
            assert_eq!(w.rotation(ledger.db()).await.next_ring_at, first);
            assert_eq!(ended.rotation(ledger.db()).await.next_ring_at, later);
        }
    });
}

#[test]
fn batches_are_due_when_pending_or_orphaned_and_not_rung_lately() {
    for_each_ledger(async |ledger| {
        let later = later(ledger.db()).await;
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let mut made = std::collections::BTreeMap::new();
        for state in
            [BatchState::Pending, BatchState::Leased, BatchState::Done, BatchState::Failed, BatchState::Superseded]
        {
            made.insert(state.to_string(), w.batch(ledger.db(), state).await.id);
        }
        let (pending, leased) = (made["pending"], made["leased"]);
        let change = async |set: String, id: i64| {
            run(ledger.db(), format!("UPDATE reseal_batches SET {set} WHERE id = {id}")).await;
        };
        assert_eq!(due(&ledger).await, [pending]);
        change("lease_until = 1".into(), leased).await;
        assert_eq!(due(&ledger).await, [pending, leased], "its lease has run out");
        change(format!("due_at = {later}"), pending).await;
        assert_eq!(due(&ledger).await, [leased], "its retry time has not come");
        change(format!("due_at = 0, next_ring_at = {later}"), pending).await;
        assert_eq!(due(&ledger).await, [leased], "it was rung lately");
        change("next_ring_at = 0".into(), pending).await;
        assert_eq!(dispatch::due_batches(ledger.db(), &ALL, 1).await.unwrap().len(), 1, "no more than asked");

        for obstacle in ["paused_at = 1", "state = 'proving'", "state = 'requested'"] {
            run(ledger.db(), format!("UPDATE reseal_rotations SET {obstacle}")).await;
            assert_eq!(due(&ledger).await, [0; 0], "{obstacle}");
            run(ledger.db(), "UPDATE reseal_rotations SET paused_at = NULL, state = 'reencrypting'").await;
        }
    });
}

#[test]
fn a_ring_is_noted_counted_and_taken_back() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let (one, two) =
            (w.batch(ledger.db(), BatchState::Pending).await.id, w.batch(ledger.db(), BatchState::Pending).await.id);
        dispatch::note_batch_rings(ledger.db(), &[one]).await.unwrap();
        assert_eq!(due(&ledger).await, [two]);
        let (rung, now) = (batch(ledger.db(), one).await, now_ms(ledger.db()).await.unwrap());
        assert_eq!(rung.rings, 1);
        assert!((rung.next_ring_at - now - dispatch::RING_AGAIN_MS).abs() < 30_000, "rung again in about a minute");
        dispatch::unnote_batch_rings(ledger.db(), &[one]).await.unwrap();
        assert_eq!(due(&ledger).await, [one, two]);
        assert_eq!(batch(ledger.db(), one).await.rings, 1, "a number is not used twice");
    });
}

#[test]
fn outstanding_are_the_batches_in_the_queue_and_in_hand() {
    for_each_ledger(async |ledger| {
        let later = later(ledger.db()).await;
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let paused = World::at(ledger.db(), RotationState::Reencrypting).await;
        run(ledger.db(), format!("UPDATE reseal_rotations SET paused_at = 1 WHERE id = {}", paused.id)).await;
        let rung = format!("rings = 1, next_ring_at = {later}");
        let cases = [
            (&w, BatchState::Pending, String::new(), 0),
            (&w, BatchState::Pending, rung.clone(), 1),
            (&w, BatchState::Pending, "rings = 1, next_ring_at = 0".into(), 0),
            (&w, BatchState::Pending, format!("{rung}, due_at = {later}"), 0),
            (&w, BatchState::Leased, String::new(), 1),
            (&w, BatchState::Leased, "lease_until = 1".into(), 0),
            (&w, BatchState::Done, rung.clone(), 0),
            (&w, BatchState::Failed, rung.clone(), 0),
            (&paused, BatchState::Leased, String::new(), 0),
            (&paused, BatchState::Pending, rung.clone(), 0),
        ];
        let mut all = 0;
        for (world, state, set, more) in cases {
            let b = world.batch(ledger.db(), state).await;
            if !set.is_empty() {
                run(ledger.db(), format!("UPDATE reseal_batches SET {set} WHERE id = {}", b.id)).await;
            }
            all += more;
            assert_eq!(dispatch::outstanding(ledger.db(), &ALL).await.unwrap(), all, "{state} {set}");
        }
    });
}

#[test]
fn what_a_dead_worker_held_is_rung_for_as_soon_as_its_lease_has_run_out_and_once() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let batch = w.batch(ledger.db(), BatchState::Leased).await.id;
        let rotation_due = async || dispatch::due_rotations(ledger.db()).await.unwrap().iter().any(|r| r.id == w.id);
        let now = reseal_entities::ledger::now_ms(ledger.db()).await.unwrap();
        // The worker was rung for 40 s ago and its lease ran out a second ago; and rung for again since.
        for (lease_until, next_ring_at, is_due) in
            [(now - 1_000, now + 20_000, true), (now - 1_000, now + 60_000, false)]
        {
            run(
                ledger.db(),
                format!("UPDATE reseal_batches SET lease_until = {lease_until}, next_ring_at = {next_ring_at} WHERE id = {batch}"),
            )
            .await;
            run(
                ledger.db(),
                format!("UPDATE reseal_rotations SET step_lease_until = {lease_until}, next_ring_at = {next_ring_at} WHERE id = {}", w.id),
            )
            .await;
            assert_eq!(due(&ledger).await.contains(&batch), is_due, "batch, next ring at {next_ring_at}");
            assert_eq!(rotation_due().await, is_due, "step, next ring at {next_ring_at}");
        }
    });
}

#[test]
fn a_rotations_step_is_due_when_open_free_not_paused_and_not_rung_lately() {
    for_each_ledger(async |ledger| {
        let later = later(ledger.db()).await;
        let obstacles = [
            "paused_at = 1",
            "step_due_at = $later",
            "next_ring_at = $later",
            "step_lease_until = $later",
            "open_keyset = NULL",
        ];
        for obstacle in obstacles {
            let w = World::at(ledger.db(), RotationState::Proving).await;
            let due = async || dispatch::due_rotations(ledger.db()).await.unwrap().iter().any(|r| r.id == w.id);
            assert!(due().await);
            let sql = format!("UPDATE reseal_rotations SET {obstacle} WHERE id = {}", w.id);
            run(ledger.db(), sql.replace("$later", &later.to_string())).await;
            assert!(!due().await, "{obstacle}");
        }
        let w = World::at(ledger.db(), RotationState::Clearing).await;
        dispatch::note_rotation_ring(ledger.db(), w.id, 60_000).await.unwrap();
        assert_eq!(w.rotation(ledger.db()).await.rings, 1);
        assert!(dispatch::due_rotations(ledger.db()).await.unwrap().iter().all(|r| r.id != w.id));
    });
}
