//! Claims: one owner at a time, and what a late one writes changes nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use reseal_entities::{
    ledger::{
        Ledger, claim,
        claim::BARREN_CLAIMS_MAX,
        plan::Bound,
        report::{self, Delta, Hold},
        steps,
        throttle::Pace,
    },
    state::{BatchState, RotationState},
};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, prelude::async_trait};
use tokio::task::JoinSet;

use crate::{
    ground::{alone, for_each_ledger, run, warm},
    rows::{World, batch, everything, later},
};

const DELTA: Delta = Delta { rows_done: 10, reencrypted: 9, changed_underneath: 1 };

async fn expire(ledger: &Ledger, batch_id: i64) {
    run(ledger.db(), format!("UPDATE reseal_batches SET lease_until = 1 WHERE id = {batch_id}")).await;
}

#[test]
fn of_sixteen_claims_at_once_exactly_one_wins() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        warm(&ledger).await;
        for _ in 0..5 {
            let pending = w.batch(ledger.db(), BatchState::Pending).await;
            for epoch in 1..=2 {
                let mut all = JoinSet::new();
                for n in 0..16 {
                    let ledger = ledger.clone();
                    all.spawn(
                        async move { claim::claim_if_due(ledger.db(), pending.id, &format!("w{n}")).await.unwrap() },
                    );
                }
                let won: Vec<_> = all.join_all().await.into_iter().flatten().collect();
                assert_eq!(won.len(), 1);
                assert_eq!(won[0].batch, batch(ledger.db(), pending.id).await);
                assert_eq!((won[0].batch.epoch, won[0].batch.state), (epoch, BatchState::Leased));
                assert_eq!((won[0].table.id, won[0].rotation.id), (w.table, w.id));
                expire(&ledger, pending.id).await;
            }
        }
    });
}

#[test]
fn a_lease_that_has_not_run_out_is_not_taken_over() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        let held = claim::claim_if_due(ledger.db(), b.id, "one").await.unwrap().unwrap().batch;
        let now = reseal_entities::ledger::now_ms(ledger.db()).await.unwrap();
        assert!((held.lease_until.unwrap() - now - claim::LEASE_MS).abs() < 20_000, "a lease of about 30 s");
        assert!(claim::claim_if_due(ledger.db(), b.id, "other").await.unwrap().is_none());
        assert!(claim::claim_if_due(ledger.db(), b.id, "one").await.unwrap().is_none());
        assert_eq!(batch(ledger.db(), b.id).await, held);
    });
}

#[test]
fn what_the_owner_before_a_takeover_writes_changes_nothing() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        let old = claim::claim_if_due(ledger.db(), b.id, "old").await.unwrap().unwrap().batch;
        expire(&ledger, b.id).await;
        let new = claim::claim_if_due(ledger.db(), b.id, "new").await.unwrap().unwrap().batch;
        assert_eq!(new.epoch, old.epoch + 1);

        let before = everything(ledger.db()).await;
        let late = alone(&ledger, async |txn| {
            assert_eq!(report::checkpoint_if_held(txn, &old, Some("50"), DELTA, 0).await?, Hold::Lost);
            assert!(!report::report_if_held(txn, &old, DELTA, 0).await?);
            assert!(!report::release_if_held(txn, &old, 0, Some(("code", "detail"))).await?);
            assert!(!report::fail_if_held(txn, &old, "code", "detail").await?);
            let middle = Bound { up_to_key: "50".into(), rows: 50 };
            assert!(!report::split_if_held(txn, &old, &middle, 50).await?);
            Ok(())
        });
        late.await.unwrap();
        assert_eq!(everything(ledger.db()).await, before);
        let told = reseal_entities::ledger::read::status(ledger.db(), w.id).await.unwrap();
        assert_eq!((told.rows_done, told.reencrypted), (0, 0), "nor does the progress count it");

        assert!(alone(&ledger, async |txn| report::report_if_held(txn, &new, DELTA, 0).await).await.unwrap());
    });
}

#[test]
fn a_batch_is_claimed_only_when_it_is_due_and_its_rotation_goes_on() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        let now = reseal_entities::ledger::now_ms(ledger.db()).await.unwrap();
        let obstacles = [
            (format!("UPDATE reseal_rotations SET paused_at = 1 WHERE id = {}", w.id), "paused_at = NULL"),
            (format!("UPDATE reseal_batches SET due_at = {} WHERE id = {}", now + 60_000, b.id), "due_at = 0"),
            (format!("UPDATE reseal_rotations SET state = 'proving' WHERE id = {}", w.id), "state = 'reencrypting'"),
        ];
        for (obstacle, away) in &obstacles {
            run(ledger.db(), obstacle).await;
            let before = everything(ledger.db()).await;
            assert!(claim::claim_if_due(ledger.db(), b.id, "w").await.unwrap().is_none(), "{obstacle}");
            assert_eq!(everything(ledger.db()).await, before, "{obstacle}");
            let (set, rest) = obstacle.split_once(" SET ").unwrap();
            let condition = rest.split_once(" WHERE ").unwrap().1;
            run(ledger.db(), format!("{set} SET {away} WHERE {condition}")).await;
        }
        assert!(claim::claim_if_due(ledger.db(), b.id, "w").await.unwrap().is_some());
    });
}

#[test]
fn a_claim_without_progress_counts_against_the_batch_and_one_with_progress_does_not() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        for n in 1..=BARREN_CLAIMS_MAX {
            let held = claim::claim_if_due(ledger.db(), b.id, "w").await.unwrap().unwrap().batch;
            assert_eq!(held.barren_claims, n);
            expire(&ledger, b.id).await;
        }
        let held = claim::claim_if_due(ledger.db(), b.id, "w").await.unwrap().unwrap().batch;
        let kept = alone(&ledger, async |txn| report::checkpoint_if_held(txn, &held, Some("50"), DELTA, 0).await).await;
        assert_eq!(kept.unwrap(), Hold::Held(Pace::Unlimited));
        let after = batch(ledger.db(), b.id).await;
        assert_eq!((after.barren_claims, after.cursor.as_deref(), after.rows_counted), (0, Some("50"), 10));
        expire(&ledger, b.id).await;
        let next = claim::claim_if_due(ledger.db(), b.id, "w").await.unwrap().unwrap().batch;
        assert_eq!((next.barren_claims, next.cursor.as_deref()), (1, Some("50")), "it goes on from the cursor");
    });
}

#[test]
fn a_split_puts_two_batches_in_place_of_what_is_left() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let held = w.batch(ledger.db(), BatchState::Leased).await;
        let split = alone(&ledger, async |txn| {
            report::checkpoint_if_held(txn, &held, Some("20"), Delta { rows_done: 20, ..DELTA }, 0).await?;
            let held = batch(txn, held.id).await;
            report::split_if_held(txn, &held, &Bound { up_to_key: "60".into(), rows: 40 }, 40).await
        });
        assert!(split.await.unwrap());
        let ranges: Vec<_> =
            everything(ledger.db()).await.2.into_iter().map(|b| (b.state, b.after_key, b.up_to_key, b.rows)).collect();
        let some = |key: &str| Some(key.to_owned());
        let pending = BatchState::Pending;
        assert_eq!(ranges[0].0, BatchState::Superseded);
        assert_eq!(ranges[1..], [(pending, some("20"), "60".into(), 40), (pending, some("60"), "100".into(), 40)]);
    });
}

#[test]
fn of_sixteen_claims_of_a_step_exactly_one_wins() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Proving).await;
        warm(&ledger).await;
        for round in 1..=3 {
            let mut all = JoinSet::new();
            for n in 0..16 {
                let (ledger, id) = (ledger.clone(), w.id);
                let states = [RotationState::Proving];
                all.spawn(
                    async move { steps::claim_if_due(ledger.db(), id, &format!("w{n}"), &states).await.unwrap() },
                );
            }
            let won: Vec<_> = all.join_all().await.into_iter().flatten().collect();
            assert_eq!(won.len(), 1);
            assert_eq!(won[0].step_epoch, 7 + round);
            run(ledger.db(), "UPDATE reseal_rotations SET step_lease_until = 1").await;
            assert!(!steps::renew_if_held(ledger.db(), w.id, won[0].step_epoch - 1).await.unwrap());
        }
    });
}

#[test]
fn a_step_is_claimed_only_in_its_state_when_due_and_not_paused() {
    for_each_ledger(async |ledger| {
        let later = later(ledger.db()).await;
        for obstacle in [
            "paused_at = 1",
            &format!("step_due_at = {later}"),
            "state = 'waiting'",
            &format!("step_lease_until = {later}"),
        ] {
            let w = World::at(ledger.db(), RotationState::Proving).await;
            run(ledger.db(), format!("UPDATE reseal_rotations SET {obstacle} WHERE id = {}", w.id)).await;
            let before = everything(ledger.db()).await;
            let claimed = steps::claim_if_due(ledger.db(), w.id, "w", &[RotationState::Proving]).await.unwrap();
            assert!(claimed.is_none(), "{obstacle}");
            assert_eq!(everything(ledger.db()).await, before, "{obstacle}");
        }
    });
}

/// A connection whose process is stopped between its first write and its next read, for as long
/// as another lane of the same worker takes to claim what has run out meanwhile.
struct Stopped<'a> {
    ledger: &'a Ledger,
    meanwhile: &'a str,
    batch: Option<i64>,
    rotation: i64,
    over: AtomicBool,
}

#[async_trait::async_trait]
impl ConnectionTrait for Stopped<'_> {
    fn get_database_backend(&self) -> DbBackend {
        self.ledger.db().get_database_backend()
    }
    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.ledger.db().execute_raw(statement).await
    }
    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.ledger.db().execute_unprepared(sql).await
    }
    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        if !self.over.swap(true, Ordering::SeqCst) && statement.sql.starts_with("SELECT") {
            run(self.ledger.db(), self.meanwhile).await;
            match self.batch {
                Some(id) => drop(claim::claim_if_due(self.ledger.db(), id, "w").await.unwrap().expect("claimed")),
                None => {
                    let states = [RotationState::Proving];
                    drop(
                        steps::claim_if_due(self.ledger.db(), self.rotation, "w", &states)
                            .await
                            .unwrap()
                            .expect("claimed"),
                    );
                }
            }
        }
        self.ledger.db().query_one_raw(statement).await
    }
    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.ledger.db().query_all_raw(statement).await
    }
}

#[test]
fn two_lanes_of_one_worker_never_hold_one_batch_under_one_epoch() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Pending).await;
        let meanwhile = "UPDATE reseal_batches SET lease_until = 1";
        let stopped =
            Stopped { ledger: &ledger, meanwhile, batch: Some(b.id), rotation: w.id, over: AtomicBool::new(false) };
        let late = claim::claim_if_due(&stopped, b.id, "w").await.unwrap();
        assert_ne!(late.map(|late| late.batch.epoch), Some(2), "the other lane's epoch");
    });
}

#[test]
fn two_lanes_of_one_worker_never_hold_one_step_under_one_epoch() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Proving).await;
        let meanwhile = "UPDATE reseal_rotations SET step_lease_until = 1";
        let stopped = Stopped { ledger: &ledger, meanwhile, batch: None, rotation: w.id, over: AtomicBool::new(false) };
        let late = steps::claim_if_due(&stopped, w.id, "w", &[RotationState::Proving]).await.unwrap();
        assert_ne!(late.map(|late| late.step_epoch), Some(9), "the other lane's epoch");
    });
}
