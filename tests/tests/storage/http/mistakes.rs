//! Calls that are refused as a whole: nothing is done, the field is named, and no value is quoted.

use super::{insert_key, plain, sealed, serve, serve_with};
use crate::{on_every_database, site::Site, stale};
use reseal_entities::state::KeyState;
use reseal_keyring::Dek;
use reseal_storage::http::ServiceLimits;
use sea_orm::DbBackend;
use serde_json::{Value, json};

const SECRET: &str = "c2VjcmV0IG9mIGEgcGVyc29u";

async fn a_mistake_refuses_the_call_and_names_its_field(backend: DbBackend) {
    let site = Site::new(backend).await;
    let served = serve(&site).await;
    let good = json!({"plaintext": SECRET});
    let cases = [
        ("encrypt", json!({"values": [good, good, good, {"plaintext": "c2VjcmV0-"}]}), "/values/3/plaintext"),
        ("encrypt", json!({"values": [good, {"plaintext": "c2VjcmV0IG9m="}]}), "/values/1/plaintext"),
        ("encrypt", json!({"values": [{"plaintext": 4711}]}), "/values/0/plaintext"),
        (
            "encrypt",
            json!({"values": [{"plaintext": SECRET, "associated_data": "t.c:1"}]}),
            "/values/0/associated_data",
        ),
        ("encrypt", json!({"values": [{"plaintext": SECRET, "associated_data": null}]}), "/values/0/associated_data"),
        ("decrypt", json!({"values": [{"ciphertext": SECRET, "associated_data": null}]}), "/values/0/associated_data"),
        (
            "re-encrypt",
            json!({"values": [{"ciphertext": SECRET, "associated_data": null}]}),
            "/values/0/associated_data",
        ),
        ("encrypt", json!({"values": [good, {"associated_data": SECRET}]}), "/values/1"),
        ("encrypt", json!({"values": [{"plaintext": SECRET, "associatedData": SECRET}]}), "/values/0/associatedData"),
        ("encrypt", json!({"values": [{"ciphertext": SECRET}]}), "/values/0/ciphertext"),
        ("encrypt", json!({"values": SECRET}), "/values"),
        ("encrypt", json!({"values": [SECRET]}), "/values/0"),
        ("encrypt", json!({"keyset": {"name": SECRET}, "values": []}), "/keyset"),
        ("encrypt", json!({"format": "jwe", "values": [good]}), "/format"),
        ("encrypt", json!({"key": 7, "values": [good]}), "/key"),
        ("encrypt", json!({}), ""),
        ("decrypt", json!({"values": [good]}), "/values/0/plaintext"),
        ("decrypt", json!({"values": [{"ciphertext": [1, 2, 3]}]}), "/values/0/ciphertext"),
        ("decrypt", json!({"values": [{"ciphertext": SECRET, "associated_data": "-"}]}), "/values/0/associated_data"),
        ("decrypt", json!({"values": [], "to_key_id": 7}), "/to_key_id"),
        ("re-encrypt", json!({"values": [], "to_key_id": -1}), "/to_key_id"),
        ("re-encrypt", json!({"values": [], "from_key_id": "7"}), "/from_key_id"),
    ];
    for (path, call, pointer) in cases {
        let (status, problem) = served.ask(path, call.clone()).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid_request")), "{call}: {problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{call}: {problem}");
        let told = problem.to_string();
        assert!(!told.contains("c2VjcmV0") && !told.contains("4711"), "{told}");
    }
    let (status, problem) = served.raw("encrypt", format!("{{\"values\": [{{\"plaintext\": \"{SECRET}\"")).await;
    assert!(status == 400 && problem.contains("malformed_json") && !problem.contains(SECRET), "{problem}");
    assert_eq!(served.storage.counters().loads, 0, "the ledger is not asked for a call that is refused");
}

async fn a_keyset_that_is_not_there_is_named_by_its_field_until_it_is_made(backend: DbBackend) {
    let site = Site::new(backend).await;
    let served = serve(&site).await;
    for (path, value) in [("encrypt", plain(b"a", "")), ("decrypt", sealed("", "")), ("re-encrypt", sealed("", ""))] {
        for keyset in ["drafts", "", &"x".repeat(65)] {
            let (status, problem) = served.ask(path, json!({"keyset": keyset, "values": [value]})).await;
            assert_eq!((status, &problem["code"]), (404, &json!("no_keyset")), "{problem}");
            assert_eq!(problem["errors"][0]["pointer"], "/keyset");
        }
    }
    site.engine.keyring.create("tester", "drafts").await.unwrap();
    served.taken("encrypt", json!({"keyset": "drafts", "values": [plain(b"a", "")]})).await;
}

async fn limits_are_told_in_numbers(backend: DbBackend) {
    let site = Site::new(backend).await;
    let limits = ServiceLimits { values: 3, body_bytes: 10_000, ..Default::default() };
    let served = serve_with(&site, stale(), limits).await;
    let values = |n: usize| json!({"values": vec![plain(&[7; 1_000], ""); n]});
    let within = values(3);
    assert!(within.to_string().len() > 4_096, "more than the API around takes");
    served.taken("encrypt", within).await;
    let (status, problem) = served.ask("encrypt", values(4)).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/values")));
    assert_eq!(problem["values_max"], 3);
    let (status, problem) = served.ask("encrypt", values(8)).await;
    assert_eq!((status, &problem["code"], &problem["body_bytes_max"]), (413, &json!("body_too_large"), &json!(10_000)));
    assert!(problem["detail"].as_str().unwrap().contains("10000"), "{problem}");
}

async fn nothing_is_encrypted_under_a_key_that_its_ciphertexts_would_not_name(backend: DbBackend) {
    let site = Site::new(backend).await;
    insert_key(&site, "theirs", 77, "raw", KeyState::Active, &Dek::from_slice(&[7; 32]).unwrap()).await;
    let served = serve(&site).await;
    for (path, value) in [("encrypt", plain(b"a", "")), ("re-encrypt", sealed("", ""))] {
        let (status, problem) = served.ask(path, json!({"keyset": "theirs", "values": [value]})).await;
        assert_eq!((status, &problem["code"]), (409, &json!("raw_key_active")), "{problem}");
    }
}

async fn without_the_ledger_known_keys_serve_on_and_unknown_ones_say_so(backend: DbBackend) {
    let site = Site::new(backend).await;
    let served = serve(&site).await;
    let good = served.encrypt("a secret", "").await;
    let unknown = super::altered(&good, 4);
    site.ledger_sql("ALTER TABLE reseal_keys RENAME TO away").await;
    let call = json!({"values": [sealed(&good, ""), sealed(&unknown, "")]});
    let results = served.taken("decrypt", call.clone()).await["results"].clone();
    assert!(results[0].get("error").is_none(), "{results}");
    assert_eq!(results[1]["error"]["code"], "keyset_unavailable", "it may be a good one");
    let (status, problem) = served.ask("re-encrypt", call.clone()).await;
    assert_eq!(
        (status, &problem["code"]),
        (503, &json!("keyset_unavailable")),
        "whether the first may stay nobody can say"
    );
    let another = serve(&site).await;
    let (status, problem) = another.ask("decrypt", call.clone()).await;
    assert_eq!((status, &problem["code"]), (503, &json!("keyset_unavailable")));
    assert!(!problem.to_string().contains("reseal_keys"), "no driver's text: {problem}");
    let to = json!({"to_key_id": 7, "values": []});
    assert_eq!(served.ask("re-encrypt", to).await.0, 503, "whether key 7 is active nobody can say");
    site.ledger_sql("ALTER TABLE away RENAME TO reseal_keys").await;
    let soon = std::time::Duration::from_secs(20);
    reseal_tests::eventually(soon, "it comes back", async || {
        let (_, answer): (_, Value) = served.ask("decrypt", call.clone()).await;
        (answer["results"][1]["error"]["code"] == "decryption_failed").then_some(())
    })
    .await;
}

on_every_database!(
    a_mistake_refuses_the_call_and_names_its_field,
    a_keyset_that_is_not_there_is_named_by_its_field_until_it_is_made,
    limits_are_told_in_numbers,
    nothing_is_encrypted_under_a_key_that_its_ciphertexts_would_not_name,
    without_the_ledger_known_keys_serve_on_and_unknown_ones_say_so,
);
