//! Who may what: every route with every role, and tokens that are none.

use crate::site::{RULES, Site, token, told};
use reqwest::{Method, StatusCode};
use reseal_entities::{ledger::tokens, tokens::Role};
use reseal_producer::http::{Access, Settings, TABLE, openapi};
use reseal_tests::{eventually, for_each_ledger};
use sea_orm::Iterable;
use std::{collections::BTreeSet, time::Duration};

const PATIENCE: Duration = Duration::from_secs(30);

/// With the parameters of things that are not there.
fn path(route: &str) -> String {
    route.replace("{id}", "999").replace("{key_id}", "999").replace("{name}", "nobody").replace("{*rest}", "index.html")
}

#[test]
fn every_route_answers_only_who_has_the_right_that_the_table_says() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        for (method, route, access) in TABLE {
            let path = path(route);
            let anonymous = site.anonymous(method.clone(), &path).send().await.expect("an answer").status();
            let lets_anybody_in = !matches!(access, Access::Right(_));
            assert_eq!(
                anonymous == StatusCode::UNAUTHORIZED,
                !lets_anybody_in,
                "{method} {route} with no token: {anonymous}"
            );
            for role in Role::iter() {
                let may = match access {
                    Access::Right(right) => role.may(*right),
                    Access::Local | Access::Open => true,
                };
                let status = site.ask(role, method.clone(), &path).send().await.expect("an answer").status();
                assert_ne!(status, StatusCode::UNAUTHORIZED, "{method} {route} as {role}");
                assert_eq!(status == StatusCode::FORBIDDEN, !may, "{method} {route} as {role}: {status}");
                assert!(!status.is_server_error(), "{method} {route} as {role}: {status}");
            }
        }
    });
}

#[test]
fn the_table_and_the_description_name_the_same_routes() {
    let described = openapi(reseal_storage::http::described());
    let mut known = BTreeSet::new();
    for (path, item) in &described.paths.paths {
        for (method, operation) in [("GET", &item.get), ("POST", &item.post), ("PUT", &item.put)] {
            if operation.is_some() {
                known.insert(format!("{method} {path}"));
            }
        }
    }
    let pages = ["/docs", "/docs/", "/docs/{*rest}", "/openapi.json"];
    let table: BTreeSet<String> = TABLE
        .iter()
        .filter(|(_, route, _)| !pages.contains(route))
        .map(|(method, route, _)| format!("{method} {route}"))
        .collect();
    assert_eq!(known, table);
}

#[test]
fn the_pages_are_all_here_and_ask_no_other_host() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let page = async |path: &str| {
            let answer = site.anonymous(Method::GET, path).send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            answer.text().await.expect("a page")
        };
        let first = page("/docs/").await;
        assert!(!first.contains("http://") && !first.contains("https://"), "{first}");
        for name in ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js", "index.css"] {
            page(&format!("/docs/{name}")).await;
        }
        let begins = page("/docs/swagger-initializer.js").await;
        assert!(begins.contains("/openapi.json") && begins.contains(r#""validatorUrl": "none""#), "{begins}");
    });
}

#[test]
fn elsewhere_than_on_loopback_probes_and_metrics_ask_for_a_token() {
    for_each_ledger(async |ledger| {
        let settings =
            Settings { rules: RULES, on_loopback: false, tls: false, requests_per_second: 10_000, cryptoperiod: None };
        let site = Site::with(&ledger, settings, "127.0.0.1:0").await;
        for path in ["/healthz", "/readyz", "/metrics"] {
            let anonymous = site.anonymous(Method::GET, path).send().await.expect("an answer");
            assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED, "{path}");
            let known = site.ask(Role::App, Method::GET, path).send().await.expect("an answer");
            assert_eq!(known.status(), StatusCode::OK, "{path}");
        }
    });
}

#[test]
fn a_token_that_is_revoked_or_expired_or_nearly_right_is_refused_at_once() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let code = async |token: &str| {
            let asked =
                site.anonymous(Method::GET, "/v1/rotations").bearer_auth(token).send().await.expect("an answer");
            assert!(asked.headers().contains_key("www-authenticate") || asked.status().is_success());
            let (status, body) = told(asked).await;
            (status.as_u16(), body["code"].as_str().unwrap_or_default().to_owned())
        };
        let right = site.token(Role::Viewer);
        assert_eq!(code(right).await.0, 200);
        let last = if right.ends_with('0') { "1" } else { "0" };
        let nearly = format!("{}{last}", &right[..right.len() - 1]);
        assert_eq!(code(&nearly).await, (401, "token_unknown".to_owned()));
        let other_id = right.replacen("reseal_1_", "reseal_2_", 1);
        assert_eq!(code(&other_id).await, (401, "token_unknown".to_owned()));
        let short = token(&ledger, "short", Role::Viewer, Some(1)).await.expect("a token");
        eventually(PATIENCE, "it expires", async || {
            (code(&short).await == (401, "token_expired".to_owned())).then_some(())
        })
        .await;

        let txn = ledger.begin().await.expect("a transaction");
        tokens::revoke(&txn, "ada", 1).await.expect("revoked");
        txn.commit().await.expect("committed");
        assert_eq!(code(right).await, (401, "token_revoked".to_owned()));
        assert_eq!(code(&nearly).await, (401, "token_unknown".to_owned()), "only the right secret is told why");
    });
}

#[test]
fn a_stream_ends_with_its_token() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let stream = site.ask(Role::Viewer, Method::GET, "/v1/events").send().await.expect("an answer");
        assert_eq!(stream.status(), StatusCode::OK);
        let txn = ledger.begin().await.expect("a transaction");
        tokens::revoke(&txn, "ada", 1).await.expect("revoked");
        txn.commit().await.expect("committed");
        let ended = tokio::time::timeout(PATIENCE, stream.text()).await.expect("it ends").expect("in good order");
        assert!(ended.contains("event: ready"), "{ended}");
    });
}

#[test]
fn who_guesses_tokens_is_heard_no_more_and_who_has_one_still_is() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let ask = async |token: &str| {
            site.anonymous(Method::GET, "/v1/keys").bearer_auth(token).send().await.expect("an answer")
        };
        assert_eq!(ask(site.token(Role::Viewer)).await.status(), StatusCode::OK);
        let mut refused = 0;
        for n in 0..60 {
            let answer = ask(&format!("reseal_1_{n:064}")).await;
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                assert!(answer.headers().contains_key("retry-after"));
                refused += 1;
            }
        }
        assert!(refused > 30, "{refused} of 60 guesses were not looked at");
        assert_eq!(ask(site.token(Role::Viewer)).await.status(), StatusCode::OK);
        let fresh = token(&ledger, "fresh", Role::Viewer, None).await.expect("a token");
        assert_eq!(ask(&fresh).await.status(), StatusCode::TOO_MANY_REQUESTS, "a right guess is not told either");
    });
}

#[test]
fn a_token_asks_only_so_often() {
    for_each_ledger(async |ledger| {
        let settings =
            Settings { rules: RULES, on_loopback: true, tls: false, requests_per_second: 2, cryptoperiod: None };
        let site = Site::with(&ledger, settings, "127.0.0.1:0").await;
        let mut statuses = Vec::new();
        for _ in 0..20 {
            statuses.push(site.ask(Role::Viewer, Method::GET, "/v1/keys").send().await.expect("an answer").status());
        }
        assert_eq!(statuses[0], StatusCode::OK);
        assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
        let other = site.ask(Role::Operator, Method::GET, "/v1/keys").send().await.expect("an answer").status();
        assert_eq!(other, StatusCode::OK, "another token has its own measure");
    });
}
