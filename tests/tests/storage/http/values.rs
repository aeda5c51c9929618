//! Values that come back, and values that do not.

use super::{Served, altered, insert_key, key_id, plain, sealed, serve, serve_with, text};
use crate::{on_every_database, site::Site, stale};
use base64::{Engine, engine::general_purpose::STANDARD};
use reseal_entities::state::KeyState;
use reseal_keyring::{Dek, KeysetFormat, tink};
use reseal_storage::http::ServiceLimits;
use sea_orm::DbBackend;
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

async fn many_values_come_back_as_they_were_in_their_order(backend: DbBackend) {
    let site = Site::new(backend).await;
    let served = serve(&site).await;
    let value = |n: usize| (0..n * 13 % 5_000).map(|i| (i * n) as u8).collect::<Vec<u8>>();
    let places: Vec<String> = (0..300).map(|n| format!("drawers.body:{n}")).collect();
    let values: Vec<Value> = places.iter().enumerate().map(|(n, place)| plain(&value(n), place)).collect();
    let encrypted = served.taken("encrypt", json!({"keyset": "default", "format": "tink", "values": values})).await;
    let results = encrypted["results"].as_array().unwrap();
    assert_eq!(results.len(), places.len());
    let ciphertexts: Vec<String> = results.iter().map(|result| text(&result["ciphertext"])).collect();
    assert!(ciphertexts.iter().all(|c| json!(key_id(c)) == encrypted["key_id"]));
    let values: Vec<Value> = ciphertexts.iter().zip(&places).map(|(c, place)| sealed(c, place)).collect();
    let decrypted = served.taken("decrypt", json!({"values": values})).await;
    for (n, result) in decrypted["results"].as_array().unwrap().iter().enumerate() {
        assert_eq!(result, &json!({"plaintext": STANDARD.encode(value(n))}), "{n}");
    }
    let nothing = json!({"values": [{"plaintext": ""}, {"plaintext": "", "associated_data": ""}]});
    let nothing = served.taken("encrypt", nothing).await["results"].clone();
    assert_eq!(served.decrypt(&text(&nothing[0]["ciphertext"]), "").await.unwrap(), "", "none is the empty one");
    assert_eq!(served.taken("decrypt", json!({"values": []})).await, json!({"results": []}));
}

async fn what_the_crate_encrypts_the_service_decrypts_and_the_other_way_round(backend: DbBackend) {
    use reseal_entities::app::messages;
    use reseal_storage::{Field, Text};
    const CONTENT: Field<messages::Entity, Text> = Field::new(messages::Column::EncryptedContent);
    let site = Site::new(backend).await;
    let served = serve(&site).await;
    let cell = served.storage.seal(CONTENT, 7, "from the crate").await.unwrap();
    let place = "messages.encrypted_content:7";
    assert_eq!(served.decrypt(&STANDARD.encode(cell), place).await.unwrap(), "from the crate");
    let cell = STANDARD.decode(served.encrypt("from the service", place).await).unwrap();
    assert_eq!(served.storage.unseal(CONTENT, 7, &cell).await.unwrap().as_str(), "from the service");
}

async fn a_ciphertext_of_tinks_own_is_decrypted(backend: DbBackend) {
    let site = Site::new(backend).await;
    let file: Value = serde_json::from_str(include_str!("../../../vectors/tink.json")).unwrap();
    let case = file["vectors"].as_array().unwrap().iter().find(|case| case["template"] == "AES256_GCM").unwrap();
    let (key, dek) = tink::import(case["keyset_json"].to_string().as_bytes(), KeysetFormat::Json).unwrap().remove(0);
    insert_key(&site, "theirs", key.key_id.0, "tink", KeyState::Active, &dek).await;
    let served = serve(&site).await;
    let ciphertext = STANDARD.encode(hex::decode(text(&case["ciphertext_hex"])).unwrap());
    let call = json!({"keyset": "theirs", "values": [sealed(&ciphertext, &text(&case["aad"]))]});
    let answer = served.taken("decrypt", call).await;
    let plaintext = text(&case["plaintext"]);
    assert_eq!(answer["results"][0]["plaintext"], json!(STANDARD.encode(plaintext)));
}

async fn a_bad_value_among_good_ones_fails_alone(backend: DbBackend) {
    let site = Site::new(backend).await;
    let limits = ServiceLimits { value_bytes: 64, associated_data_bytes: 32, ..Default::default() };
    let served = serve_with(&site, stale(), limits).await;
    let (longest, place) = ("x".repeat(64), "t.c:12345678901234567890123456789".to_owned());
    assert_eq!(place.len(), 33);
    let (too_long, too_far) = (format!("{longest}x"), place.as_str());
    let place = &place[..32];
    let values = [(&*longest, place), (&*too_long, place), ("", ""), ("a", too_far), ("b", "t.c:2")];
    let values: Vec<Value> = values.iter().map(|(value, place)| plain(value.as_bytes(), place)).collect();
    let answer = served.taken("encrypt", json!({"values": values})).await;
    let codes: Vec<&Value> = answer["results"].as_array().unwrap().iter().map(|r| &r["error"]["code"]).collect();
    let (none, large, far) = (&Value::Null, &json!("value_too_large"), &json!("associated_data_too_large"));
    assert_eq!(codes, [none, large, none, far, none]);

    let good = text(&answer["results"][0]["ciphertext"]);
    assert_eq!(served.decrypt(&good, place).await.unwrap(), longest, "what was encrypted at the bound comes back");
    let (much, url_safe) = (STANDARD.encode([1; 64 + 46 + 2]), good.replacen('=', "", 1) + "-");
    let values = [(&*good, place), (&url_safe, place), (&much, place), ("", ""), (&good, "t.c:2"), (&good, too_far)];
    let values: Vec<Value> =
        values.iter().map(|(value, place)| sealed(value, place)).chain([sealed(&good, place)]).collect();
    for path in ["decrypt", "re-encrypt"] {
        let answer = served.taken(path, json!({"values": values})).await;
        let codes: Vec<&Value> = answer["results"].as_array().unwrap().iter().map(|r| &r["error"]["code"]).collect();
        let (not_base64, failed) = (&json!("not_base64"), &json!("decryption_failed"));
        assert_eq!(codes, [none, not_base64, large, failed, failed, far, none], "{path}");
    }
}

/// Nobody who alters a ciphertext learns how far it got.
async fn whatever_does_not_authenticate_gets_the_same_answer_byte_by_byte(backend: DbBackend) {
    let site = Site::new(backend).await;
    insert_key(&site, "theirs", 4_711, "tink", KeyState::Active, &Dek::from_slice(&[9; 32]).unwrap()).await;
    let served = serve(&site).await;
    let (good, place) = (served.encrypt("a secret", "t.c:1").await, "t.c:1");
    let call = json!({"keyset": "theirs", "values": [plain(b"a secret", place)]});
    let theirs = text(&served.taken("encrypt", call).await["results"][0]["ciphertext"]);
    let bytes = STANDARD.decode(&good).unwrap();
    let mut causes: Vec<(String, String, String)> = vec![
        ("other associated data".into(), good.clone(), "t.c:2".into()),
        ("none".into(), good.clone(), String::new()),
        ("of another keyset".into(), theirs, place.into()),
        ("no cell at all".into(), STANDARD.encode("a secret"), place.into()),
        ("longer".into(), STANDARD.encode([&bytes[..], &[0]].concat()), place.into()),
    ];
    // version, key id, nonce, ciphertext, tag
    for at in [0, 1, 4, 5, 16, 17, 24, 25, 40] {
        causes.push((format!("byte {at}"), altered(&good, at), place.into()));
    }
    for length in 0..bytes.len() {
        causes.push((format!("{length} bytes"), STANDARD.encode(&bytes[..length]), place.into()));
    }
    for path in ["decrypt", "re-encrypt"] {
        let mut answers = BTreeSet::new();
        for (cause, ciphertext, place) in &causes {
            let call = json!({"values": [sealed(ciphertext, place)]}).to_string();
            let (status, answer) = served.raw(path, call).await;
            assert!(status == 200 && answer.contains("\"decryption_failed\""), "{cause}: {status} {answer}");
            answers.insert(answer);
        }
        assert_eq!(answers.len(), 1, "{path}: {answers:#?}");
    }
    assert_eq!(served.decrypt(&good, place).await.unwrap(), "a secret");
}

async fn a_thousand_made_up_keys_in_a_call_are_one_question_to_the_ledger(backend: DbBackend) {
    let site = Site::new(backend).await;
    let served = serve(&site).await;
    let good = served.encrypt("a secret", "").await;
    for (path, first) in [("decrypt", 1_u32), ("re-encrypt", 1_000_001)] {
        let mut values: Vec<Value> = Vec::new();
        for id in first..first + 999 {
            let mut cell = STANDARD.decode(&good).unwrap();
            cell[1..5].copy_from_slice(&id.to_be_bytes());
            values.push(sealed(&STANDARD.encode(cell), ""));
        }
        values.push(sealed(&good, ""));
        let before = served.storage.counters().loads;
        let answer = served.taken(path, json!({"values": values})).await;
        let results = answer["results"].as_array().unwrap();
        assert!(results[..999].iter().all(|r| r["error"]["code"] == "decryption_failed"));
        assert!(results[999].get("error").is_none(), "{}", results[999]);
        // Those that are polled late may find that the first look-up began before they asked.
        assert!((1..=2).contains(&(served.storage.counters().loads - before)), "{path}");
    }
}

/// The database has no part in it: one of them will do.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_values_come_back_in_calls_of_a_thousand() {
    let site = Site::new(crate::site::Postgres).await;
    let served = Arc::new(serve(&site).await);
    let calls = [0, 1].map(|half| {
        let served = served.clone();
        tokio::spawn(async move {
            let mut distinct = HashSet::new();
            for first in (half * 50_000..(half + 1) * 50_000).step_by(1_000) {
                distinct.extend(a_thousand_come_back(&served, first).await);
            }
            distinct
        })
    });
    let mut distinct = HashSet::new();
    for half in calls {
        distinct.extend(half.await.unwrap());
    }
    assert_eq!(distinct.len(), 100_000);
}

async fn a_thousand_come_back(served: &Served, first: u32) -> Vec<String> {
    let values = || (first..first + 1_000).map(|n| (format!("value {n} of many"), format!("t.c:{n}")));
    let call: Vec<Value> = values().map(|(value, place)| plain(value.as_bytes(), &place)).collect();
    let encrypted = served.taken("encrypt", json!({"values": call})).await;
    let ciphertexts: Vec<String> =
        encrypted["results"].as_array().unwrap().iter().map(|result| text(&result["ciphertext"])).collect();
    let call: Vec<Value> = values().zip(&ciphertexts).map(|((_, place), c)| sealed(c, &place)).collect();
    let decrypted = served.taken("decrypt", json!({"values": call})).await;
    let results = decrypted["results"].as_array().unwrap();
    assert_eq!(results.len(), 1_000);
    for ((value, _), result) in values().zip(results) {
        assert_eq!(result["plaintext"], json!(STANDARD.encode(value)));
    }
    ciphertexts
}

on_every_database!(
    many_values_come_back_as_they_were_in_their_order,
    what_the_crate_encrypts_the_service_decrypts_and_the_other_way_round,
    a_ciphertext_of_tinks_own_is_decrypted,
    a_bad_value_among_good_ones_fails_alone,
    whatever_does_not_authenticate_gets_the_same_answer_byte_by_byte,
    a_thousand_made_up_keys_in_a_call_are_one_question_to_the_ledger,
);
