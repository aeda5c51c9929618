//! Asking for rotations, and steering them.

use crate::site::{Site, keyset, told};
use reqwest::{Method, StatusCode};
use reseal_entities::{rotations, tokens::Role};
use reseal_producer::{
    ClientError,
    api::{Limits, NewRotation, Reason, RotationState},
};
use reseal_tests::for_each_ledger;
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn fifty_requests_at_once_make_one_rotation() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let client = site.client(Role::Operator);
        let new = NewRotation { keyset: "default".to_owned(), ..NewRotation::default() };
        let asked = (0..50).map(|_| client.enqueue(&new, "2026-11"));
        let answers = futures::future::join_all(asked).await;
        let ids: BTreeSet<i64> = answers.into_iter().map(|answer| answer.expect("a rotation").id).collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        assert_eq!(rotations::Entity::find().count(ledger.db()).await.expect("counted"), 1);

        let another = client.enqueue(&new, "another").await.expect_err("one is open");
        let ClientError::Problem(problem) = another else { panic!("{another}") };
        assert_eq!((problem.status, problem.code.as_str()), (409, "rotation_open"));
        assert_eq!(problem.extensions["rotation_id"], json!(ids.first()));
    });
}

#[test]
fn the_same_key_with_another_request_is_refused() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "one").await;
        keyset(&ledger, "two").await;
        let client = site.client(Role::Operator);
        let new = |keyset: &str| NewRotation { keyset: keyset.to_owned(), ..NewRotation::default() };
        client.enqueue(&new("one"), "k").await.expect("a rotation");
        let refused = client.enqueue(&new("two"), "k").await.expect_err("another request");
        assert_eq!(refused.code(), Some("idempotency_key_reused"));
        let longer = NewRotation { clear_after: Some("30d".to_owned()), ..new("one") };
        let refused = client.enqueue(&longer, "k").await.expect_err("a longer wait is not silently left out");
        assert_eq!(refused.code(), Some("idempotency_key_reused"));
        let unknown = client.enqueue(&new("three"), "l").await.expect_err("no such keyset");
        assert_eq!(unknown.code(), Some("unknown_keyset"));
    });
}

#[test]
fn a_rotation_is_paused_limited_resumed_and_cancelled_and_asking_again_changes_nothing() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let (id, client) = (site.rotate("default").await, site.client(Role::Operator));
        let why = Reason { reason: Some("lunch".to_owned()) };
        for _ in 0..2 {
            let paused = client.pause(id, &why).await.expect("paused");
            assert_eq!(paused.rotation.paused_by.as_deref(), Some("token operator"));
        }
        let limits = Limits { rows_per_second: Some(500), lanes: None, batches: Some(3) };
        assert_eq!(client.limit(id, &limits).await.expect("limited"), limits);
        for _ in 0..2 {
            let resumed = client.resume(id).await.expect("resumed");
            assert_eq!((resumed.rotation.paused_by, resumed.limits), (None, limits));
        }
        for _ in 0..2 {
            let cancelled = client.cancel(id, &why).await.expect("cancelled");
            assert_eq!(cancelled.rotation.state, RotationState::Cancelled);
        }
        let entries = site.ask(Role::Auditor, Method::GET, &format!("/v1/audit?subject=rotation%20{id}"));
        let (_, audit) = told(entries.send().await.expect("an answer")).await;
        let actions: Vec<_> = audit["items"].as_array().expect("entries").iter().map(|e| e["action"].clone()).collect();
        let expected =
            ["rotation.moved", "rotation.resumed", "rotation.limited", "rotation.paused", "rotation.requested"];
        assert_eq!(json!(actions), json!(expected), "newest first, each once");
    });
}

#[test]
fn limits_come_with_the_request_and_hold_before_a_worker_begins() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let client = site.client(Role::Operator);
        let limits = Limits { rows_per_second: Some(500), lanes: Some(2), batches: None };
        let new = |limits| NewRotation { keyset: "default".to_owned(), limits: Some(limits), ..NewRotation::default() };
        let refused = client.enqueue(&new(Limits { lanes: Some(0), ..limits }), "none").await.expect_err("no lane");
        assert_eq!(refused.code(), Some("invalid_request"), "{refused}");
        let rotation = client.enqueue(&new(limits), "limited").await.expect("asked for");
        assert_eq!(client.rotation(rotation.id).await.expect("shown").limits, limits);
    });
}

#[test]
fn lists_come_in_pages_that_neither_repeat_nor_skip() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        for n in 0..7 {
            keyset(&ledger, &format!("keyset{n}")).await;
            site.rotate(&format!("keyset{n}")).await;
        }
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = site.ask(Role::Viewer, Method::GET, &format!("/v1/rotations?limit=3{cursor}"));
            let (status, page) = told(page.send().await.expect("an answer")).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            seen.extend(page["items"].as_array().expect("items").iter().map(|r| r["id"].as_i64().expect("an id")));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
        let open = site.ask(Role::Viewer, Method::GET, "/v1/rotations?keyset=keyset3&state=requested&open=true");
        let (_, open) = told(open.send().await.expect("an answer")).await;
        assert_eq!(open["items"].as_array().map(Vec::len), Some(1), "{open}");
    });
}
