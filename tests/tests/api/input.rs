//! Bad input gets a clear error, and loses nothing.

use crate::site::{Site, keyset, told};
use reqwest::{Method, StatusCode};
use reseal_entities::{rotations, tokens::Role};
use reseal_tests::for_each_ledger;
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait};
use serde_json::{Value, json};

async fn post(site: &Site, body: impl Into<reqwest::Body>) -> (StatusCode, Value) {
    let request = site.ask(Role::Admin, Method::POST, "/v1/rotations").header("content-type", "application/json");
    told(request.body(body).send().await.expect("an answer")).await
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_kept() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let long = json!({"keyset": "default", "reason": "a".repeat(1_001)}).to_string();
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        let large = format!("{{\"keyset\": \"default\", \"reason\": \"{}\"}}", "a".repeat(300_000));
        for (body, status, code, field) in [
            ("", 400, "malformed_json", ""),
            ("{", 400, "malformed_json", ""),
            ("{\"keyset\": \"default\"} {}", 400, "malformed_json", ""),
            (&*deep, 422, "invalid_request", ""),
            (r#"["default"]"#, 422, "invalid_request", ""),
            (&large, 413, "body_too_large", ""),
            ("{}", 422, "invalid_request", ""),
            ("[]", 422, "invalid_request", ""),
            (r#"{"keyset": 7}"#, 422, "invalid_request", "/keyset"),
            (r#"{"keyset": ""}"#, 422, "invalid_request", "/keyset"),
            (r#"{"keyset": "default", "to_key_id": -1}"#, 422, "invalid_request", "/to_key_id"),
            (r#"{"keyset": "default", "surprise": 1}"#, 422, "invalid_request", "/surprise"),
            (r#"{"keyset": "default", "clear_after": "soon"}"#, 422, "invalid_request", "/clear_after"),
            (r#"{"keyset": "default", "clear_after": "1s"}"#, 409, "clear_after_shortened", ""),
            (r#"{"keyset": "default", "reason": "\u0000"}"#, 422, "invalid_request", ""),
            (&long, 422, "invalid_request", "/reason"),
            (r#"{"keyset": "nothing"}"#, 404, "unknown_keyset", ""),
        ] {
            let (got, problem) = post(&site, body.to_owned()).await;
            let about = &body[..body.len().min(60)];
            assert_eq!((got.as_u16(), problem["code"].as_str()), (status, Some(code)), "{about}: {problem}");
            assert_eq!(problem["status"], json!(status));
            assert_eq!(problem["type"], json!(format!("urn:reseal:problem:{code}")));
            if !field.is_empty() {
                assert_eq!(problem["errors"][0]["pointer"], json!(field), "{about}: {problem}");
            }
        }
        assert_eq!(rotations::Entity::find().count(ledger.db()).await.expect("counted"), 0);
    });
}

#[test]
fn parameters_and_headers_are_checked_too() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        for (path, status) in [
            ("/v1/rotations?limit=0", 422),
            ("/v1/rotations?limit=501", 422),
            ("/v1/rotations?limit=many", 422),
            ("/v1/rotations?cursor=7", 422),
            ("/v1/rotations?state=lost", 422),
            ("/v1/rotations?keyset=%00", 422),
            ("/v1/rotations/seven", 422),
            ("/v1/rotations/%00", 422),
            ("/v1/rotations/7", 404),
            ("/v1/batches/7", 404),
            ("/v1/keys/7", 404),
            ("/v1/nothing", 404),
        ] {
            let (got, problem) = told(site.ask(Role::Admin, Method::GET, path).send().await.expect("an answer")).await;
            assert_eq!(got.as_u16(), status, "{path}: {problem}");
            assert_eq!(problem["status"], json!(status), "{path}: {problem}");
        }
        let long = "k".repeat(129);
        for key in ["", "a b", &long] {
            let request = site.ask(Role::Admin, Method::POST, "/v1/rotations").json(&json!({"keyset": "default"}));
            let (got, problem) = told(request.header("idempotency-key", key).send().await.expect("an answer")).await;
            assert_eq!((got.as_u16(), &problem["errors"][0]["pointer"]), (422, &json!("Idempotency-Key")), "{problem}");
        }
        let plain = site.ask(Role::Admin, Method::POST, "/v1/rotations").body("keyset=default").send().await;
        assert_eq!(told(plain.expect("an answer")).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let other = site.ask(Role::Admin, Method::DELETE, "/v1/rotations").send().await.expect("an answer");
        assert_eq!(
            (other.status(), other.headers()["allow"].to_str().ok()),
            (StatusCode::METHOD_NOT_ALLOWED, Some("POST, GET"))
        );
    });
}

#[test]
fn what_a_database_says_stays_in_the_log() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        ledger.db().execute_unprepared("ALTER TABLE reseal_catalog RENAME TO gone_catalog").await.expect("renamed");
        ledger.db().execute_unprepared("ALTER TABLE reseal_rotations RENAME TO gone").await.expect("renamed");
        let (status, problem) =
            told(site.ask(Role::Viewer, Method::GET, "/v1/rotations").send().await.expect("an answer")).await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (503, Some("ledger_failed")));
        let text = problem.to_string();
        assert!(!text.contains("reseal_rotations") && !text.contains("relation") && !text.contains("table"), "{text}");
    });
}

#[test]
fn a_request_keeps_its_id_into_the_audit() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let request = site.ask(Role::Operator, Method::POST, "/v1/rotations").json(&json!({"keyset": "default"}));
        let answer = request.header("x-request-id", "req-7").send().await.expect("an answer");
        assert_eq!(answer.headers()["x-request-id"], "req-7");
        let (_, audit) =
            told(site.ask(Role::Auditor, Method::GET, "/v1/audit?limit=1").send().await.expect("an answer")).await;
        let entry = &audit["items"][0];
        assert_eq!(
            (&entry["action"], &entry["request_id"]),
            (&json!("rotation.requested"), &json!("req-7")),
            "{entry}"
        );
        assert_eq!(entry["actor"], json!("token operator"));
        let own = site
            .ask(Role::Viewer, Method::GET, "/v1/keys")
            .header("x-request-id", "a b")
            .send()
            .await
            .expect("an answer");
        assert_eq!(own.headers()["x-request-id"].len(), 36, "one that could break a line of the log is not taken");
    });
}
