//! What pages are looked at with is there, and the API tells it.

use crate::{
    site::Site,
    stock::{MANY, State},
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The items of a list, or of its page.
fn items(site: &Site, path: &str) -> Vec<Value> {
    let (status, body) = site.says(path);
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body.as_array().or(body["items"].as_array()).unwrap_or_else(|| panic!("{path} is no list: {body}")).clone()
}

/// The different values of a field, and how many items there are.
fn each(site: &Site, path: &str, field: &str) -> (BTreeSet<String>, usize) {
    let items = items(site, path);
    (items.iter().map(|item| item[field].as_str().unwrap_or_default().to_owned()).collect(), items.len())
}

fn texts<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
    texts.map(str::to_owned).into_iter().collect()
}

/// The pages of things, and not of lists, each as the API has it.
fn every_thing_is_there(site: &Site) {
    for page in site.pages().iter().filter(|page| page.ends_with(|c: char| c.is_ascii_digit())) {
        let (status, body) = site.says(&format!("/v1{page}"));
        assert_eq!(status, StatusCode::OK, "{page}: {body}");
    }
}

#[test]
fn a_normal_ledger_has_a_little_of_everything() {
    let site = Site::with(State::Normal);
    let (going, words) = (site.stock.going, State::Normal.words());
    let rotation = |id: i64| site.says(&format!("/v1/rotations/{id}")).1;
    let of_going = |list: &str| format!("/v1/rotations/{going}/{list}");

    let states = texts(["reencrypting", "waiting", "completed"]);
    assert_eq!(each(&site, "/v1/rotations", "state"), (states, 4));
    let told = rotation(going);
    assert_eq!(told["batches"], json!({"done": 22, "failed": 5, "leased": 3, "pending": 13, "superseded": 1}));
    assert_eq!(told["tables"].as_array().map(Vec::len), Some(3), "{told}");
    assert_eq!((&told["quarantined"], &told["throttle"]["code"]), (&json!(6), &json!("limit")), "{told}");
    let speed = told["rows_per_second"].as_f64().expect("a speed: two workers are alive and it goes on");
    assert!((50.0..300.0).contains(&speed) && told["time_left"].is_object(), "{told}");
    assert_eq!(each(&site, &of_going("failures"), "nature"), (texts(["size", "poison"]), 6));
    assert_eq!(each(&site, &of_going("quarantine"), "code"), (words.quarantined.map(str::to_owned).into(), 6));

    let waiting = rotation(site.stock.waiting);
    let met: Vec<_> = waiting["gate"].as_array().expect("a gate").iter().map(|c| c["met"] == true).collect();
    assert_eq!(met, [true, true, true, true, false, true, false], "{waiting}");
    assert!(rotation(site.stock.stopped)["summary"].as_str().unwrap().contains("throttled: replica lag 2.3 s"));

    let states = texts(["pre_active", "active", "deactivated", "suspended", "destroyed"]);
    assert_eq!(each(&site, "/v1/keys", "state"), (states, 10));
    assert_eq!(each(&site, "/v1/workers", "state"), (texts(["running", "draining", "lost"]), 3));
    let states = texts(["succeeded", "failed", "requested"]);
    assert_eq!(each(&site, "/v1/operations", "state"), (states, 5));
    assert!(items(&site, "/v1/audit?limit=100").len() == 100, "more than a page");
    assert_eq!(site.says("/v1/audit/verify").1["holds"], true);
    assert_eq!(site.says("/v1/census").1["result"]["columns"].as_array().map(Vec::len), Some(3));
    every_thing_is_there(&site);
}

#[test]
fn an_empty_ledger_has_nothing_but_who_looks_at_it() {
    let site = Site::with(State::Empty);
    for list in ["rotations", "keys", "workers", "operations"] {
        assert_eq!(items(&site, &format!("/v1/{list}")), [json!(null); 0], "{list}");
    }
    assert_eq!(each(&site, "/v1/audit", "action"), (texts(["token.created"]), 1));
    let viewer = site.token("viewer");
    assert_eq!(site.says_to(&viewer, "/v1/rotations").0, StatusCode::OK);
    assert_eq!(site.says_to(&viewer, "/v1/audit").0, StatusCode::FORBIDDEN);
    assert_eq!(site.pages(), ["/", "/rotations", "/rotations/new", "/keys", "/workers", "/audit"]);
}

#[test]
fn a_large_ledger_has_a_hundred_thousand_batches() {
    let site = Site::with(State::Many);
    let told = site.says(&format!("/v1/rotations/{}", site.stock.going)).1;
    let batches = told["batches"].as_object().expect("batches").values().filter_map(Value::as_i64);
    assert_eq!(batches.sum::<i64>(), MANY + 44);
    assert_eq!(told["batches"]["failed"], 105);
    assert_eq!(told["rows"].as_i64(), Some(MANY * 100 + 420_000));
    every_thing_is_there(&site);
}

#[test]
fn a_hostile_ledger_has_every_text_as_it_was_written() {
    let (site, words) = (Site::with(State::Hostile), State::Hostile.words());
    let rotation = site.says(&format!("/v1/rotations/{}", site.stock.going)).1;
    assert_eq!((&rotation["keyset"], &rotation["reason"]), (&json!(words.keysets[0]), &json!(words.reason)));
    let path = |table: &str| format!("{}:public.{table}", words.source);
    let tables: Vec<_> = rotation["tables"].as_array().expect("tables").iter().map(|t| t["table"].clone()).collect();
    assert_eq!(tables, words.tables.map(path));
    assert_eq!(each(&site, "/v1/workers", "name"), (words.workers.map(str::to_owned).into(), 3));
    let failures = format!("/v1/rotations/{}/failures", site.stock.going);
    let codes = words.failed.map(|(code, _)| code).into_iter().chain(words.quarantined);
    assert_eq!(each(&site, &failures, "code").0, codes.map(str::to_owned).collect());
    let actors = [words.person, words.other_person, words.workers[0], "token admin"];
    let told = each(&site, "/v1/audit?limit=100", "actor").0;
    assert!(actors[..3].iter().all(|actor| told.contains(*actor)), "{told:?}");
    every_thing_is_there(&site);
}
