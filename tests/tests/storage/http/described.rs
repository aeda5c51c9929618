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
