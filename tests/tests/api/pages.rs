//! Every page with every role, and with forms of other sites.

use crate::{
    site::Site,
    visitor::{Visitor, header},
};
use reqwest::{Method, StatusCode};
use reseal_entities::{audit_head, ledger::Ledger, tokens::Role};
use reseal_producer::http::{Access, PAGES, TABLE};
use reseal_tests::for_each_ledger;
use sea_orm::{EntityTrait, Iterable};

/// With the parameters of things that are not there.
fn path(route: &str) -> String {
    let path = route.replace("{id}", "999").replace("{key_id}", "999");
    path.replace("{name}", if route.starts_with("/assets") { "nothing.css" } else { "nobody" })
}

fn may(access: &Access, role: Role) -> bool {
    match access {
        Access::Right(right) => role.may(*right),
        Access::Local | Access::Open => true,
    }
}

/// How many entries the audit has: whatever changes something writes one.
async fn entries(ledger: &Ledger) -> i64 {
    let head = audit_head::Entity::find_by_id(1).one(ledger.db()).await.expect("the head");
    head.expect("a head").seq
}

#[test]
fn every_page_opens_only_for_who_has_the_right_that_the_table_says() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        for (method, route, access) in PAGES {
            for role in Role::iter() {
                // Anew each time: one of the pages signs out.
                let visitor = Visitor::signed_in(&site, role).await;
                let request = visitor.ask(method.clone(), &path(route)).header("sec-fetch-site", "same-origin");
                let answer = request.send().await.expect("an answer");
                let (status, about) = (answer.status(), format!("{method} {route} as {role}"));
                assert_ne!(status, StatusCode::UNAUTHORIZED, "{about}");
                assert_eq!(status == StatusCode::FORBIDDEN, !may(access, role), "{about}: {status}");
                assert!(!status.is_server_error() && status != StatusCode::METHOD_NOT_ALLOWED, "{about}: {status}");
                // That one does not end.
                if *route != "/live" {
                    let text = answer.text().await.expect("a body");
                    assert!(!text.contains("unknown_route"), "{about}: nothing answers");
                }
            }
        }
    });
}

#[test]
fn who_is_not_signed_in_is_sent_to_where_that_is_done_and_nothing_is_changed() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let visitor = Visitor::new(&site);
        let before = entries(&ledger).await;
        for (method, route, access) in PAGES {
            if *access == Access::Open {
                continue;
            }
            let about = format!("{method} {route}");
            let asked = format!("{}?a=b", path(route));
            let request = || visitor.ask(method.clone(), &asked).header("sec-fetch-site", "same-origin");
            let answer = request().send().await.expect("an answer");
            let to = match route.trim_end_matches('/') {
                "" => "/sign-in?next=/%3Fa%3Db".to_owned(),
                _ => format!("/sign-in?next={}%3Fa%3Db", path(route)),
            };
            match *method == Method::GET {
                true => assert_eq!((answer.status().as_u16(), header(&answer, "location")), (303, Some(to.clone()))),
                false => assert_eq!((answer.status().as_u16(), header(&answer, "location")), (401, None), "{about}"),
            }
            assert_eq!(header(&answer, "cache-control").as_deref(), Some("no-store"), "{about}");
            let kind = header(&answer, "content-type").unwrap_or_default();
            assert!(*method == Method::GET || kind.starts_with("text/html"), "{about}: {kind}");

            // htmx would put where it is sent to into the page; it goes there when it is told so, back to the page that is seen.
            let part = request().header("hx-request", "true");
            let seen = format!("{}/rotations/7?open=true", site.url);
            let answer = part.header("hx-current-url", seen).send().await.expect("an answer");
            let back = Some("/sign-in?next=/rotations/7%3Fopen%3Dtrue".to_owned());
            assert_eq!((answer.status().as_u16(), header(&answer, "hx-redirect")), (401, back), "{about}");
            let answer = request().header("hx-request", "true").send().await.expect("an answer");
            let back = if *method == Method::GET { to } else { "/sign-in".to_owned() };
            assert_eq!((answer.status().as_u16(), header(&answer, "hx-redirect")), (401, Some(back)), "{about}");
        }
        assert_eq!(entries(&ledger).await, before);
    });
}

#[test]
fn a_form_of_another_site_changes_nothing_whoever_is_signed_in() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let visitor = Visitor::signed_in(&site, Role::Admin).await;
        let own = site.url.clone();
        let ways: [&[(&str, &str)]; 7] = [
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "cross-site"), ("origin", &own)],
            &[("origin", "http://evil.example")],
            &[("origin", "null")],
            &[],
        ];
        let before = entries(&ledger).await;
        for (method, route, _) in PAGES.iter().filter(|(method, ..)| *method != Method::GET) {
            for way in ways {
                let request = visitor.ask(method.clone(), &path(route));
                let request = way.iter().fold(request, |request, (name, value)| request.header(*name, *value));
                let request = request.form(&[("token", site.token(Role::Admin)), ("next", "/")]);
                let answer = request.send().await.expect("an answer");
                assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {route} {way:?}");
                assert_eq!(header(&answer, "set-cookie"), None, "{method} {route} {way:?}");
                let text = answer.text().await.expect("a page");
                assert!(text.contains("not sent by a page of this server"), "{method} {route} {way:?}: {text}");
            }
        }
        assert_eq!(entries(&ledger).await, before);
        assert!(visitor.is_let_in().await, "nobody has signed them out");
        for own_page in [("sec-fetch-site", "same-origin"), ("origin", &*own)] {
            let request = visitor.ask(Method::POST, "/sign-in").header(own_page.0, own_page.1);
            let answer = request.form(&[("token", site.token(Role::Admin))]).send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{own_page:?}");
        }
    });
}

#[test]
fn a_token_opens_no_page_and_a_cookie_no_route_of_the_api() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let (anonymous, admin) = (Visitor::new(&site), Visitor::signed_in(&site, Role::Admin).await);
        let before = entries(&ledger).await;
        for (method, route, access) in PAGES.iter().filter(|(_, _, access)| *access != Access::Open) {
            let request = anonymous.ask(method.clone(), &path(route)).bearer_auth(site.token(Role::Admin));
            let status = request.header("sec-fetch-site", "same-origin").send().await.expect("an answer").status();
            let expected = if *method == Method::GET { StatusCode::SEE_OTHER } else { StatusCode::UNAUTHORIZED };
            assert_eq!(status, expected, "{method} {route} {access:?}");
        }
        for (method, route, _) in TABLE.iter().filter(|(_, _, access)| matches!(access, Access::Right(_))) {
            let request = admin.ask(method.clone(), &path(route)).header("sec-fetch-site", "same-origin");
            let status = request.send().await.expect("an answer").status();
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {route}");
        }
        assert_eq!(entries(&ledger).await, before);
    });
}

#[test]
fn a_page_that_does_not_take_a_method_says_which_it_takes() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        let visitor = Visitor::signed_in(&site, Role::Admin).await;
        let other = visitor.ask(Method::PUT, "/sign-in").header("sec-fetch-site", "same-origin");
        let answer = other.send().await.expect("an answer");
        let told = (answer.status().as_u16(), header(&answer, "allow"));
        assert_eq!(told, (405, Some("GET, POST".to_owned())));
        assert_eq!(visitor.ask(Method::HEAD, "/sign-in").send().await.expect("an answer").status(), StatusCode::OK);
    });
}
