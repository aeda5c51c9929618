//! Who waits for whom: two that change the same things at once wait in one order, and neither is thrown out.
//!
//! On PostgreSQL each test makes the two queue at a lock that a third holds, in the order that used to be fatal; on SQLite
//! transactions that write come one after another anyway.

use std::time::Duration;

use reseal_entities::{
    ledger::{
        clear, hold,
        plan::Bound,
        report,
        scope::Scope,
        sessions, split,
        tokens::{self, New},
    },
    state::{BatchState, KeyState, RotationState},
    tokens::Role,
};
use tokio::time::timeout;

use crate::{
    ground::{alone, for_each_ledger, is_postgres, run, wait_for_a_lock, warm},
    rows::{World, batch, column, everything, key_row, proof},
};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_second_click_on_split_does_not_stop_the_worker_that_splits() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let held = w.batch(ledger.db(), BatchState::Leased).await;
        run(ledger.db(), "UPDATE reseal_batches SET split_asked = true").await;
        let held = batch(ledger.db(), held.id).await;
        warm(&ledger).await;
        // given somebody who has the batch, the worker that waits for it, and then the person
        let third = ledger.begin().await.unwrap();
        run(&third, format!("UPDATE reseal_batches SET rows = rows WHERE id = {}", held.id)).await;
        let (db, id) = (ledger.clone(), held.id);
        let worker = tokio::spawn(async move {
            let middle = Bound { up_to_key: "50".into(), rows: 50 };
            alone(&db, async |txn| report::split_if_held(txn, &held, &middle, 50).await).await
        });
        wait_for_a_lock(&ledger, 1).await;
        let db = ledger.clone();
        let person = tokio::spawn(async move { alone(&db, async |txn| split::ask(txn, "ada", id).await).await });
        wait_for_a_lock(&ledger, 2).await;
        // when it is let go
        third.commit().await.unwrap();
        let (worker, person) =
            timeout(PATIENCE, async { (worker.await.unwrap(), person.await.unwrap()) }).await.unwrap();
        // then both have their answer
        assert!(worker.unwrap(), "the batch was its own");
        assert!(person.unwrap().split_asked);
        assert_eq!(everything(ledger.db()).await.2.len(), 3, "one batch, and its halves");
    });
}

#[test]
fn an_alarm_and_the_wipe_of_its_key_wait_in_one_order() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Clearing).await;
        let column = column(ledger.db(), &w.keyset).await;
        proof(ledger.db(), w.id, column).await;
        warm(&ledger).await;
        // given somebody who has the rotation, the wipe that waits for it, and then the alarm
        let third = ledger.begin().await.unwrap();
        run(&third, format!("UPDATE reseal_rotations SET rings = rings WHERE id = {}", w.id)).await;
        let (db, held) = (ledger.clone(), w.rotation(ledger.db()).await);
        let wiping = tokio::spawn(async move {
            alone(&db, async |txn| clear::wipe_if_held(txn, "w", &held, &Scope::default()).await).await
        });
        wait_for_a_lock(&ledger, 1).await;
        let (db, old) = (ledger.clone(), w.old);
        let alarm =
            tokio::spawn(async move { alone(&db, async |txn| hold::note_use(txn, "app", old, "here").await).await });
        wait_for_a_lock(&ledger, 2).await;
        // when it is let go
        third.commit().await.unwrap();
        let both = timeout(PATIENCE, async { (wiping.await.unwrap(), alarm.await.unwrap()) });
        let (wiped, alarmed) = both.await.unwrap();
        // then neither is thrown out, and the alarm knows whether it came in time
        let destroyed = key_row(ledger.db(), w.old).await.state == KeyState::Destroyed;
        assert_eq!(alarmed.unwrap(), !destroyed, "held, or too late");
        assert_eq!(wiped.is_ok(), destroyed);
    });
}

#[test]
fn who_signs_in_anew_and_who_revokes_the_token_both_get_through() {
    for_each_ledger(async |ledger| {
        let new = New { name: Some("ada".into()), role: Role::Admin, expires_in_ms: None, requests_per_second: None };
        let (token, _) = alone(&ledger, async |txn| tokens::create(txn, "root", &new).await).await.unwrap();
        let (before, _) = alone(&ledger, async |txn| sessions::open(txn, &token).await).await.unwrap();
        warm(&ledger).await;
        // given somebody who has the token, who revokes it waiting, and then who signs in with it
        let third = ledger.begin().await.unwrap();
        if is_postgres(&ledger) {
            run(&third, format!("SELECT 1 FROM reseal_tokens WHERE id = {} FOR UPDATE", token.id)).await;
        }
        let (db, id) = (ledger.clone(), token.id);
        let revoking = tokio::spawn(async move { alone(&db, async |txn| tokens::revoke(txn, "root", id).await).await });
        wait_for_a_lock(&ledger, 1).await;
        let db = ledger.clone();
        let signing_in = tokio::spawn(async move {
            alone(&db, async |txn| sessions::open_instead(txn, &token, Some(before.id)).await).await
        });
        wait_for_a_lock(&ledger, 2).await;
        // when it is let go
        third.rollback().await.unwrap();
        let both = timeout(PATIENCE, async { (revoking.await.unwrap(), signing_in.await.unwrap()) });
        let (revoked, opened) = both.await.unwrap();
        // then both are done, and the session opens nothing
        assert!(revoked.unwrap());
        let (_, presented) = opened.unwrap();
        let refused = sessions::authenticate(ledger.db(), &presented).await.unwrap().unwrap_err();
        assert_eq!(refused, sessions::Refusal::Token(tokens::Refusal::Revoked));
    });
}
