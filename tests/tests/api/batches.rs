//! One batch: how the tries at it ended, and smaller ones in its place.

use crate::site::{Site, keyset, told};
use reqwest::{Method, StatusCode};
use reseal_entities::{
    ledger::{Ledger, claim, report},
    tokens::Role,
};
use reseal_tests::for_each_ledger;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

/// A pending batch of 100 rows whose rotation re-encrypts; its id.
async fn batch(ledger: &Ledger, site: &Site) -> i64 {
    keyset(ledger, "default").await;
    let rotation = site.rotate("default").await;
    for sql in [
        "UPDATE reseal_rotations SET state = 'reencrypting'".to_owned(),
        format!(
            "INSERT INTO reseal_planned_tables (id, rotation_id, source, schema_name, table_name, columns, planning_done, rows) \
             VALUES (1, {rotation}, 'app', 'public', 'messages', '[]', true, 100)"
        ),
        format!(
            "INSERT INTO reseal_batches (id, rotation_id, planned_table_id, up_to_key, rows, state, epoch, rows_counted, \
             barren_claims, attempts, due_at, next_ring_at, rings) \
             VALUES (7, {rotation}, 1, '100', 100, 'pending', 0, 0, 0, 0, 0, 0, 0)"
        ),
    ] {
        ledger.db().execute_unprepared(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    7
}

async fn ask(site: &Site, role: Role, method: Method, path: &str) -> (StatusCode, Value) {
    told(site.ask(role, method, path).send().await.expect("an answer")).await
}

#[test]
fn a_batchs_tries_are_told_with_their_cause_and_the_lost_ones_by_number() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let id = batch(&ledger, &site).await;
        let attempts = format!("/v1/batches/{id}/attempts");
        let (_, none) = ask(&site, Role::Viewer, Method::GET, &attempts).await;
        assert_eq!(none, json!({"ended": [], "lost": []}));
        for dies in [true, false] {
            let held = claim::claim_if_due(ledger.db(), id, "w-1").await.expect("asked").expect("claimed").batch;
            if dies {
                ledger.db().execute_unprepared("UPDATE reseal_batches SET lease_until = 1").await.expect("run out");
                continue;
            }
            let txn = ledger.begin().await.expect("a transaction");
            report::fail_if_held(&txn, &held, "source_busy", "no connection").await.expect("failed");
            txn.commit().await.expect("committed");
        }
        let (status, said) = ask(&site, Role::Viewer, Method::GET, &attempts).await;
        assert_eq!((status, &said["lost"]), (StatusCode::OK, &json!([1])), "{said}");
        let mut ended = said["ended"][0].clone();
        for time in ["began_at", "ended_at"] {
            assert!(ended[time].take().as_str().is_some_and(|t| t.ends_with('Z')), "{time} of {said}");
        }
        let expected = json!({"epoch": 2, "worker": "w-1", "began_at": null, "ended_at": null, "outcome": "failed",
            "code": "source_busy", "detail": "no connection", "rows_done": 0});
        assert_eq!(ended, expected);
        let (status, said) = ask(&site, Role::Viewer, Method::GET, "/v1/batches/999/attempts").await;
        assert_eq!((status, said["code"].as_str()), (StatusCode::NOT_FOUND, Some("unknown_batch")));
    });
}

#[test]
fn a_batch_is_asked_to_be_split_by_name_and_asking_again_changes_nothing() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let id = batch(&ledger, &site).await;
        let path = format!("/v1/batches/{id}/split");
        for _ in 0..2 {
            let (status, said) = ask(&site, Role::Operator, Method::POST, &path).await;
            assert_eq!(
                (status, &said["id"], &said["state"]),
                (StatusCode::OK, &json!(id), &json!("pending")),
                "{said}"
            );
            assert_eq!(said["table"], "app:public.messages");
        }
        let audit = format!("/v1/audit?subject=batch%20{id}");
        let (_, audit) = ask(&site, Role::Auditor, Method::GET, &audit).await;
        let entries = audit["items"].as_array().expect("entries");
        assert_eq!(entries.len(), 1, "{audit}");
        assert_eq!(
            (&entries[0]["action"], &entries[0]["actor"]),
            (&json!("batch.split_asked"), &json!("token operator"))
        );
        let claimed = claim::claim_if_due(ledger.db(), id, "w").await.expect("asked").expect("claimed").batch;
        assert!(claimed.split_asked);
        ledger
            .db()
            .execute_unprepared("UPDATE reseal_batches SET state = 'done', split_asked = false")
            .await
            .expect("done");
        let (status, said) = ask(&site, Role::Operator, Method::POST, &path).await;
        assert_eq!((status, said["code"].as_str()), (StatusCode::CONFLICT, Some("nothing_to_split")), "{said}");
    });
}

#[test]
fn failed_batches_are_asked_to_be_split_by_their_cause_and_the_same_key_asks_once() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let id = batch(&ledger, &site).await;
        let failed = "UPDATE reseal_batches SET state = 'failed', code = 'source_busy', split_asked = false";
        ledger.db().execute_unprepared(failed).await.expect("failed");
        let (_, shown) = ask(&site, Role::Viewer, Method::GET, &format!("/v1/batches/{id}")).await;
        let path = format!("/v1/rotations/{}/split", shown["rotation_id"]);
        let split = async |key: &str, filter: Value| {
            let request = site.ask(Role::Operator, Method::POST, &path).header("idempotency-key", key);
            told(request.json(&filter).send().await.expect("an answer")).await
        };
        let (status, said) = split("a", json!({"code": "another"})).await;
        assert_eq!((status, &said["retried"]["matched"]), (StatusCode::ACCEPTED, &json!(0)), "{said}");
        for _ in 0..2 {
            let (status, said) = split("b", json!({"code": "source_busy"})).await;
            assert_eq!((status, &said["kind"]), (StatusCode::ACCEPTED, &json!("split")), "{said}");
            assert_eq!(said["retried"], json!({"matched": 1, "applied": 1, "skipped": 0}));
        }
        let claimed = claim::claim_if_due(ledger.db(), id, "w").await.expect("asked").expect("claimed").batch;
        assert!(claimed.split_asked);
        let (status, said) = split("c", json!({"quarantined": true})).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "rows are not split: {said}");
    });
}
