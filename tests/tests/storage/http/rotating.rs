//! The service through a rotation.

use super::{Served, altered, encryptions, key_id, plain, sealed, serve, serve_with};
use crate::{drive_past_writers, on_every_database, site::Site, stale};
use reseal_entities::{
    ledger::{audit, writers},
    state::{KeyState, RotationState},
};
use reseal_storage::Options;
use reseal_tests::eventually;
use sea_orm::DbBackend;
use serde_json::json;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

async fn values_are_read_before_during_and_after_a_rotation_and_brought_over_by_the_client(backend: DbBackend) {
    let site = Site::with(backend, false, |c| c.rotation.clear_after = Some(Duration::from_secs(3_600))).await;
    let fresh = Options::default().refresh_every(Duration::from_millis(100));
    let served = serve_with(&site, fresh, Default::default()).await;
    let mut value = served.encrypt("a secret", "t.c:1").await;
    let old = key_id(&value);
    let id = site.request().await;
    let promoted = |s: &reseal_entities::ledger::read::RotationStatus| s.state == RotationState::Proving;
    site.drive(id, promoted).await;
    assert_eq!(served.decrypt(&value, "t.c:1").await.unwrap(), "a secret");
    eventually(SOON, "it encrypts with the new key by itself", async || {
        let new = served.encrypt("another", "").await;
        (key_id(&new) != old).then_some(())
    })
    .await;
    let call = json!({"from_key_id": old, "values": [sealed(&value, "t.c:1")]});
    value = super::text(&served.taken("re-encrypt", call).await["results"][0]["ciphertext"]);
    site.drive_to(id, RotationState::Waiting).await;
    site.ledger_sql("UPDATE reseal_rotations SET waited_ms = clear_after_ms").await;
    let done = site.drive_to(id, RotationState::Completed).await;
    assert_eq!((done.old_keys[0].key_id, done.old_keys[0].state), (old.into(), KeyState::Destroyed));
    assert_eq!(served.decrypt(&value, "t.c:1").await.unwrap(), "a secret");
}

async fn a_value_is_called_unchanged_only_when_the_ledger_has_just_confirmed_its_key(backend: DbBackend) {
    let site = Site::new(backend).await;
    let served = serve(&site).await; // its keyset is never refreshed by itself
    let value = served.encrypt("a secret", "t.c:1").await;
    let call = || json!({"values": [sealed(&value, "t.c:1")]});
    assert_eq!(served.taken("re-encrypt", call()).await["results"][0]["unchanged"], true);
    let key = crate::promote(&site).await;
    let answer = served.taken("re-encrypt", call()).await;
    assert_eq!(answer["key_id"], key);
    assert_eq!(i64::from(key_id(&super::text(&answer["results"][0]["ciphertext"]))), key);
    site.ledger_sql("ALTER TABLE reseal_keys RENAME TO away").await;
    let ciphertext = super::text(&answer["results"][0]["ciphertext"]);
    let current = json!({"values": [sealed(&ciphertext, "t.c:1")]});
    let (status, problem) = served.ask("re-encrypt", current).await;
    assert_eq!((status, &problem["code"]), (503, &json!("keyset_unavailable")), "{problem}");
}

async fn waiting(backend: DbBackend) -> (Site, i64, String) {
    let site = Site::with(backend, false, |c| c.rotation.clear_after = Some(Duration::from_secs(3_600))).await;
    let copy = serve(&site).await.encrypt("hello", "t.c:1").await;
    let id = site.request().await;
    drive_past_writers(&site, id, RotationState::Waiting).await;
    (site, id, copy)
}

async fn named(site: &Site, name: &str) -> Served {
    serve_with(site, stale().name(name), Default::default()).await
}

async fn a_value_under_a_suspended_key_is_refused_and_holds_its_clearing(backend: DbBackend) {
    for path in ["decrypt", "re-encrypt"] {
        let (site, id, copy) = waiting(backend).await;
        let served = named(&site, "crypt-7").await;
        let values = [sealed(&served.encrypt("new", "").await, ""), sealed(&copy, "t.c:1"), sealed(&copy, "t.c:1")];
        let answer = served.taken(path, json!({"values": values})).await;
        assert!(answer["results"][0].get("error").is_none(), "{answer}");
        assert_eq!(answer["results"][1]["error"]["code"], "key_suspended");
        assert_eq!(answer["results"][2]["error"]["code"], "key_suspended");
        let held = site.status(id).await;
        assert_eq!(held.code.as_deref(), Some("key_used"), "before the answer");
        let place = format!("/values/1 of request the-request to /v1/{path}");
        for word in [&key_id(&copy).to_string(), "crypt-7", &*place] {
            assert!(held.summary.contains(word), "{word}: {}", held.summary);
        }
        site.ledger_sql("UPDATE reseal_rotations SET waited_ms = clear_after_ms").await;
        site.dispatch().await;
        assert!(site.next_job().is_none(), "nobody is sent to clear");
        assert_eq!(audit::verify(site.engine.ledger.db()).await.unwrap().broken, None);
    }
}

async fn what_does_not_authenticate_under_a_suspended_key_says_what_everything_else_does(backend: DbBackend) {
    let (site, id, copy) = waiting(backend).await;
    let served = named(&site, "crypt").await;
    let cases = [sealed(&altered(&copy, 40), "t.c:1"), sealed(&copy, "t.c:2"), sealed(&altered(&copy, 1), "t.c:1")];
    for path in ["decrypt", "re-encrypt"] {
        let mut answers = std::collections::BTreeSet::new();
        for case in &cases {
            let answer = served.taken(path, json!({"values": [case]})).await;
            assert_eq!(answer["results"][0]["error"]["code"], "decryption_failed");
            answers.insert(answer["results"][0].to_string());
        }
        assert_eq!(answers.len(), 1, "{answers:#?}");
    }
    assert!(!site.status(id).await.needs_attention, "and nothing is held by it");
}

async fn the_service_is_a_writer_and_what_it_encrypts_is_counted(backend: DbBackend) {
    let site = Site::new(backend).await;
    let quick = stale().name("crypt-1").beat_every(Duration::from_millis(50));
    let served = serve_with(&site, quick, Default::default()).await;
    let values: Vec<_> = (0..40).map(|_| plain(b"a secret", "")).chain([plain(&[7; 70_000], "")]).collect();
    let answer = served.taken("encrypt", json!({"values": values})).await;
    let key = answer["key_id"].as_u64().unwrap() as u32;
    let value = super::text(&answer["results"][0]["ciphertext"]);
    served.taken("re-encrypt", json!({"values": [sealed(&value, "")]})).await;
    served.decrypt(&value, "").await.unwrap();
    let db = site.engine.ledger.db();
    eventually(SOON, "the beat counts", async || (encryptions(&site, key).await > 0).then_some(())).await;
    assert_eq!(encryptions(&site, key).await, 40, "one was too large, and reading and leaving alone encrypt nothing");
    let alive = writers::alive(db, "default").await.unwrap();
    assert_eq!(alive.iter().map(|w| (w.name.as_str(), w.key_id)).collect::<Vec<_>>(), [("crypt-1", key.into())]);
}

on_every_database!(
    a_value_is_called_unchanged_only_when_the_ledger_has_just_confirmed_its_key,
    values_are_read_before_during_and_after_a_rotation_and_brought_over_by_the_client,
    a_value_under_a_suspended_key_is_refused_and_holds_its_clearing,
    what_does_not_authenticate_under_a_suspended_key_says_what_everything_else_does,
    the_service_is_a_writer_and_what_it_encrypts_is_counted,
);
