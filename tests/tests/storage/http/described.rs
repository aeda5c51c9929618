//! What the OpenAPI document says of the service is so.

use super::{Served, serve};
use crate::site::{Site, Sqlite};
use reseal_storage::http::{ServiceLimits, service};
use serde_json::Value;

async fn described() -> (Served, Value) {
    let site = Site::new(Sqlite).await;
    let served = serve(&site).await;
    let api = service(served.storage.clone(), ServiceLimits::default()).into_openapi();
    (served, serde_json::to_value(&api).unwrap())
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(|r| r.trim_start_matches('#').to_owned()));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_complete_and_its_examples_are_taken() {
    let (served, api) = described().await;
    let mut refers_to = Vec::new();
    references(&api, &mut refers_to);
    assert!(refers_to.len() > 20);
    for pointer in refers_to {
        assert!(api.pointer(&pointer).is_some(), "{pointer} is missing");
    }
    let routes = [("encrypt", "encrypt"), ("decrypt", "decrypt"), ("re-encrypt", "reencrypt")];
    assert_eq!(api["paths"].as_object().unwrap().len(), routes.len());
    for (path, operation) in routes {
        let post = &api["paths"][format!("/v1/{path}")]["post"];
        assert_eq!((&post["operationId"], &post["tags"][0]), (&operation.into(), &"encryption".into()));
        let request = post["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
        let example = &api.pointer(request.trim_start_matches('#')).unwrap()["example"];
        let answer = served.taken(path, example.clone()).await;
        assert_eq!(answer["results"].as_array().unwrap().len(), 1, "{answer}");
    }
    for (schema, field) in [("EncryptAnswer", "key_id"), ("ReencryptRequest", "to_key_id")] {
        let number = &api["components"]["schemas"][schema]["properties"][field];
        assert_eq!(number["maximum"], u32::MAX, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_example_is_taken_and_answered_as_it_says() {
    let guide = include_str!("../../../../docs/encryption-service.md");
    let (_, rest) = guide.split_once("-d '").unwrap();
    let (call, rest) = rest.split_once("'\n").unwrap();
    let said = rest.split("```json\n").nth(1).and_then(|rest| rest.split("\n```").next()).unwrap();
    let said: Value = serde_json::from_str(said).unwrap();
    let (served, _) = described().await;
    let answer = served.taken("encrypt", serde_json::from_str(call).unwrap()).await;
    let shape = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(shape(&answer), shape(&said));
    assert_eq!(shape(&answer["results"][0]), shape(&said["results"][0]));
    assert_eq!(
        served
            .decrypt(answer["results"][0]["ciphertext"].as_str().unwrap(), "messages.encrypted_content:42")
            .await
            .unwrap(),
        "hello"
    );
}

/// Every code of a value, and every code of a call that the service itself makes.
#[test]
fn the_guide_lists_every_code() {
    let guide = include_str!("../../../../docs/encryption-service.md");
    let source = include_str!("../../../../storage/src/http/refused.rs");
    let value = source.split("code: \"").skip(1);
    let call = source
        .split("field(")
        .chain(source.split("Problem::new("))
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let call = call.filter_map(|rest| rest.split_once('"').map(|(_, code)| code));
    let codes: Vec<&str> = value.chain(call).filter_map(|rest| rest.split('"').next()).collect();
    assert!(codes.len() >= 14, "{codes:?}");
    for code in codes {
        assert!(guide.contains(&format!("`{code}`")) || code == "internal", "{code}");
    }
}
