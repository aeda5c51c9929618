//! What a person reads on a page, where a program reads a value.

use crate::{
    site::{Site, keyset, told},
    visitor::Visitor,
};
use reqwest::{Method, StatusCode};
use reseal_entities::{
    ledger::{
        Ledger, pages,
        presence::{self, Sign},
    },
    tokens::Role,
};
use reseal_tests::for_each_ledger;
use sea_orm::ConnectionTrait;

async fn run(ledger: &Ledger, sql: &str) {
    ledger.db().execute_unprepared(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

async fn page(visitor: &Visitor, path: &str) -> String {
    let answer = visitor.get(path).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.text().await.expect("a page")
}

async fn rotation(site: &Site, id: i64) -> serde_json::Value {
    let asked = site.ask(Role::Viewer, Method::GET, &format!("/v1/rotations/{id}"));
    told(asked.send().await.expect("an answer")).await.1
}

#[test]
fn a_rotation_and_the_one_that_turned_it_round_name_each_other() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let first = site.rotate("default").await;
        run(&ledger, "UPDATE reseal_rotations SET state = 'rolled_back', open_keyset = NULL, completed_at = 1").await;
        let second = site.rotate("default").await;
        run(&ledger, &format!("UPDATE reseal_rotations SET reverses = {first} WHERE id = {second}")).await;
        let turned = rotation(&site, first).await;
        assert_eq!(turned["rolled_back_by"], second, "{turned}");
        assert_eq!(turned["summary"], format!("rolled back; rotation {second} took over, the other way"));
        assert_eq!(rotation(&site, second).await["rolled_back_by"], serde_json::Value::Null);
        let visitor = Visitor::signed_in(&site, Role::Viewer).await;
        for (from, to) in [(first, second), (second, first)] {
            let said = page(&visitor, &format!("/rotations/{from}")).await;
            assert!(said.contains(&format!("<a href=\"/rotations/{to}\">rotation {to}</a>")), "{said}");
        }
    });
}

#[test]
fn a_state_of_two_words_is_read_as_two_words_and_stays_one_value_in_the_api() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let id = site.rotate("default").await;
        let visitor = Visitor::signed_in(&site, Role::Viewer).await;
        for (state, words) in [("reencrypting", "re-encrypting"), ("rolled_back", "rolled back")] {
            run(&ledger, &format!("UPDATE reseal_rotations SET state = '{state}'")).await;
            for path in ["/rotations".to_owned(), format!("/rotations/{id}")] {
                let said = page(&visitor, &path).await;
                assert!(said.contains(&format!(">{words}</span>")), "{path}: {said}");
                assert!(!said.contains(&format!(">{state}<")), "{path}: {said}");
            }
            assert_eq!(rotation(&site, id).await["state"], state);
        }
    });
}

#[test]
fn a_rotation_whose_rows_were_all_looked_at_says_what_it_waits_for() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let id = site.rotate("default").await;
        for sql in [
            "UPDATE reseal_rotations SET state = 'reencrypting', planning_done = true".to_owned(),
            format!(
                "INSERT INTO reseal_planned_tables (id, rotation_id, source, schema_name, table_name, columns, \
                 planning_done, rows) VALUES (1, {id}, 'app', 'public', 'messages', '[]', true, 100)"
            ),
            "INSERT INTO reseal_progress (planned_table_id, slot, rows_done, reencrypted, changed_underneath) \
             VALUES (1, 0, 100, 100, 0)"
                .to_owned(),
        ] {
            run(&ledger, &sql).await;
        }
        let summary = rotation(&site, id).await["summary"].to_string();
        assert!(summary.contains("100 % done; the proof comes next"), "{summary}");
        run(&ledger, &format!(
            "INSERT INTO reseal_batches (id, rotation_id, planned_table_id, up_to_key, rows, state, epoch, rows_counted, \
             barren_claims, attempts, due_at, next_ring_at, rings) \
             VALUES (7, {id}, 1, '100', 100, 'leased', 0, 0, 0, 0, 0, 0, 0)"
        )).await;
        let summary = rotation(&site, id).await["summary"].to_string();
        assert!(summary.contains("100 % done; waits for 1 batch to end, then for the proof"), "{summary}");
        run(&ledger, "UPDATE reseal_rotations SET planning_done = false").await;
        let summary = rotation(&site, id).await["summary"].to_string();
        assert!(!summary.contains("proof"), "more batches are cut: {summary}");
    });
}

#[test]
fn the_audit_of_a_drain_names_the_worker_or_says_all() {
    for_each_ledger(async |ledger| {
        let db = ledger.db();
        for name in ["one", "two"] {
            let sign = Sign {
                name: name.into(),
                version: "0".into(),
                state: "running",
                lanes: 1,
                jobs_running: 0,
                reencrypted: 0,
                rows_per_second: None,
                keys_loaded: "[]".into(),
            };
            presence::beat(db, &sign).await.expect("a sign");
        }
        for (asked, subject) in [(Some("one"), "worker one"), (None, "workers")] {
            let txn = ledger.begin().await.expect("a transaction");
            presence::ask_to_drain(&txn, "ada", asked).await.expect("asked");
            txn.commit().await.expect("committed");
            let of = pages::Audit { subject: Some(subject.into()), ..pages::Audit::default() };
            let found = pages::audit(db, &of, None, 10).await.expect("the audit");
            assert_eq!(found.len(), 1, "{subject}");
            assert_eq!(found[0].action, "workers.drain_requested");
        }
    });
}

#[test]
fn a_key_that_is_active_again_has_not_given_way() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        run(
            &ledger,
            "INSERT INTO reseal_keys (key_id, keyset, version, state, generation, algorithm, prefix, kek_id, wrapped_dek, \
             encryptions, created_at, activated_at, deactivated_at) \
             VALUES (7, 'default', 1, 'active', 2, 'AES256_GCM', 'tink', 'kek', '123', 0, 1, 1, 1700000000000)",
        )
        .await;
        let visitor = Visitor::signed_in(&site, Role::Viewer).await;
        let said = page(&visitor, "/keys/7").await;
        assert!(!said.contains("Gave way"), "{said}");
    });
}

#[test]
fn the_audits_filters_say_that_they_compare_a_field_as_a_whole_and_do() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let id = site.rotate("default").await;
        let visitor = Visitor::signed_in(&site, Role::Admin).await;
        let part = page(&visitor, "/audit?subject=rotation").await;
        assert!(part.contains("compared as a whole") && part.contains("No entry fits"), "{part}");
        let whole = page(&visitor, &format!("/audit?subject=rotation+{id}")).await;
        assert!(whole.contains("rotation.requested"), "{whole}");
    });
}
