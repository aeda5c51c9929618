//! Signing in: with a token alone, to a page of this server alone.

use crate::{
    site::{RULES, Site, token},
    visitor::{Visitor, header},
};
use reqwest::{Method, StatusCode};
use reseal_entities::{
    audit,
    ledger::{self, tokens},
    sessions,
    tokens::Role,
};
use reseal_producer::http::Settings;
use reseal_tests::{eventually, for_each_ledger};
use sea_orm::{EntityTrait, PaginatorTrait, QueryOrder};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn who_signs_in_goes_on_to_the_page_that_was_asked_for() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let mut visitor = Visitor::new(&site);
        let sent = visitor.get("/rotations/7?state=failed&code=a%20b").await;
        let page = visitor.get(&header(&sent, "location").expect("to the page to sign in at")).await;
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(header(&page, "cache-control").as_deref(), Some("no-store"));
        let page = page.text().await.expect("a page");
        assert!(page.contains(r#"name="next" value="/rotations/7?state=failed&#38;code=a%20b""#), "{page}");
        assert!(page.contains("reseal token create --role operator --name NAME"), "{page}");
        assert!(!page.contains("role=\"alert\""), "nothing went wrong yet: {page}");

        let request = visitor.ask(Method::POST, "/sign-in").header("sec-fetch-site", "same-origin");
        let fields = [("token", site.token(Role::Viewer)), ("next", "/rotations/7?state=failed&code=a%20b")];
        let answer = request.header("x-request-id", "req-9").form(&fields).send().await.expect("an answer");
        let told = (answer.status().as_u16(), header(&answer, "location"));
        assert_eq!(told, (303, Some("/rotations/7?state=failed&code=a%20b".to_owned())));
        assert_eq!(header(&answer, "cache-control").as_deref(), Some("no-store"));
        let last = audit::Entity::find().order_by_desc(audit::Column::Seq).one(ledger.db()).await;
        let last = last.expect("read").expect("an entry");
        let told = (last.action.as_str(), last.actor.as_str(), last.request_id.as_deref());
        assert_eq!(told, ("session.opened", "token viewer", Some("req-9")));
        visitor.cookie = header(&answer, "set-cookie").and_then(|set| set.split(';').next().map(str::to_owned));
        assert!(visitor.is_let_in().await);
    });
}

#[test]
fn nobody_is_sent_to_another_host_after_signing_in() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        for next in ["https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example", "evil", ""] {
            let mut visitor = Visitor::new(&site);
            let page = visitor.ask(Method::GET, "/sign-in").query(&[("next", next)]).send().await.expect("an answer");
            let page = page.text().await.expect("a page");
            assert!(page.contains(r#"name="next" value="/""#), "{next}: {page}");
            let answer = visitor.sign_in(site.token(Role::Viewer), next).await;
            assert_eq!(header(&answer, "location").as_deref(), Some("/"), "{next}");
        }
    });
}

#[test]
fn each_way_in_which_a_token_is_wrong_is_said_in_a_sentence_of_its_own() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let revoked = token(&ledger, "leaver", Role::Viewer, None).await.expect("a token");
        let txn = ledger.begin().await.expect("a transaction");
        let id = tokens::authenticate(&txn, &revoked).await.expect("asked").expect("a token").id;
        tokens::revoke(&txn, "ada", id).await.expect("revoked");
        txn.commit().await.expect("committed");
        let expired = token(&ledger, "short", Role::Viewer, Some(1)).await.expect("a token");
        eventually(PATIENCE, "it expires", async || {
            tokens::authenticate(ledger.db(), &expired).await.expect("asked").is_err().then_some(())
        })
        .await;
        let unknown = format!("reseal_1_{}", "0".repeat(64));
        for (token, status, sentence) in [
            ("", 401, "No token was given: put yours in."),
            ("  ", 401, "No token was given: put yours in."),
            (&*unknown, 401, "This token is not one of this installation."),
            ("<b>\"", 401, "This token is not one of this installation."),
            (&*revoked, 401, "This token was revoked: ask for a new one."),
            (&*expired, 401, "This token has expired: ask for a new one."),
            (site.token(Role::App), 403, "token app has the role `app`."),
        ] {
            let answer = Visitor::new(&site).sign_in(token, "/rotations").await;
            assert_eq!((answer.status().as_u16(), header(&answer, "set-cookie")), (status, None), "{sentence}");
            let page = answer.text().await.expect("a page");
            let alert = page.split_once("role=\"alert\"").expect("an alert").1.split_once("</p>").expect("its end").0;
            assert!(alert.contains(sentence), "{sentence}: {page}");
            assert!(page.contains(r#"name="next" value="/rotations""#), "where to go on is kept: {page}");
            assert!(token.trim().is_empty() || !page.contains(token), "{page}");
        }
        assert_eq!(sessions::Entity::find().count(ledger.db()).await.expect("counted"), 0);
        let padded = format!(" {}\r\n", site.token(Role::Viewer));
        assert_eq!(Visitor::new(&site).sign_in(&padded, "/").await.status(), StatusCode::SEE_OTHER, "as it is pasted");
    });
}

#[test]
fn what_is_no_form_of_this_page_is_refused_as_a_page() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let visitor = Visitor::new(&site);
        let form = "application/x-www-form-urlencoded";
        for (kind, body, status) in [
            ("application/json", "{}".to_owned(), 415),
            (form, "token=secret&token=secret".to_owned(), 422),
            (form, format!("token={}", "a".repeat(300_000)), 413),
        ] {
            let request = visitor.ask(Method::POST, "/sign-in").header("sec-fetch-site", "same-origin");
            let answer = request.header("content-type", kind).body(body).send().await.expect("an answer");
            assert_eq!(answer.status().as_u16(), status);
            assert!(header(&answer, "content-type").expect("a kind").starts_with("text/html"));
            assert!(!answer.text().await.expect("a page").contains("secret"));
        }
    });
}

#[test]
fn who_guesses_tokens_at_the_page_is_heard_no_more_and_who_is_signed_in_still_is() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let (mut known, mut guesser) = (Visitor::new(&site), Visitor::new(&site));
        known.sign_in(site.token(Role::Viewer), "/").await;
        assert!(known.is_let_in().await);
        let mut refused = 0;
        for n in 0..60 {
            let answer = guesser.sign_in(&format!("reseal_1_{n:064}"), "/").await;
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                assert!(header(&answer, "retry-after").is_some());
                assert!(answer.text().await.expect("a page").contains("role=\"alert\""));
                refused += 1;
            }
        }
        assert!(refused > 30, "{refused} of 60 guesses were not looked at");
        guesser.cookie = Some(format!("reseal=1_{}", "0".repeat(64)));
        assert_eq!(guesser.get("/").await.status(), StatusCode::TOO_MANY_REQUESTS, "nor is one who guesses cookies");
        assert!(known.is_let_in().await);
    });
}

#[test]
fn who_signs_in_where_others_guess_is_also_let_in() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let (mut known, mut guesser) = (Visitor::new(&site), Visitor::new(&site));
        let token = site.token(Role::Viewer).to_owned();
        assert_eq!(known.sign_in(&token, "/").await.status(), StatusCode::SEE_OTHER);
        for n in 0..60 {
            guesser.sign_in(&format!("reseal_1_{n:064}"), "/").await;
        }
        assert_eq!(guesser.sign_in("reseal_1_0", "/").await.status(), StatusCode::TOO_MANY_REQUESTS);
        // from the same address: the token was right there, and so is the session that it opens
        let mut anew = Visitor::new(&site);
        assert_eq!(anew.sign_in(&token, "/").await.status(), StatusCode::SEE_OTHER);
        assert_eq!(anew.get("/").await.status(), StatusCode::OK);
    });
}

#[test]
fn the_cookie_is_a_browsers_alone_and_goes_over_no_open_line_elsewhere_than_on_loopback() {
    for_each_ledger(async |ledger| {
        let attributes = async |on_loopback, tls| {
            let settings = Settings { rules: RULES, on_loopback, tls, requests_per_second: 10_000, cryptoperiod: None };
            let site = Site::with(&ledger, settings, "127.0.0.1:0").await;
            let token = token(&ledger, &format!("ada-{on_loopback}-{tls}"), Role::Viewer, None).await.expect("a token");
            let fields = [("token", &*token), ("next", "/")];
            let answer = Visitor::new(&site).post("/sign-in", &fields).await;
            let set = header(&answer, "set-cookie").expect("a cookie");
            let (pair, attributes) = set.split_once("; ").expect("attributes");
            let (name, value) = pair.split_once('=').expect("a pair");
            let row = sessions::Entity::find().order_by_desc(sessions::Column::Id).one(ledger.db()).await;
            let row = row.expect("read").expect("a session");
            assert_eq!(value.split_once('_').map(|(id, secret)| (id.parse(), secret.len())), Some((Ok(row.id), 64)));
            (name.to_owned(), attributes.to_owned())
        };
        let age = ledger::sessions::ABSOLUTE_MS / 1_000;
        let open = format!("Path=/; Max-Age={age}; HttpOnly; SameSite=Lax");
        assert_eq!(attributes(true, false).await, ("reseal".to_owned(), open.clone()));
        for (on_loopback, tls) in [(true, true), (false, true), (false, false)] {
            let expected = ("__Host-reseal".to_owned(), format!("{open}; Secure"));
            assert_eq!(attributes(on_loopback, tls).await, expected, "loopback {on_loopback}, TLS {tls}");
        }
    });
}

#[test]
fn where_the_server_speaks_tls_only_its_own_cookie_opens_a_page() {
    for_each_ledger(async |ledger| {
        let settings =
            Settings { rules: RULES, on_loopback: true, tls: true, requests_per_second: 10_000, cryptoperiod: None };
        let site = Site::with(&ledger, settings, "127.0.0.1:0").await;
        let mut visitor = Visitor::new(&site);
        visitor.sign_in(site.token(Role::Viewer), "/").await;
        assert!(visitor.is_let_in().await);
        visitor.cookie = visitor.cookie.map(|cookie| cookie.replace("__Host-", ""));
        assert!(!visitor.is_let_in().await, "one that anybody on the line could have set");
    });
}
