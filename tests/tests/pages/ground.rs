//! The ground that the pages' tests stand on finds what it is there to find.

use axum::{
    Router,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use reseal_tests::{Browser, Leash, keep_screenshots};
use serde_json::{Value, json};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
};
use tokio::{net::TcpListener, runtime::Runtime};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'";

/// Each page, what is wrong with it, and what a developer is told.
const FAULTS: &[(&str, &str, &[&str])] = &[
    ("/sideways", r#"<p class="wide">a</p>"#, &["scrolls sideways: ", ", because of p.wide [light 375, dark 375]"]),
    ("/console", r#"<script src="/console.js"></script>"#, &["console error: the stream broke [light 1280, "]),
    ("/dialog", r#"<script src="/dialog.js"></script>"#, &["opens a dialog: alert 1 [light 1280, "]),
    ("/script", r#"<script src="/script.js"></script>"#, &["script error: ", "nothing"]),
    (
        "/style",
        r#"<p style="color: red">a</p>"#,
        &["breaks the content security policy: style-src-attr does not allow inline"],
    ),
    ("/inline", "<script>document.title = 'b'</script>", &["breaks the content security policy: script-src-elem "]),
    ("/foreign", r#"<script src="/foreign.js"></script>"#, &["asks another host: GET http://example.org/beacon"]),
    (
        "/image",
        r#"<img src="/dot.svg">"#,
        &["axe image-alt (critical): img: <img src=\"/dot.svg\">: Images must have "],
    ),
    (
        "/dark",
        r#"<p class="faint">hardly to be read</p>"#,
        &["axe color-contrast (serious): p: <p class=\"faint\">", " [dark 375]"],
    ),
    (
        "/heavy",
        r#"<script src="/heavy.js"></script>"#,
        &["weighs 121 KB of at most 100 KB, of which /heavy.js 120 KB ["],
    ),
    (
        "/missing",
        r#"<link rel="stylesheet" href="/no.css">"#,
        &["request refused: GET http://127.0.0.1:", "/no.css: 404"],
    ),
    ("/nowhere", "", &["answers 404, not 200"]),
];

const FORM: &str = r#"<form method="post" action="/sign-in"><label>Token <input name="token" type="password"></label>
    <button>Sign in</button></form>"#;

const STYLE: &str = "
    body { color: #222; background: #fff }
    .wide { width: 900px }
    @media (prefers-color-scheme: dark) { body { color: #eee; background: #111 } .faint { color: #333 } }";

const DOT: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4"/></svg>"#;

fn html(main: &str) -> String {
    format!(
        r#"<!doctype html><html lang="en"><head><meta name="viewport" content="width=device-width"><title>a</title>
        <link rel="stylesheet" href="/style.css"><link rel="icon" href="/dot.svg"></head><body><main><h1>a</h1>{main}</main></body></html>"#
    )
}

/// What stands at a path: its status, its type, itself.
fn at(path: &str) -> (StatusCode, &'static str, String) {
    let script = |text: &str| (StatusCode::OK, "text/javascript", text.to_owned());
    let page = |status, main: &str| (status, "text/html", html(main));
    match path {
        "/clean" => page(StatusCode::OK, r#"<p>a</p><img src="/dot.svg" alt="a dot">"#),
        "/refused" => page(StatusCode::SERVICE_UNAVAILABLE, "<p>the ledger does not answer</p>"),
        "/sign-in" => page(StatusCode::OK, FORM),
        "/style.css" => (StatusCode::OK, "text/css", STYLE.to_owned()),
        "/dot.svg" => (StatusCode::OK, "image/svg+xml", DOT.to_owned()),
        "/console.js" => script("console.error('the stream broke')"),
        "/dialog.js" => script("alert(1)"),
        "/script.js" => script("nothing.here()"),
        "/foreign.js" => script("fetch('http://example.org/beacon', { mode: 'no-cors' }).catch(() => {})"),
        "/heavy.js" => script(&format!("// {}", "a".repeat(120 * 1024 - 3))),
        _ => match FAULTS.iter().find(|(fault, ..)| *fault == path) {
            Some((_, main, _)) if path != "/nowhere" => page(StatusCode::OK, main),
            _ => page(StatusCode::NOT_FOUND, ""),
        },
    }
}

async fn answer(method: Method, uri: Uri, headers: HeaderMap, body: String) -> Response {
    if method == Method::POST {
        let session = [(header::LOCATION, "/clean"), (header::SET_COOKIE, "session=here; HttpOnly; SameSite=Strict")];
        let let_in = uri.path() == "/sign-in" && body == "token=let-me-in";
        return if let_in {
            (StatusCode::SEE_OTHER, session).into_response()
        } else {
            StatusCode::UNAUTHORIZED.into_response()
        };
    }
    let signed_in = headers.get(header::COOKIE).is_some_and(|cookie| cookie == "session=here");
    answer_with(if uri.path() == "/closed" && signed_in { "/clean" } else { uri.path() })
}

fn answer_with(path: &str) -> Response {
    let (status, kind, body) = at(path);
    // The policy would stop it before it asks.
    let policy = if path == "/foreign" { "" } else { POLICY };
    (status, [(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, policy)], body).into_response()
}

/// The address of a server of faulty pages, which ends with the runtime.
async fn faulty_pages() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async { axum::serve(listener, Router::new().fallback(answer)).await });
    url
}

fn findings(result: &Value) -> Vec<&str> {
    result["findings"].as_array().expect("findings").iter().filter_map(Value::as_str).collect()
}

#[test]
fn the_ground_finds_each_kind_of_fault() {
    let runtime = Runtime::new().expect("a runtime");
    let (url, browser, pictures) = (runtime.block_on(faulty_pages()), Browser::start(), Leash::new());
    let pages: Vec<_> = FAULTS.iter().map(|(path, ..)| *path).collect();
    let result = browser.ask(json!({"kind": "looks", "url": url, "pages": pages, "pictures": pictures.dir()}));
    let found = findings(&result);
    for (path, _, told) in FAULTS {
        let of_page: Vec<_> = found.iter().filter(|line| line.starts_with(&format!("{path}: "))).collect();
        assert_eq!(of_page.len(), 1, "{path}: {found:#?}");
        for words in *told {
            assert!(of_page[0].contains(words), "{words}: {found:#?}");
        }
    }
    assert_eq!(found.len(), FAULTS.len(), "{found:#?}");
}

#[test]
fn the_ground_finds_nothing_where_nothing_is_wrong_and_takes_pictures() {
    let runtime = Runtime::new().expect("a runtime");
    let (url, browser, pictures) = (runtime.block_on(faulty_pages()), Browser::start(), Leash::new());
    let pages = json!(["/clean", {"path": "/refused", "name": "ledger-down", "status": 503}]);
    let result = browser.run(json!({"kind": "looks", "url": url, "pages": pages, "pictures": pictures.dir()}));
    assert_eq!(result["weights"]["/clean"].as_u64(), Some((at("/clean").2.len() + STYLE.len() + DOT.len()) as u64));
    for name in ["clean", "ledger-down"] {
        for look in ["light-1280", "light-375", "dark-1280", "dark-375"] {
            let picture = fs::read(pictures.dir().join(format!("{name}-{look}.png"))).expect("a picture");
            assert!(picture.starts_with(b"\x89PNG"), "{name} {look}");
        }
    }
    let kept = pictures.dir().join("kept");
    keep_screenshots(pictures.dir(), &kept, &[("clean-dark-375", "clean.png")]);
    assert_eq!(fs::read(kept.join("clean.png")).ok(), fs::read(pictures.dir().join("clean-dark-375.png")).ok());
}

#[test]
fn who_has_a_token_is_signed_in_before_anything_is_looked_at() {
    let runtime = Runtime::new().expect("a runtime");
    let (url, browser) = (runtime.block_on(faulty_pages()), Browser::start());
    let job = json!({"kind": "looks", "url": url, "pages": ["/closed"], "schemes": ["light"], "widths": [375]});
    let with = |token: &str| {
        let mut job = job.clone();
        job["token"] = token.into();
        job
    };
    assert_eq!(findings(&browser.ask(job.clone())), ["/closed: answers 404, not 200 [light 375]"]);
    browser.run(with("let-me-in"));
    let refused = "the job `looks` stopped: signing in is refused: 401";
    assert_eq!(findings(&browser.ask(with("wrong"))), [refused]);
}

#[test]
fn what_is_found_fails_the_test_line_by_line() {
    let runtime = Runtime::new().expect("a runtime");
    let (url, browser) = (runtime.block_on(faulty_pages()), Browser::start());
    let job = json!({"kind": "looks", "url": url, "pages": ["/nowhere"], "schemes": ["dark"], "widths": [375]});
    let failed = catch_unwind(AssertUnwindSafe(|| browser.run(job))).expect_err("it fails");
    let said = failed.downcast_ref::<String>().expect("a text");
    assert_eq!(said, "1 findings:\n/nowhere: answers 404, not 200 [dark 375]");
    let unknown = browser.ask(json!({"kind": "dreams"}));
    let said = findings(&unknown);
    assert!(said.len() == 1 && said[0].starts_with("the job `dreams` stopped: there are jobs of looks"), "{said:?}");
}
