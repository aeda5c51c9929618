//! Work that was asked for, and what is shown of it.

use crate::{embedded, failed, ready};
use reseal_entities::ledger::{
    Ledger,
    operations::{self, Ask, Caller},
};
use reseal_tests::{Reseal, wait_until};
use std::time::Duration;

/// As a server does that holds no key.
async fn ask(reseal: &Reseal, ask: Ask) -> String {
    let file = reseal.dir().join("ledger.sqlite");
    let ledger = Ledger::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    let caller = Caller { actor: "a server".into(), ..Caller::default() };
    let txn = ledger.begin().await.unwrap();
    let (asked, _) = operations::request(&txn, &ask, &caller).await.unwrap();
    txn.commit().await.unwrap();
    asked.id.to_string()
}

fn ended(reseal: &Reseal, id: &str) -> serde_json::Value {
    let look = || {
        let shown = reseal.json(&["operations", "show", id]);
        shown["ended_at"].is_number().then_some(shown)
    };
    wait_until(Duration::from_secs(30), "the operation ends", look)
}

#[tokio::test(flavor = "multi_thread")]
async fn up_does_what_was_asked_for_and_shows_what_came_of_it() {
    let reseal = ready(embedded());
    reseal.run(&["check"]).ok();
    assert!(reseal.run(&["operations", "list"]).ok().stdout.contains("nobody has asked"));
    let census = ask(&reseal, Ask::Census { column: None, key_id: None }).await;
    let told = reseal.run(&["operations", "show", &census]).ok().stdout;
    assert!(told.contains("waits for a worker, and none is alive"), "{told}");

    let _up = reseal.spawn(&["up"]);
    let shown = ended(&reseal, &census);
    assert_eq!((&shown["state"], &shown["requested_by"]), (&"succeeded".into(), &"a server".into()));
    assert_eq!(shown["result"], reseal.json(&["census"]), "the same as the command says");
    let dry_run = ask(&reseal, Ask::DryRun { keyset: "default".into(), to_key_id: None }).await;
    let shown = ended(&reseal, &dry_run);
    assert_eq!((&shown["state"], &shown["result"]["keyset"]), (&"succeeded".into(), &"default".into()));

    reseal.run(&["rotate", "--wait"]).ok();
    let old = reseal.json(&["status", "1"])["old_keys"][0]["key_id"].as_i64().unwrap();
    let new = reseal.json(&["status", "1"])["new_key"]["key_id"].as_i64().unwrap();
    let cleared = ask(&reseal, Ask::Clear { key_id: old }).await;
    assert_eq!(ended(&reseal, &cleared)["result"]["state"], "destroyed");
    let refused = ask(&reseal, Ask::Clear { key_id: new }).await;
    assert_eq!(ended(&reseal, &refused)["code"], "key_in_use");
    let text = reseal.run(&["operations", "show", &refused]).ok().stdout;
    assert!(text.contains("failed:") && text.contains("no rotation retires it"), "{text}");
    let list = reseal.run(&["operations", "list"]).ok().stdout;
    assert!(list.contains("dry_run") && list.contains(&format!("key {new}")), "{list}");
    failed(&reseal.run(&["operations", "show", "99"]), 1, &["no operation 99", "reseal operations list"]);
}

#[test]
fn a_retry_that_names_nothing_that_failed_is_refused_and_not_audited() {
    let reseal = ready(embedded());
    reseal.run(&["rotate"]).ok();
    failed(&reseal.run(&["retry", "1", "--code", "source_busy"]), 1, &["nothing of rotation 1", "reseal status 1"]);
    failed(&reseal.run(&["retry", "1", "--table", "letters"]), 1, &["no table `letters`"]);
    failed(&reseal.run(&["retry", "1", "--all", "--code", "source_busy"]), 2, &["cannot be used with"]);
    assert!(!reseal.run(&["audit", "list"]).ok().stdout.contains("rotation.retried"));
}
