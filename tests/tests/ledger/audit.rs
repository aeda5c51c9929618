//! The audit: append-only by the database's own guard, and a chain that shows what was done to it
//! where the guard was switched off.

use reseal_entities::ledger::{
    Ledger, LedgerError,
    audit::{Checkpoint, Entry, Walk, record, verify, verify_with},
};
use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio::task::JoinSet;

use crate::ground::{alone, for_each_ledger, is_postgres, run, warm};

async fn write(ledger: &Ledger, actor: &str, n: i64) -> Result<(), LedgerError> {
    let entry = Entry {
        actor,
        action: "key.promoted",
        subject: format!("key {n}"),
        before: json!({"active": n}),
        after: json!({"active": n + 1}),
    };
    alone(ledger, async |txn| record(txn, entry).await).await
}

async fn five_entries(ledger: &Ledger) {
    for n in 1..=5 {
        write(ledger, "ada", n).await.unwrap();
    }
}

#[test]
fn an_untouched_chain_verifies() {
    for_each_ledger(async |ledger| {
        let verdict = verify(ledger.db()).await.unwrap();
        assert_eq!((verdict.entries, verdict.broken), (0, None));
        five_entries(&ledger).await;
        let verdict = verify(ledger.db()).await.unwrap();
        assert_eq!((verdict.entries, verdict.broken), (5, None));
    });
}

#[test]
fn an_entry_of_a_change_that_was_rolled_back_leaves_no_gap() {
    for_each_ledger(async |ledger| {
        five_entries(&ledger).await;
        let entry = Entry { actor: "a", action: "b", subject: "c".into(), before: json!(1), after: json!(2) };
        let undone = alone(&ledger, async |txn| {
            record(txn, entry).await?;
            Err::<(), _>(LedgerError::LeaseLost)
        });
        undone.await.unwrap_err();
        write(&ledger, "bob", 6).await.unwrap();
        let verdict = verify(ledger.db()).await.unwrap();
        assert_eq!((verdict.entries, verdict.broken), (6, None));
    });
}

#[test]
fn eight_writers_at_once_keep_one_chain_without_a_gap() {
    for_each_ledger(async |ledger| {
        warm(&ledger).await;
        let mut writers = JoinSet::new();
        for writer in 0..8 {
            let ledger = ledger.clone();
            writers.spawn(async move {
                for n in 0..25 {
                    write(&ledger, &format!("writer {writer}"), n).await.unwrap();
                }
            });
        }
        writers.join_all().await;
        let verdict = verify(ledger.db()).await.unwrap();
        assert_eq!((verdict.entries, verdict.broken), (200, None));
    });
}

#[test]
fn a_chain_longer_than_one_page_is_read_to_its_end() {
    for_each_ledger(async |ledger| {
        alone(&ledger, async |txn| {
            for n in 0..1_001 {
                let subject = format!("key {n}");
                record(txn, Entry { actor: "ada", action: "a", subject, before: json!(null), after: json!(n) }).await?;
            }
            Ok(())
        })
        .await
        .unwrap();
        let verdict = verify(ledger.db()).await.unwrap();
        assert_eq!((verdict.entries, verdict.broken), (1_001, None));
        without_guards(&ledger).await;
        run(ledger.db(), "UPDATE reseal_audit SET actor = 'eve' WHERE seq = 1001").await;
        assert_eq!(verify(ledger.db()).await.unwrap().entries, 1_000);
    });
}

async fn without_guards(ledger: &Ledger) {
    if is_postgres(ledger) {
        run(ledger.db(), "ALTER TABLE reseal_audit DISABLE TRIGGER USER").await;
    } else {
        for trigger in ["update", "delete", "replace"] {
            run(ledger.db(), format!("DROP TRIGGER reseal_guard_audit_{trigger}")).await;
        }
    }
}

/// What somebody with the owner's rights and the guards switched off could do to five entries.
const TAMPERING: &[&str] = &[
    "UPDATE reseal_audit SET at = at + 1 WHERE seq = 3",
    "UPDATE reseal_audit SET actor = 'eve' WHERE seq = 3",
    "UPDATE reseal_audit SET action = 'key.destroyed' WHERE seq = 3",
    "UPDATE reseal_audit SET subject = 'key 4' WHERE seq = 3",
    "UPDATE reseal_audit SET before = '{}' WHERE seq = 3",
    "UPDATE reseal_audit SET after = '{}' WHERE seq = 3",
    "UPDATE reseal_audit SET hash = (SELECT hash FROM reseal_audit WHERE seq = 2) WHERE seq = 3",
    "UPDATE reseal_audit SET seq = 6 WHERE seq = 5",
    // the same bytes, cut elsewhere
    "UPDATE reseal_audit SET actor = actor || 'k', action = 'ey.promoted' WHERE seq = 3",
    "UPDATE reseal_audit SET before = after, after = before WHERE seq = 3",
    "DELETE FROM reseal_audit WHERE seq = 1",
    "DELETE FROM reseal_audit WHERE seq = 3",
    "DELETE FROM reseal_audit WHERE seq = 5",
    "DELETE FROM reseal_audit WHERE seq > 2",
    "DELETE FROM reseal_audit",
    "DELETE FROM reseal_audit WHERE seq = 3; UPDATE reseal_audit SET seq = 3 WHERE seq = 4; \
     UPDATE reseal_audit SET seq = 4 WHERE seq = 5; UPDATE reseal_audit_head SET seq = 4",
    // two entries in the other order
    "UPDATE reseal_audit SET seq = 99 WHERE seq = 3; UPDATE reseal_audit SET seq = 3 WHERE seq = 4; \
     UPDATE reseal_audit SET seq = 4 WHERE seq = 99",
    "INSERT INTO reseal_audit SELECT 6, at, actor, action, subject, before, after, hash, request_id FROM reseal_audit WHERE seq = 5",
    "UPDATE reseal_audit_head SET seq = 6",
    "UPDATE reseal_audit_head SET hash = (SELECT hash FROM reseal_audit WHERE seq = 4)",
    "DELETE FROM reseal_audit_head",
];

async fn is_noticed(ledger: &Ledger, tampering: &str) {
    let txn = ledger.begin().await.unwrap();
    run(&txn, tampering).await;
    let verdict = verify(&txn).await.unwrap();
    txn.rollback().await.unwrap();
    assert!(verdict.broken.is_some(), "not noticed: {tampering}");
}

#[test]
fn what_is_done_to_the_chain_behind_the_guards_is_noticed() {
    for_each_ledger(async |ledger| {
        five_entries(&ledger).await;
        without_guards(&ledger).await;
        for tampering in TAMPERING {
            is_noticed(&ledger, tampering).await;
        }
        assert_eq!(verify(ledger.db()).await.unwrap().broken, None, "nothing of it was kept");
    });
}

#[test]
fn a_head_that_was_set_back_is_noticed() {
    for_each_ledger(async |ledger| {
        five_entries(&ledger).await;
        is_noticed(&ledger, "UPDATE reseal_audit_head SET seq = 4").await;
        let back = "UPDATE reseal_audit_head SET seq = 4, hash = (SELECT hash FROM reseal_audit WHERE seq = 4)";
        is_noticed(&ledger, back).await;
    });
}

#[test]
fn a_walk_hands_out_every_entry_up_to_where_it_began_and_stops_where_the_chain_breaks() {
    for_each_ledger(async |ledger| {
        five_entries(&ledger).await;
        let mut walk = Walk::begin(ledger.db(), 2).await.unwrap();
        write(&ledger, "bob", 6).await.unwrap();
        let entries = walk.next(ledger.db()).await.unwrap();
        assert_eq!(entries.iter().map(|e| e.seq).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert_eq!((walk.end.seq, walk.end.entries, &walk.end.hash), (5, 4, &entries[3].hash));
        assert_eq!(walk.next(ledger.db()).await.unwrap(), []);
        without_guards(&ledger).await;
        for tampering in
            ["UPDATE reseal_audit SET actor = 'eve' WHERE seq = 3", "DELETE FROM reseal_audit WHERE seq > 4"]
        {
            let txn = ledger.begin().await.unwrap();
            let mut walk = Walk::begin(&txn, 1).await.unwrap();
            run(&txn, tampering).await;
            let mut broken = walk.next(&txn).await;
            while broken.as_ref().is_ok_and(|entries| !entries.is_empty()) {
                broken = walk.next(&txn).await;
            }
            assert_eq!(broken.map_err(|e| e.code()), Err("audit_broken"), "{tampering}");
            txn.rollback().await.unwrap();
        }
    });
}

#[test]
fn a_chain_that_was_cut_off_or_written_anew_does_not_fit_its_checkpoint() {
    let cut = "DELETE FROM reseal_audit WHERE seq > 3; UPDATE reseal_audit_head SET seq = 3, hash = (SELECT hash FROM \
               reseal_audit WHERE seq = 3)";
    for_each_ledger(async |ledger| {
        five_entries(&ledger).await;
        let end = Walk::begin(ledger.db(), 1).await.unwrap().end;
        assert_eq!(verify_with(ledger.db(), Some(&end)).await.unwrap().broken, None);
        without_guards(&ledger).await;
        run(ledger.db(), cut).await;
        assert_eq!(verify(ledger.db()).await.unwrap().broken, None, "by itself the chain holds");
        assert!(verify_with(ledger.db(), Some(&end)).await.unwrap().broken.is_some());
        for n in 4..=6 {
            write(&ledger, "eve", n).await.unwrap();
        }
        let broken = verify_with(ledger.db(), Some(&end)).await.unwrap().broken.unwrap();
        assert!(broken.contains("written anew"), "{broken}");
        let empty = Checkpoint { seq: 0, hash: "0".repeat(64), entries: 0 };
        assert_eq!(verify_with(ledger.db(), Some(&empty)).await.unwrap().broken, None);
    });
}

#[test]
fn an_audit_entry_is_never_updated_deleted_truncated_or_replaced() {
    let updates = [
        "seq = 9",
        "at = 1",
        "actor = 'eve'",
        "action = 'a'",
        "subject = 's'",
        "before = ''",
        "after = ''",
        "hash = ''",
        "request_id = ''",
    ];
    let copy =
        "SELECT seq, at, 'eve', action, subject, before, after, hash, request_id FROM reseal_audit WHERE seq = 3";
    for_each_ledger(async |ledger| {
        five_entries(&ledger).await;
        let mut statements: Vec<String> =
            updates.iter().map(|set| format!("UPDATE reseal_audit SET {set} WHERE seq = 3")).collect();
        statements.push("UPDATE reseal_audit SET actor = actor".into());
        statements.push("DELETE FROM reseal_audit WHERE seq = 5".into());
        statements.push("DELETE FROM reseal_audit".into());
        statements.push(format!("INSERT INTO reseal_audit {copy} ON CONFLICT (seq) DO UPDATE SET actor = 'eve'"));
        if is_postgres(&ledger) {
            statements.push("TRUNCATE reseal_audit".into());
            statements
                .push("MERGE INTO reseal_audit a USING (SELECT 1) o ON a.seq = 3 WHEN MATCHED THEN DELETE".into());
        } else {
            statements.push(format!("INSERT OR REPLACE INTO reseal_audit {copy}"));
            statements.push("UPDATE OR REPLACE reseal_audit SET seq = 3 WHERE seq = 4".into());
        }
        let replica = if is_postgres(&ledger) { &[false, true][..] } else { &[false][..] };
        for sql in &statements {
            for replica in replica {
                let txn = ledger.begin().await.unwrap();
                if *replica {
                    run(&txn, "SET LOCAL session_replication_role = replica").await;
                }
                let done = txn.execute_unprepared(sql).await;
                txn.rollback().await.unwrap();
                let refused = done.err().unwrap_or_else(|| panic!("went through: {sql}")).to_string();
                assert!(refused.contains("reseal: the audit is append-only"), "{sql}: {refused}");
            }
        }
    });
}
