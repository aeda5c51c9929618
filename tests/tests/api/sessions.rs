//! How long a session lasts: used, and not for ever; no longer than its token; over a restart.

use crate::{
    site::{RULES, Site},
    visitor::{Visitor, header, set_sessions},
};
use reqwest::StatusCode;
use reseal_entities::{
    ledger::{
        self, Ledger,
        sessions::{ABSOLUTE_MS, IDLE_MS},
        tokens,
    },
    sessions,
    tokens::Role,
};
use reseal_producer::http::Settings;
use reseal_tests::for_each_ledger;
use sea_orm::EntityTrait;
use std::time::Duration;

async fn signed_in(site: &Site, role: Role) -> Visitor {
    let mut visitor = Visitor::new(site);
    assert_eq!(visitor.sign_in(site.token(role), "/").await.status(), StatusCode::SEE_OTHER);
    assert!(visitor.is_let_in().await);
    visitor
}

async fn only(ledger: &Ledger) -> sessions::Model {
    let mut all = sessions::Entity::find().all(ledger.db()).await.expect("read");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn a_session_that_is_not_used_is_over_after_half_an_hour_and_using_it_keeps_it() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let visitor = signed_in(&site, Role::Viewer).await;
        let before = only(&ledger).await.seen_at;
        set_sessions(&ledger, format!("seen_at = {}", before - IDLE_MS + 60_000)).await;
        assert!(visitor.is_let_in().await);
        assert!(only(&ledger).await.seen_at >= before, "the use was noted");
        set_sessions(&ledger, format!("seen_at = {}", before - IDLE_MS)).await;
        assert!(!visitor.is_let_in().await);
        let answer = visitor.post("/sign-out", &[]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let page = answer.text().await.expect("a page");
        assert!(page.contains("your session is over: sign in again"), "{page}");
    });
}

#[test]
fn what_an_open_page_asks_by_itself_keeps_no_session() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let visitor = signed_in(&site, Role::Viewer).await;
        let long_ago = only(&ledger).await.seen_at - IDLE_MS + 60_000;
        set_sessions(&ledger, format!("seen_at = {long_ago}")).await;
        let refresh = || visitor.ask(reqwest::Method::GET, "/").header("hx-request", "true");
        assert_eq!(refresh().send().await.expect("an answer").status(), StatusCode::OK);
        assert_eq!(visitor.get("/live").await.status(), StatusCode::OK);
        assert_eq!(only(&ledger).await.seen_at, long_ago, "nobody sits there");
        // and once it is over, the page is told to go where one signs in
        set_sessions(&ledger, format!("seen_at = {}", long_ago - 60_000)).await;
        let answer = refresh().send().await.expect("an answer");
        assert_eq!((answer.status().as_u16(), header(&answer, "hx-redirect")), (401, Some("/sign-in".to_owned())));
    });
}

#[test]
fn a_session_is_over_after_half_a_day_however_busy() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let visitor = signed_in(&site, Role::Viewer).await;
        let row = only(&ledger).await;
        assert_eq!(row.expires_at - row.opened_at, ABSOLUTE_MS);
        let now = ledger::now_ms(ledger.db()).await.expect("the time");
        set_sessions(&ledger, format!("expires_at = {}", now + 60_000)).await;
        assert!(visitor.is_let_in().await);
        set_sessions(&ledger, format!("expires_at = {now}")).await;
        assert!(!visitor.is_let_in().await);
    });
}

#[test]
fn who_signs_out_is_out_for_good_and_others_are_not() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let (visitor, other) = (signed_in(&site, Role::Viewer).await, signed_in(&site, Role::Viewer).await);
        let answer = visitor.post("/sign-out", &[]).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "location")), (303, Some("/sign-in".to_owned())));
        let taken = "reseal=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax".to_owned();
        assert_eq!(header(&answer, "set-cookie"), Some(taken));
        assert!(!visitor.is_let_in().await, "also with the cookie, had somebody kept it");
        assert!(other.is_let_in().await);
    });
}

#[test]
fn who_signs_in_again_leaves_no_session_behind() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let mut visitor = signed_in(&site, Role::Viewer).await;
        let before = visitor.cookie.clone();
        visitor.sign_in(site.token(Role::Operator), "/").await;
        assert!(visitor.is_let_in().await && visitor.cookie != before);
        visitor.cookie = before;
        assert!(!visitor.is_let_in().await);
    });
}

#[test]
fn a_token_that_is_revoked_ends_its_sessions() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let (visitor, other) = (signed_in(&site, Role::Viewer).await, signed_in(&site, Role::Operator).await);
        let txn = ledger.begin().await.expect("a transaction");
        let id = tokens::authenticate(&txn, site.token(Role::Viewer)).await.expect("asked").expect("a token").id;
        tokens::revoke(&txn, "ada", id).await.expect("revoked");
        txn.commit().await.expect("committed");
        assert!(!visitor.is_let_in().await);
        assert!(other.is_let_in().await);
    });
}

#[test]
fn a_session_outlives_a_restart_of_the_server() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let visitor = signed_in(&site, Role::Viewer).await;
        let _site = site.restart().await;
        assert!(visitor.is_let_in().await);
    });
}

#[test]
fn a_session_asks_only_so_often() {
    for_each_ledger(async |ledger| {
        let settings =
            Settings { rules: RULES, on_loopback: true, tls: false, requests_per_second: 2, cryptoperiod: None };
        let site = Site::with(&ledger, settings, "127.0.0.1:0").await;
        let visitor = Visitor::signed_in(&site, Role::Viewer).await;
        let mut statuses = Vec::new();
        for _ in 0..20 {
            let answer = visitor.get("/").await;
            assert_eq!(answer.status() == StatusCode::TOO_MANY_REQUESTS, header(&answer, "retry-after").is_some());
            statuses.push(answer.status());
        }
        assert_eq!(statuses[0], StatusCode::OK);
        assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
    });
}

#[test]
fn a_pages_stream_ends_with_its_session() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let visitor = signed_in(&site, Role::Viewer).await;
        let stream = visitor.get("/live").await;
        assert_eq!(stream.status(), StatusCode::OK);
        assert_eq!(visitor.post("/sign-out", &[]).await.status(), StatusCode::SEE_OTHER);
        let ended = tokio::time::timeout(Duration::from_secs(60), stream.text())
            .await
            .expect("it ends")
            .expect("in good order");
        assert!(ended.contains("event: ready"), "{ended}");
        assert_eq!(visitor.get("/live").await.status(), StatusCode::SEE_OTHER, "to the page for signing in");
    });
}
