//! Every page as people see it: light and dark, wide and narrow, over ledgers of each kind.

use crate::{site::Site, stock::State};
use reseal_tests::{Browser, keep_screenshots, screenshots_wanted};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What stands in the README and the docs: names of pictures, and of files.
const KEPT: [(&str, &str); 6] = [
    ("overview-light-1280", "overview.png"),
    ("rotation-light-1280", "rotation.png"),
    ("rotation-dark-1280", "rotation-dark.png"),
    ("rotation-light-375", "rotation-narrow.png"),
    ("failures-light-1280", "failures.png"),
    ("key-light-1280", "clearing.png"),
];

/// One page of each kind: `/batches/7` and `/batches/8` look alike where there are many.
fn one_of_each(mut pages: Vec<String>) -> Vec<String> {
    let kind = |page: &str| -> String { page.chars().filter(|c| !c.is_ascii_digit()).collect() };
    let mut seen = BTreeSet::new();
    pages.retain(|page| seen.insert(kind(page)));
    pages
}

fn looked_at(site: &Site, pages: &[String], more: Value) {
    let browser = Browser::start();
    let mut job = json!({"kind": "looks", "url": site.url, "token": site.token, "pages": pages});
    job.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    browser.run(job);
}

#[test]
fn a_normal_ledgers_pages_are_fit_to_be_looked_at() {
    let site = Site::with(State::Normal);
    let stock = &site.stock;
    let suspended = stock.keys.iter().find(|(state, _)| state.to_string() == "suspended").expect("one").1;
    let named = [
        ("/".to_owned(), "overview"),
        (format!("/rotations/{}", stock.going), "rotation"),
        (format!("/rotations/{}/failures", stock.going), "failures"),
        (format!("/keys/{suspended}"), "key"),
    ];
    let named_page = |page: String| match named.iter().find(|(path, _)| *path == page) {
        Some((path, name)) => json!({"path": path, "name": name}),
        None => Value::String(page),
    };
    let more = ["/audit?verify=yes", "/rotations?state=cancelled", "/audit?actor=nobody"].map(str::to_owned);
    let other = [stock.waiting, stock.ended, stock.stopped].map(|id| format!("/rotations/{id}"));
    let keys = stock.keys.iter().map(|(_, id)| format!("/keys/{id}")).take(5);
    let operations = stock.operations.iter().map(|id| format!("/operations/{id}"));
    let more = more.into_iter().chain(other).chain(keys).chain(operations);
    let pages: BTreeSet<String> =
        one_of_each(site.pages()).into_iter().chain(more).chain(named.iter().map(|n| n.0.clone())).collect();
    let pages: Vec<Value> = pages.into_iter().map(named_page).collect();
    let mut job = json!({"kind": "looks", "url": site.url, "token": site.token, "pages": pages});
    let Some(wanted) = screenshots_wanted() else {
        Browser::start().run(job);
        return;
    };
    let taken = tempfile::tempdir().expect("a folder");
    job["pictures"] = json!(taken.path());
    Browser::start().run(job);
    keep_screenshots(taken.path(), &wanted, &KEPT);
}

#[test]
fn an_empty_ledgers_pages_say_what_to_do_first() {
    let site = Site::with(State::Empty);
    looked_at(&site, &site.pages(), json!({}));
    let signing_in = json!({"kind": "looks", "url": site.url, "pages": ["/sign-in", "/sign-in?next=/keys"]});
    Browser::start().run(signing_in);
}

#[test]
fn a_hundred_thousand_batches_weigh_no_more_than_a_hundred() {
    let site = Site::with(State::Many);
    looked_at(&site, &one_of_each(site.pages()), json!({}));
}

#[test]
fn texts_full_of_markup_are_texts() {
    let site = Site::with(State::Hostile);
    looked_at(&site, &one_of_each(site.pages()), json!({}));
}

#[test]
fn what_is_not_there_and_what_is_not_allowed_are_pages_too() {
    let site = Site::with(State::Normal);
    let not_there = ["/nowhere", "/rotations/99999999", "/batches/99999999", "/keys/1", "/operations/99999999"];
    let mut pages: Vec<Value> = not_there.iter().map(|path| json!({"path": path, "status": 404})).collect();
    pages.push(json!({"path": "/rotations?state=wrong", "status": 422}));
    let browser = Browser::start();
    let mut job = json!({"kind": "looks", "url": site.url, "token": site.token, "pages": pages});
    browser.run(job.clone());
    job["token"] = Value::String(site.token("viewer"));
    job["pages"] = json!([{"path": "/audit", "status": 403}, "/", "/workers"]);
    browser.run(job);
}

#[test]
fn who_may_only_look_sees_everything_and_is_offered_nothing() {
    let site = Site::with(State::Normal);
    let job = json!({"kind": "offers", "url": site.url, "token": site.token("viewer"), "pages": site.pages()});
    let found = Browser::start().run(job);
    assert!(found["disabled"].as_i64().expect("a number") > 20, "the controls are there, and say which right: {found}");
}
