//! The request that an audit entry belongs to: part of the entry, and of its hash.

use reseal_entities::{
    audit as rows,
    ledger::{
        Ledger,
        audit::{self, Entry, under_request},
    },
};
use sea_orm::{EntityTrait, QueryOrder};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::ground::{alone, for_each_ledger, is_postgres, run};

async fn write(ledger: &Ledger, n: i64) {
    let entry = Entry {
        actor: "ada",
        action: "key.promoted",
        subject: format!("key {n}"),
        before: json!({"active": n}),
        after: json!({"active": n + 1}),
    };
    alone(ledger, async |txn| audit::record(txn, entry).await).await.unwrap();
}

async fn entries(ledger: &Ledger) -> Vec<rows::Model> {
    rows::Entity::find().order_by_asc(rows::Column::Seq).all(ledger.db()).await.unwrap()
}

/// The hash as docs/operating.md tells it.
fn hash_of(previous: &str, row: &rows::Model) -> String {
    let mut bytes = Vec::new();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.as_bytes());
    };
    if let Some(id) = &row.request_id {
        bytes.extend(b"request_id");
        text(&mut bytes, id);
    }
    bytes.extend(previous.as_bytes());
    bytes.extend(row.seq.to_be_bytes());
    bytes.extend(row.at.to_be_bytes());
    for field in [&row.actor, &row.action, &row.subject, &row.before, &row.after] {
        text(&mut bytes, field);
    }
    hex::encode(Sha256::digest(bytes))
}

#[test]
fn what_is_recorded_under_a_request_bears_its_id_and_nothing_else_does() {
    for_each_ledger(async |ledger| {
        write(&ledger, 1).await;
        under_request("r-2".into(), async {
            write(&ledger, 2).await;
            under_request("r-3".into(), write(&ledger, 3)).await;
            write(&ledger, 4).await;
            let of_its_own = ledger.clone();
            tokio::spawn(async move { write(&of_its_own, 5).await }).await.unwrap();
        })
        .await;
        under_request("ü".repeat(65), write(&ledger, 6)).await;
        let ids: Vec<_> = entries(&ledger).await.into_iter().map(|e| e.request_id).collect();
        let id = |id: &str| Some(id.to_owned());
        assert_eq!(ids, [None, id("r-2"), id("r-3"), id("r-2"), None, Some("ü".repeat(64))]);
        let verdict = audit::verify(ledger.db()).await.unwrap();
        assert_eq!((verdict.entries, verdict.broken), (6, None));
    });
}

#[test]
fn entries_with_and_without_a_request_hash_as_the_documentation_says() {
    for_each_ledger(async |ledger| {
        write(&ledger, 1).await;
        under_request("r".into(), write(&ledger, 2)).await;
        write(&ledger, 3).await;
        let mut previous = "0".repeat(64);
        for row in entries(&ledger).await {
            assert_eq!(row.hash, hash_of(&previous, &row), "entry {}", row.seq);
            previous = row.hash;
        }
    });
}

/// Without a request an entry hashes as it did before there were any.
#[test]
fn a_chain_from_before_requests_had_ids_still_holds() {
    for_each_ledger(async |ledger| {
        let first = "a78b44f8ca4b0f649dd0801dbc9a5d2ab9e8486553f715a89c189f5cb7c4a372";
        run(
            ledger.db(),
            format!(
                "INSERT INTO reseal_audit (seq, at, actor, action, subject, before, after, hash) VALUES \
                 (1, 1700000000000, 'ada', 'keyset.created', 'keyset default', 'null', '{{}}', '{first}'); \
                 UPDATE reseal_audit_head SET seq = 1, hash = '{first}'"
            ),
        )
        .await;
        under_request("r".into(), write(&ledger, 2)).await;
        let verdict = audit::verify(ledger.db()).await.unwrap();
        assert_eq!((verdict.entries, verdict.broken), (2, None));
    });
}

#[test]
fn a_request_id_that_is_added_taken_away_or_changed_is_noticed() {
    let tampering = [
        "request_id = 'r' WHERE seq = 1",
        "request_id = '' WHERE seq = 1",
        "request_id = NULL WHERE seq = 2",
        "request_id = '' WHERE seq = 2",
        "request_id = 's' WHERE seq = 2",
        "request_id = NULL WHERE seq = 3",
        // the same bytes, cut elsewhere
        "request_id = request_id || 'a', actor = 'da' WHERE seq = 2",
        "request_id = NULL, after = after || request_id WHERE seq = 2",
    ];
    for_each_ledger(async |ledger| {
        write(&ledger, 1).await;
        under_request("r".into(), write(&ledger, 2)).await;
        under_request(String::new(), write(&ledger, 3)).await;
        assert_eq!(audit::verify(ledger.db()).await.unwrap().broken, None);
        if is_postgres(&ledger) {
            run(ledger.db(), "ALTER TABLE reseal_audit DISABLE TRIGGER USER").await;
        } else {
            run(ledger.db(), "DROP TRIGGER reseal_guard_audit_update").await;
        }
        for what in tampering {
            let txn = ledger.begin().await.unwrap();
            assert_eq!(run(&txn, format!("UPDATE reseal_audit SET {what}")).await, 1);
            let verdict = audit::verify(&txn).await.unwrap();
            txn.rollback().await.unwrap();
            assert!(verdict.broken.is_some(), "not noticed: {what}");
        }
    });
}
