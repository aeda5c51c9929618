//! From one key to the next.

use super::{Served, encryptions, key_id, sealed, serve, text};
use crate::{on_every_database, promote, site::Site};
use reseal_entities::ledger::compromise;
use sea_orm::DbBackend;
use serde_json::{Value, json};

/// What became of each value: `moved`, `unchanged`, or a code.
async fn outcomes(served: &Served, call: Value) -> (u32, Vec<String>, Vec<Value>) {
    let answer = served.taken("re-encrypt", call).await;
    let results = answer["results"].as_array().unwrap().clone();
    let outcome = |result: &Value| match (result["error"]["code"].as_str(), result["unchanged"].as_bool()) {
        (Some(code), _) => code.to_owned(),
        (None, Some(true)) => "unchanged".to_owned(),
        (None, _) => "moved".to_owned(),
    };
    let outcomes = results.iter().map(outcome).collect();
    (answer["key_id"].as_u64().unwrap().try_into().unwrap(), outcomes, results)
}

async fn the_header_decides_from_and_the_active_key_is_the_target(backend: DbBackend) {
    let site = Site::new(backend).await;
    let first = serve(&site).await.encrypt("of the first key", "t.c:1").await;
    promote(&site).await;
    let second = serve(&site).await.encrypt("of the second key", "t.c:2").await;
    let active = promote(&site).await;
    let served = serve(&site).await;
    let third = served.encrypt("of the third key", "t.c:3").await;
    let values = [sealed(&first, "t.c:1"), sealed(&second, "t.c:2"), sealed(&third, "t.c:3"), sealed(&first, "t.c:9")];
    let (target, became, results) = outcomes(&served, json!({"values": values})).await;
    assert_eq!(i64::from(target), active);
    assert_eq!(became, ["moved", "moved", "unchanged", "decryption_failed"]);
    assert_eq!(text(&results[2]["ciphertext"]), third);
    for (result, (value, place)) in results.iter().zip([("of the first key", "t.c:1"), ("of the second key", "t.c:2")])
    {
        let moved = text(&result["ciphertext"]);
        assert_eq!(key_id(&moved), target);
        assert_eq!(served.decrypt(&moved, place).await.unwrap(), value);
    }

    let from = json!({"from_key_id": key_id(&first), "to_key_id": target, "values": values});
    let (_, became, results) = outcomes(&served, from).await;
    assert_eq!(became, ["moved", "under_another_key", "unchanged", "decryption_failed"]);
    let again = sealed(&text(&results[0]["ciphertext"]), "t.c:1");
    let again = json!({"from_key_id": key_id(&first), "values": [again]});
    assert_eq!(outcomes(&served, again).await.1, ["unchanged"], "a call may be repeated");
    served.storage.close().await;
    assert_eq!(encryptions(&site, target).await, 1 + 2 + 1, "one was encrypted, three were moved");
}

async fn only_what_authenticates_is_said_to_be_unchanged(backend: DbBackend) {
    let site = Site::new(backend).await;
    let served = serve(&site).await;
    let good = served.encrypt("a secret", "t.c:1").await;
    let values = [sealed(&good, "t.c:1"), sealed(&good, "t.c:2"), sealed(&super::altered(&good, 40), "t.c:1")];
    let (_, became, _) = outcomes(&served, json!({"values": values})).await;
    assert_eq!(became, ["unchanged", "decryption_failed", "decryption_failed"]);
}

/// Its keyset is older than the values: made and promoted meanwhile, and then published before and promoted meanwhile.
async fn a_value_under_the_next_key_is_never_brought_back_under_the_retired_one(backend: DbBackend) {
    let site = Site::new(backend).await;
    let behind = serve(&site).await;
    behind.encrypt("an old one", "").await;
    for published in [false, true] {
        if published {
            let (next, _) = site.engine.keyring.create("tester", "default").await.unwrap();
            let behind = serve(&site).await;
            behind.encrypt("it knows the key, and not that it was promoted", "").await;
            site.ledger_sql("UPDATE reseal_keys SET state = 'deactivated' WHERE state = 'active'").await;
            site.ledger_sql(&format!("UPDATE reseal_keys SET state = 'active' WHERE key_id = {next}")).await;
            is_unchanged(&site, &behind).await;
        } else {
            promote(&site).await;
            is_unchanged(&site, &behind).await;
        }
    }
}

async fn is_unchanged(site: &Site, behind: &Served) {
    let new = serve(site).await.encrypt("a new one", "").await;
    let (target, became, results) = outcomes(behind, json!({"values": [sealed(&new, "")]})).await;
    assert_eq!((target, became), (key_id(&new), vec!["unchanged".to_owned()]));
    assert_eq!(text(&results[0]["ciphertext"]), new);
}

async fn to_a_key_that_is_not_active_or_not_to_be_trusted_nothing_is_re_encrypted(backend: DbBackend) {
    let site = Site::new(backend).await;
    let served = serve(&site).await;
    let value = served.encrypt("a secret", "").await;
    let first = key_id(&value);
    let active = promote(&site).await;
    let call = |to: i64| json!({"to_key_id": to, "values": [sealed(&value, "")]});
    assert_eq!(outcomes(&served, call(active)).await.1, ["moved"], "promoted a moment ago, and found");
    let (next, _) = site.engine.keyring.create("tester", "default").await.unwrap();
    let refused = async |served: &Served, to: i64| {
        let (status, problem) = served.ask("re-encrypt", call(to)).await;
        assert_eq!(problem["errors"][0]["pointer"], "/to_key_id", "{problem}");
        (status, text(&problem["code"]), problem["state"].clone())
    };
    let not_active = |state: &str| (409, "key_not_active".to_owned(), json!(state));
    let served = serve(&site).await;
    assert_eq!(refused(&served, next).await, not_active("pre_active"));
    assert_eq!(refused(&served, first.into()).await, not_active("deactivated"));
    assert_eq!(refused(&served, 7).await, (404, "unknown_key".to_owned(), Value::Null));
    site.ledger_sql(&format!("UPDATE reseal_keys SET state = 'suspended' WHERE key_id = {first}")).await;
    assert_eq!(refused(&serve(&site).await, first.into()).await, not_active("suspended"));
    let db = site.engine.ledger.db();
    compromise::mark(db, "tester", active, "somebody left").await.unwrap();
    let compromised = (409, "key_compromised".to_owned(), Value::Null);
    assert_eq!(refused(&serve(&site).await, active).await, compromised);
}

on_every_database!(
    the_header_decides_from_and_the_active_key_is_the_target,
    only_what_authenticates_is_said_to_be_unchanged,
    a_value_under_the_next_key_is_never_brought_back_under_the_retired_one,
    to_a_key_that_is_not_active_or_not_to_be_trusted_nothing_is_re_encrypted,
);
