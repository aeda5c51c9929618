//! What pages lead to, and what they say of what was typed.

use crate::{
    site::{Site, keyset},
    visitor::Visitor,
};
use reqwest::{Method, StatusCode};
use reseal_entities::{ledger::Ledger, tokens::Role};
use reseal_tests::for_each_ledger;
use sea_orm::ConnectionTrait;

async fn page(visitor: &Visitor, path: &str) -> String {
    let answer = visitor.get(path).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.text().await.expect("a page")
}

async fn run(ledger: &Ledger, sql: &str) {
    ledger.db().execute_unprepared(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

#[test]
fn a_page_that_is_not_there_keeps_the_menu_for_who_is_signed_in() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        for (visitor, has_menu) in [(Visitor::signed_in(&site, Role::Viewer).await, true), (Visitor::new(&site), false)]
        {
            let request = visitor.ask(Method::GET, "/nowhere").header("accept", "text/html");
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::NOT_FOUND);
            let page = answer.text().await.expect("a page");
            assert!(page.contains("there is no such page"), "{page}");
            assert_eq!(page.contains("href=\"/workers\""), has_menu, "{page}");
        }
    });
}

#[test]
fn a_limit_that_does_not_fit_is_named_as_the_page_names_it() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let id = site.rotate("default").await;
        let visitor = Visitor::signed_in(&site, Role::Operator).await;
        for (field, typed, label) in [
            ("rows_per_second", "99999999999999999999", "Rows per second: <code>99999999999999999999</code> is not"),
            ("lanes", "abc", "Batches in hand at once (lanes): <code>abc</code> is not"),
            ("lanes", "0", "Batches in hand at once (lanes): not a number from 1 to 100000"),
            ("batches", "-1", "Batches in the queue or in hand: not a number from 1"),
        ] {
            let answer = visitor.post(&format!("/rotations/{id}/limits"), &[(field, typed)]).await;
            assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{typed}");
            let page = answer.text().await.expect("a page");
            assert!(page.contains(label) && page.contains(&format!("Rotation {id} of default")), "{typed}: {page}");
        }
    });
}

#[test]
fn a_batch_leads_to_its_own_quarantined_rows_and_a_rotation_to_the_one_that_turned_it_round() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        for name in ["default", "other"] {
            keyset(&ledger, name).await;
        }
        let (there, back) = (site.rotate("default").await, site.rotate("other").await);
        run(&ledger, &format!("UPDATE reseal_rotations SET reverses = {there} WHERE id = {back}")).await;
        let ended = "state = 'rolled_back', open_keyset = NULL, completed_at = 1";
        run(&ledger, &format!("UPDATE reseal_rotations SET {ended} WHERE id = {there}")).await;
        run(
            &ledger,
            &format!(
                "INSERT INTO reseal_planned_tables (id, rotation_id, source, schema_name, table_name, columns, planning_done, rows) \
                 VALUES (1, {there}, 'app', 'public', 'messages', '[]', true, 100)"
            ),
        )
        .await;
        for batch in [7, 8, 9] {
            run(
                &ledger,
                &format!(
                    "INSERT INTO reseal_batches (id, rotation_id, planned_table_id, up_to_key, rows, state, epoch, \
                     rows_counted, barren_claims, attempts, due_at, next_ring_at, rings) \
                     VALUES ({batch}, {there}, 1, '100', 100, 'done', 1, 100, 0, 0, 0, 0, 0)"
                ),
            )
            .await;
        }
        for (row, batch) in [(1, 7), (2, 8), (3, 8)] {
            run(
                &ledger,
                &format!(
                    "INSERT INTO reseal_quarantine (id, rotation_id, planned_table_id, batch_id, row_key, row_hash, column_name, \
                     live, code, cell_bytes, state, found_at) \
                     VALUES ({row}, {there}, 1, {batch}, 'key-{row}', 'h{row}', 'c', true, 'not_authentic', 3, 'open', 1)"
                ),
            )
            .await;
        }
        let visitor = Visitor::signed_in(&site, Role::Viewer).await;
        for (batch, rows) in [(7, &["key-1"][..]), (8, &["key-2", "key-3"])] {
            let to = format!("/rotations/{there}/quarantine?batch={batch}");
            let shown = page(&visitor, &format!("/batches/{batch}")).await;
            assert!(shown.contains(&format!("<a href=\"{to}\">{}</a>", rows.len())), "{shown}");
            let listed = page(&visitor, &to).await;
            for row in ["key-1", "key-2", "key-3"] {
                assert_eq!(listed.contains(row), rows.contains(&row), "{row} of batch {batch}: {listed}");
            }
        }
        assert!(!page(&visitor, "/batches/9").await.contains("/quarantine?batch=9"), "it has none");
        let shown = page(&visitor, &format!("/rotations/{there}")).await;
        assert!(shown.contains(&format!("Turned round by</dt><dd><a href=\"/rotations/{back}\">")), "{shown}");
        assert!(!page(&visitor, &format!("/rotations/{back}")).await.contains("Turned round by"));
    });
}
