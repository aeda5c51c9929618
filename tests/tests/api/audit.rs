//! The audit over HTTP.

use crate::site::{Site, keyset, told};
use reqwest::Method;
use reseal_entities::tokens::Role;
use reseal_tests::for_each_ledger;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

#[test]
fn an_export_is_the_whole_chain_and_its_checkpoint() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        site.rotate("default").await;
        let export = site.ask(Role::Auditor, Method::GET, "/v1/audit/export").send().await.expect("an answer");
        let text = export.text().await.expect("a body");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let (checkpoint, entries) = lines.split_last().expect("lines");
        let seqs: Vec<_> = entries.iter().map(|e| e["seq"].as_i64().expect("a place")).collect();
        assert_eq!(seqs, (1..=entries.len() as i64).collect::<Vec<_>>());
        assert_eq!(checkpoint["checkpoint"]["hash"], entries[entries.len() - 1]["hash"]);

        let (_, verdict) =
            told(site.ask(Role::Auditor, Method::GET, "/v1/audit/verify").send().await.expect("an answer")).await;
        assert_eq!(verdict, json!({"holds": true, "entries": entries.len(), "broken": null}));
    });
}

#[test]
fn a_request_id_that_was_changed_breaks_the_chain() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        site.rotate("default").await;
        for sql in [
            "DROP TRIGGER IF EXISTS reseal_guard_audit_update",
            "ALTER TABLE reseal_audit DISABLE TRIGGER ALL",
            "UPDATE reseal_audit SET request_id = NULL WHERE request_id IS NOT NULL",
        ] {
            // Each database knows one of the first two.
            let _ = ledger.db().execute_unprepared(sql).await;
        }
        let (_, verdict) =
            told(site.ask(Role::Auditor, Method::GET, "/v1/audit/verify").send().await.expect("an answer")).await;
        assert_eq!(verdict["holds"], json!(false), "{verdict}");
    });
}
