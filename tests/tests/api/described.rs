//! The committed description is what the server serves, and it is one that a client's author can use.

use reseal_producer::http;
use serde_json::Value;

const COMMITTED: &str = include_str!("../../../docs/openapi.json");

fn described() -> Value {
    let described = http::openapi(reseal_storage::http::described());
    serde_json::to_value(&described).expect("JSON")
}

/// Each operation by `METHOD path`.
fn operations(described: &Value) -> Vec<(String, &Value)> {
    let paths = described["paths"].as_object().expect("paths");
    let each = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods").iter();
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    });
    each.collect()
}

#[test]
fn the_committed_description_is_the_servers() {
    let committed: Value = serde_json::from_str(COMMITTED).expect("JSON");
    assert!(
        committed == described(),
        "docs/openapi.json is not what the code says: cargo run --locked -q -- openapi > docs/openapi.json"
    );
}

#[test]
fn every_operation_says_what_it_does_and_shows_what_it_takes() {
    let described = described();
    for (name, operation) in operations(&described) {
        assert!(operation["summary"].as_str().is_some_and(|said| !said.is_empty()), "{name} has no summary");
        assert!(operation["operationId"].is_string(), "{name} has no operation id");
        let Some(body) = operation.get("requestBody") else { continue };
        let schema = body["content"]["application/json"]["schema"]["$ref"].as_str().expect("a schema");
        let schema = described.pointer(schema.trim_start_matches('#')).expect("it is there");
        assert!(schema.get("example").is_some(), "{name}: its body has no example");
    }
}

#[test]
fn every_schema_has_a_name_that_reads_well_in_a_generated_client() {
    let described = described();
    for name in described["components"]["schemas"].as_object().expect("schemas").keys() {
        let reads = name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(char::is_alphanumeric);
        assert!(reads, "{name}");
    }
    // Renaming leaves no reference behind.
    let mut references = described.to_string();
    while let Some((_, rest)) = references.split_once("\"$ref\":\"#") {
        let (pointer, rest) = rest.split_once('"').expect("its end");
        assert!(described.pointer(pointer).is_some(), "{pointer}");
        references = rest.to_owned();
    }
}
