//! Operations at work: rung for, held by one, ended once, given up when their workers die.

use reseal_entities::{
    ledger::{
        Ledger, dispatch,
        operations::{
            self, due,
            work::{self, ATTEMPTS_MAX, Back, End},
        },
    },
    operations::Model,
    state::OperationState,
};
use sea_orm::Iterable;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    ground::{alone, for_each_ledger, is_postgres, run, warm},
    operations::{ask, census},
    rows::later,
};

async fn asked(ledger: &Ledger) -> i64 {
    ask(ledger, census(), None).await.unwrap().0.id
}

async fn now(ledger: &Ledger, id: i64) -> Model {
    operations::get(ledger.db(), id).await.unwrap()
}

async fn claim(ledger: &Ledger, id: i64) -> Option<Model> {
    work::claim_if_due(ledger.db(), id, "w").await.unwrap()
}

async fn change(ledger: &Ledger, id: i64, set: &str) {
    run(ledger.db(), format!("UPDATE reseal_operations SET {set} WHERE id = {id}")).await;
}

async fn end(ledger: &Ledger, held: &Model, end: End) -> bool {
    alone(ledger, async |txn| work::end_if_held(txn, "w", held, end).await).await.unwrap()
}

async fn rung(ledger: &Ledger) -> Vec<i64> {
    due::operations(ledger.db(), 100).await.unwrap().iter().map(|due| due.id).collect()
}

fn failed() -> End {
    End::Failed { code: "code".into(), detail: "detail".into(), result: None }
}

#[test]
fn of_sixteen_at_once_one_claims_it() {
    for_each_ledger(async |ledger| {
        warm(&ledger).await;
        let id = asked(&ledger).await;
        let mut all = JoinSet::new();
        for _ in 0..16 {
            let ledger = ledger.clone();
            all.spawn(async move { claim(&ledger, id).await });
        }
        let held: Vec<Model> = all.join_all().await.into_iter().flatten().collect();
        assert_eq!(held.len(), 1);
        assert_eq!((held[0].epoch, held[0].attempts, held[0].state), (1, 1, OperationState::Running));
        assert!(held[0].started_at.is_some());
    });
}

/// One that saw it free slept, and by now it was taken by another, whose lease has run out as well: both would
/// hold it under one number.
#[test]
fn a_claim_that_slept_through_another_takes_nothing() {
    for_each_ledger(async |ledger| {
        if !is_postgres(&ledger) {
            return; // on SQLite nobody sees that a writer waits
        }
        let id = asked(&ledger).await;
        let another = ledger.begin().await.unwrap();
        let held = work::claim_if_due(&another, id, "another").await.unwrap().unwrap();
        run(&another, format!("UPDATE reseal_operations SET lease_until = 1 WHERE id = {id}")).await;
        let sleeper = ledger.clone();
        let sleeper = tokio::spawn(async move { claim(&sleeper, id).await });
        let sql = "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                   WHERE NOT l.granted AND a.datname = current_database()";
        reseal_tests::eventually(std::time::Duration::from_secs(10), "it waits", async || {
            let waits = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql);
            sea_orm::ConnectionTrait::query_one_raw(ledger.db(), waits).await.unwrap()
        })
        .await;
        another.commit().await.unwrap();
        assert_eq!(sleeper.await.unwrap(), None);
        assert_eq!(now(&ledger, id).await.epoch, held.epoch);
    });
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Statement {
    Claim,
    Renew,
    Release,
    Succeed,
    Fail,
    GiveUp,
}

/// Runs one statement; true when it says that it changed something.
async fn try_one(ledger: &Ledger, what: Statement, o: &Model) -> bool {
    match what {
        Statement::Claim => claim(ledger, o.id).await.is_some(),
        Statement::Renew => work::renew_if_held(ledger.db(), o).await.unwrap(),
        Statement::Release => work::release_if_held(ledger.db(), o, 0, Back::Drained).await.unwrap(),
        Statement::Succeed => end(ledger, o, End::Succeeded(json!({}))).await,
        Statement::Fail => end(ledger, o, failed()).await,
        Statement::GiveUp => alone(ledger, async |txn| work::fail_if_abandoned(txn, "w", o).await).await.unwrap(),
    }
}

#[test]
fn its_statements_change_it_only_from_the_states_that_the_law_names() {
    use OperationState::{Failed, Requested, Running, Succeeded};
    use Statement::*;
    for_each_ledger(async |ledger| {
        let law: [(Statement, &[OperationState], OperationState); 6] = [
            (Claim, &[Requested, Running], Running),
            (Renew, &[Running], Running),
            (Release, &[Running], Requested),
            (Succeed, &[Running], Succeeded),
            (Fail, &[Running], Failed),
            (GiveUp, &[Running], Failed),
        ];
        for (what, from, to) in law {
            for state in OperationState::iter() {
                let id = asked(&ledger).await;
                // a lease that has run out, and for giving up too many claims
                let attempts = if what == GiveUp { ATTEMPTS_MAX } else { 1 };
                let set = format!("state = '{state}', epoch = 4, lease_until = 1, attempts = {attempts}");
                change(&ledger, id, &set).await;
                let before = now(&ledger, id).await;
                let changed = try_one(&ledger, what, &before).await;
                assert_eq!(changed, from.contains(&state), "{what:?} from {state}");
                let after = now(&ledger, id).await;
                assert_eq!(after.state, if changed { to } else { state }, "{what:?} from {state}");
                assert!(changed || after == before, "{what:?} from {state} changed something");
            }
        }
    });
}

#[test]
fn a_worker_that_lost_it_writes_nothing() {
    for_each_ledger(async |ledger| {
        let id = asked(&ledger).await;
        let late = claim(&ledger, id).await.unwrap();
        assert!(claim(&ledger, id).await.is_none(), "it is held");
        change(&ledger, id, "lease_until = 1").await;
        let held = claim(&ledger, id).await.unwrap();
        for what in [Statement::Renew, Statement::Release, Statement::Succeed, Statement::Fail] {
            assert!(!try_one(&ledger, what, &late).await, "{what:?}");
            assert_eq!(now(&ledger, id).await, held, "{what:?}");
        }
        assert!(end(&ledger, &held, End::Succeeded(json!({"found": 1}))).await);
        let ended = now(&ledger, id).await;
        assert_eq!(ended.result.as_deref(), Some(r#"{"found":1}"#));
        assert_eq!((ended.lease_until, ended.ended_at.is_some()), (None, true));
        assert!(!end(&ledger, &held, failed()).await, "it ends once");
        assert_eq!(now(&ledger, id).await, ended);
    });
}

#[test]
fn after_three_workers_died_at_it_it_is_given_up_and_not_before() {
    for_each_ledger(async |ledger| {
        let id = asked(&ledger).await;
        let abandoned = async || work::abandoned(ledger.db()).await.unwrap();
        for n in 1..=ATTEMPTS_MAX {
            assert_eq!(claim(&ledger, id).await.unwrap().attempts, n);
            assert!(abandoned().await.is_empty(), "the lease of claim {n} runs");
            change(&ledger, id, "lease_until = 1, next_ring_at = 0").await;
            assert_eq!(abandoned().await.len(), usize::from(n == ATTEMPTS_MAX));
            assert!(n < ATTEMPTS_MAX || claim(&ledger, id).await.is_none(), "a late message is no fourth attempt");
            let dead = now(&ledger, id).await;
            let given_up = alone(&ledger, async |txn| work::fail_if_abandoned(txn, "leader", &dead).await);
            assert_eq!(given_up.await.unwrap(), n == ATTEMPTS_MAX);
        }
        assert!(claim(&ledger, id).await.is_none());
        let ended = now(&ledger, id).await;
        assert_eq!((ended.state, ended.code.as_deref()), (OperationState::Failed, Some("kills_its_worker")));
        assert!(ended.detail.unwrap().contains("the last one was w"));
    });
}

/// The third worker came back to life in the last moment.
#[test]
fn one_that_is_alive_after_all_is_not_given_up() {
    for_each_ledger(async |ledger| {
        let id = asked(&ledger).await;
        change(&ledger, id, "attempts = 2").await;
        let held = claim(&ledger, id).await.unwrap();
        change(&ledger, id, "lease_until = 1").await;
        let seen = work::abandoned(ledger.db()).await.unwrap().remove(0);
        assert!(work::renew_if_held(ledger.db(), &held).await.unwrap());
        assert!(!alone(&ledger, async |txn| work::fail_if_abandoned(txn, "leader", &seen).await).await.unwrap());
        assert!(end(&ledger, &held, End::Succeeded(json!({}))).await);
    });
}

#[test]
fn one_that_was_given_back_in_good_order_is_due_later_and_counts_anew() {
    for_each_ledger(async |ledger| {
        let id = asked(&ledger).await;
        change(&ledger, id, "attempts = 2").await;
        let held = claim(&ledger, id).await.unwrap();
        let waits = Back::Waits("code".into(), "waits for the key".into());
        assert!(work::release_if_held(ledger.db(), &held, 60_000, waits).await.unwrap());
        let waiting = now(&ledger, id).await;
        assert_eq!((waiting.state, waiting.attempts), (OperationState::Requested, 0));
        assert_eq!(waiting.detail.as_deref(), Some("waits for the key"));
        assert!(claim(&ledger, id).await.is_none(), "its time has not come");
        assert!(rung(&ledger).await.is_empty());

        change(&ledger, id, "due_at = 0, attempts = 1").await;
        let held = claim(&ledger, id).await.unwrap();
        let failed = Back::Failed("source_unreachable".into(), "away".into());
        assert!(work::release_if_held(ledger.db(), &held, 0, failed).await.unwrap());
        assert_eq!(now(&ledger, id).await.attempts, 2, "a failure is an attempt");

        let held = claim(&ledger, id).await.unwrap();
        assert!(end(&ledger, &held, End::Succeeded(json!({}))).await);
        let ended = now(&ledger, id).await;
        assert_eq!((ended.code, ended.detail), (None, None), "what it waited for is over");
    });
}

#[test]
fn operations_are_rung_for_when_due_or_orphaned_and_not_lately() {
    for_each_ledger(async |ledger| {
        let later = later(ledger.db()).await;
        let (waits, runs) = (asked(&ledger).await, asked(&ledger).await);
        for state in ["succeeded", "failed"] {
            let ended = asked(&ledger).await;
            change(&ledger, ended, &format!("state = '{state}', lease_until = 1")).await;
        }
        claim(&ledger, runs).await.unwrap();
        assert_eq!(rung(&ledger).await, [waits]);
        change(&ledger, runs, "lease_until = 1").await;
        assert_eq!(rung(&ledger).await, [waits, runs], "its lease has run out");
        assert_eq!(due::operations(ledger.db(), 1).await.unwrap().len(), 1, "no more than asked");
        change(&ledger, waits, &format!("due_at = {later}")).await;
        assert_eq!(rung(&ledger).await, [runs], "its time has not come");
        change(&ledger, waits, "due_at = 0").await;
        change(&ledger, runs, &format!("attempts = {ATTEMPTS_MAX}")).await;
        assert_eq!(rung(&ledger).await, [waits], "that one is given up instead");

        assert_eq!(due::outstanding(ledger.db()).await.unwrap(), 0);
        due::note_ring(ledger.db(), waits, 60_000).await.unwrap();
        assert_eq!((rung(&ledger).await, now(&ledger, waits).await.rings), (Vec::new(), 1));
        assert_eq!(due::outstanding(ledger.db()).await.unwrap(), 1);
        due::note_ring(ledger.db(), waits, 0).await.unwrap();
        assert_eq!((rung(&ledger).await, now(&ledger, waits).await.rings), (vec![waits], 2), "the ring failed");
    });
}

#[test]
fn a_new_queue_is_rung_for_what_has_not_ended() {
    for_each_ledger(async |ledger| {
        let later = later(ledger.db()).await;
        let (waits, ended) = (asked(&ledger).await, asked(&ledger).await);
        for id in [waits, ended] {
            change(&ledger, id, &format!("next_ring_at = {later}")).await;
        }
        change(&ledger, ended, "state = 'failed'").await;
        assert!(alone(&ledger, async |txn| dispatch::meet_queue(txn, "one").await).await.unwrap());
        assert_eq!(now(&ledger, waits).await.next_ring_at, 0);
        assert_eq!(now(&ledger, ended).await.next_ring_at, later);
    });
}
