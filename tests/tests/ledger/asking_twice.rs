//! A client that got no answer asks again: what is so already is said, and nothing changes.

use reseal_entities::{
    audit,
    ledger::{
        Ledger, LedgerError, cancel,
        presence::{self, Sign},
        steps,
    },
    state::RotationState,
};
use sea_orm::{DatabaseTransaction, EntityTrait, PaginatorTrait};

use crate::{
    ground::{alone, for_each_ledger, run},
    rows::{World, everything},
};

async fn entries(ledger: &Ledger) -> u64 {
    audit::Entity::find().count(ledger.db()).await.unwrap()
}

/// Asks twice, the second time as somebody else and for another reason.
async fn twice<T: std::fmt::Debug>(
    ledger: &Ledger,
    ask: impl AsyncFn(&DatabaseTransaction, &str, Option<&str>) -> Result<T, LedgerError>,
) -> (T, T) {
    let first = alone(ledger, async |txn| ask(txn, "ada", Some("first")).await).await.unwrap();
    let before = (everything(ledger.db()).await, entries(ledger).await);
    let second = alone(ledger, async |txn| ask(txn, "bob", Some("second")).await).await.unwrap();
    assert_eq!((everything(ledger.db()).await, entries(ledger).await), before, "{first:?}");
    (first, second)
}

#[test]
fn a_rotation_is_paused_resumed_cancelled_and_turned_round_once() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let pause = async |txn: &_, who: &str, why: Option<&str>| steps::pause(txn, w.id, who, why).await;
        assert_eq!(twice(&ledger, pause).await, (true, false));
        let r = w.rotation(ledger.db()).await;
        assert_eq!((r.paused_by.as_deref(), r.paused_reason.as_deref()), (Some("ada"), Some("first")));
        let resume = async |txn: &_, who: &str, _: Option<&str>| steps::resume(txn, w.id, who).await;
        assert_eq!(twice(&ledger, resume).await, (true, false));
        let stop = async |txn: &_, who: &str, why: Option<&str>| cancel::cancel(txn, who, w.id, why).await;
        assert_eq!(twice(&ledger, stop).await, (true, false));
        let turn = async |txn: &_, who: &str, why: Option<&str>| cancel::roll_back(txn, who, w.id, why).await;
        let (first, again) = twice(&ledger, turn).await;
        assert_eq!((first.changed, again.changed, first.reverse), (true, false, again.reverse));
        assert_ne!(first.reverse, w.id);
    });
}

#[test]
fn what_has_ended_otherwise_is_refused_and_so_is_what_never_was() {
    for_each_ledger(async |ledger| {
        for state in RotationState::ENDED {
            let w = World::at(ledger.db(), state).await;
            let (before, said) = (everything(ledger.db()).await, entries(&ledger).await);
            let code = |done: Result<bool, LedgerError>| done.map_err(|e| e.code());
            let pause = alone(&ledger, async |txn| steps::pause(txn, w.id, "ada", None).await).await;
            assert_eq!(code(pause), Err("rotation_ended"), "{state}");
            let resume = alone(&ledger, async |txn| steps::resume(txn, w.id, "ada").await).await;
            assert_eq!(code(resume), Err("rotation_ended"), "{state}");
            let stop = code(alone(&ledger, async |txn| cancel::cancel(txn, "ada", w.id, None).await).await);
            let expected = if state == RotationState::Cancelled { Ok(false) } else { Err("rotation_ended") };
            assert_eq!(stop, expected, "{state}");
            assert_eq!((everything(ledger.db()).await, entries(&ledger).await), (before, said), "{state}");
        }
        let nobodys = alone(&ledger, async |txn| steps::pause(txn, 99_999, "ada", None).await).await;
        assert_eq!(nobodys.unwrap_err().code(), "unknown_rotation");
        let nobodys = alone(&ledger, async |txn| steps::resume(txn, 99_999, "ada").await).await;
        assert_eq!(nobodys.unwrap_err().code(), "unknown_rotation");
    });
}

async fn beat(ledger: &Ledger, name: &str, state: &'static str) -> bool {
    let sign = Sign {
        name: name.into(),
        version: "0".into(),
        state,
        lanes: 1,
        jobs_running: 0,
        reencrypted: 0,
        rows_per_second: None,
        keys_loaded: "[]".into(),
    };
    presence::beat(ledger.db(), &sign).await.unwrap()
}

#[test]
fn a_worker_is_asked_to_drain_once_also_when_it_has_left_since() {
    for_each_ledger(async |ledger| {
        beat(&ledger, "one", "running").await;
        let drain = async |txn: &_, who: &str, _: Option<&str>| presence::ask_to_drain(txn, who, Some("one")).await;
        assert_eq!(twice(&ledger, drain).await, (vec!["one".to_owned()], vec![]));
        assert!(beat(&ledger, "one", "stopped").await, "it was told");
        assert_eq!(twice(&ledger, drain).await, (vec![], vec![]));
        // all: who was not asked yet
        beat(&ledger, "two", "running").await;
        let all = async |txn: &_, who: &str, _: Option<&str>| presence::ask_to_drain(txn, who, None).await;
        assert_eq!(twice(&ledger, all).await, (vec!["two".to_owned()], vec![]));
        // nobody who left by itself, or was lost, or never was
        beat(&ledger, "three", "stopped").await;
        beat(&ledger, "four", "running").await;
        run(ledger.db(), "UPDATE reseal_workers SET seen_at = 1, drain_requested_at = 1 WHERE name = 'four'").await;
        for name in ["three", "four", "five"] {
            let asked = alone(&ledger, async |txn| presence::ask_to_drain(txn, "ada", Some(name)).await).await;
            assert_eq!(asked.unwrap_err().code(), "unknown_worker", "{name}");
        }
    });
}

#[test]
fn a_sign_of_life_that_comes_after_the_goodbye_changes_nothing() {
    for_each_ledger(async |ledger| {
        for (state, alive) in [("running", 1), ("stopped", 0), ("draining", 0), ("running", 0)] {
            beat(&ledger, "one", state).await;
            assert_eq!(presence::alive(ledger.db()).await.unwrap().len(), alive, "after {state}");
        }
    });
}

#[test]
fn two_who_ask_at_once_are_one_entry() {
    for_each_ledger(async |ledger| {
        crate::ground::warm(&ledger).await;
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        beat(&ledger, "one", "running").await;
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (ledger, id) = (ledger.clone(), w.id);
            asking.spawn(async move {
                alone(&ledger, async |txn| {
                    let drained = !presence::ask_to_drain(txn, "ada", None).await?.is_empty();
                    Ok((drained, cancel::cancel(txn, "ada", id, None).await?))
                })
                .await
                .unwrap()
            });
        }
        let done = asking.join_all().await;
        assert_eq!(done.iter().filter(|(drained, _)| *drained).count(), 1);
        assert_eq!(done.iter().filter(|(_, cancelled)| *cancelled).count(), 1);
        assert_eq!(entries(&ledger).await, 2);
    });
}
