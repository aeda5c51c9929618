use reseal_keyring::{
    Algorithm, Dek, Encoding, Format, ImportedKey, KeyId, KeyInfo, KeyState, Keyset, KeysetFormat, Layout, Prefix,
    TinkError, tink,
};
use serde_json::{Value, json};

use super::{ROW, dek, keyset, vectors};

const NATIVE: &str = "AES256_GCM";
const JSON: KeysetFormat = KeysetFormat::Json;

pub(crate) fn cases() -> Vec<Value> {
    let file = super::json(&vectors("tink.json"));
    file["vectors"].as_array().unwrap().clone()
}

fn native_keyset() -> Value {
    let mut cases = cases().into_iter();
    cases.find(|case| case["template"] == NATIVE).unwrap()["keyset_json"].clone()
}

fn import(json: &str) -> Result<Vec<(ImportedKey, Dek)>, TinkError> {
    tink::import(json.as_bytes(), JSON)
}

fn exported(keyset: &Keyset) -> String {
    String::from_utf8(tink::export(keyset, JSON).to_vec()).unwrap()
}

fn refused(keyset: &Value) -> TinkError {
    import(&keyset.to_string()).map(|_| ()).unwrap_err()
}

fn imported(json: &str) -> Keyset {
    as_keyset(import(json).unwrap())
}

/// What an import makes of a keyset.
pub(crate) fn as_keyset(keys: Vec<(ImportedKey, Dek)>) -> Keyset {
    let keys = (1..).zip(keys).map(|(version, (key, dek))| {
        let state = if key.primary { KeyState::Active } else { KeyState::Deactivated };
        let ImportedKey { key_id, algorithm, prefix, .. } = key;
        (KeyInfo { key_id, version, state, algorithm, prefix }, Some(dek))
    });
    Keyset::new("imported", keys.collect()).unwrap()
}

#[test]
fn every_supported_template_of_tink_is_read_and_every_other_refused_by_its_name() {
    let layout = Layout { format: Format::RawAesGcm, encoding: Encoding::Bytes };
    let (mut read, mut refused_by_name) = (Vec::new(), Vec::new());
    for case in cases() {
        let template = case["template"].as_str().unwrap().to_owned();
        let key = &case["keyset_json"]["key"][0];
        match import(&case["keyset_json"].to_string()) {
            Ok(keys) => {
                let word = template.trim_end_matches("_RAW");
                let prefix = if word == template { Prefix::Tink } else { Prefix::Raw };
                assert_eq!((keys[0].0.algorithm.as_str(), keys[0].0.prefix), (word, prefix));
                let keyset = as_keyset(keys);
                let cell = hex::decode(case["ciphertext_hex"].as_str().unwrap()).unwrap();
                let data = case["aad"].as_str().unwrap().as_bytes();
                let plaintext = keyset.decrypt_from(layout, &cell, data).unwrap();
                assert_eq!(plaintext[..], *case["plaintext"].as_str().unwrap().as_bytes(), "{template}");
                read.push(template);
            }
            Err(error) => {
                let text = error.to_string();
                let name = key["keyData"]["typeUrl"].as_str().unwrap().rsplit('.').next().unwrap();
                assert!(text.contains(name) && text.contains(&key["keyId"].to_string()), "{text}");
                assert_eq!(error.code(), "tink_type", "{template}");
                refused_by_name.push(template);
            }
        }
    }
    assert_eq!(read, ["AES128_GCM", NATIVE, "AES256_GCM_RAW", "XCHACHA20_POLY1305", "AES256_GCM_SIV"]);
    assert_eq!(refused_by_name, ["AES256_CTR_HMAC_SHA256", "AES128_EAX", "AES256_SIV"]);
}

#[test]
fn an_import_keeps_order_ids_and_primary() {
    let mut keyset = native_keyset();
    let mut second = keyset["key"][0].clone();
    // A number as text is protobuf's other spelling.
    second["keyId"] = json!("4294967295");
    keyset["key"].as_array_mut().unwrap().push(second);
    keyset["primaryKeyId"] = json!("4294967295");

    let keys = import(&keyset.to_string()).unwrap();

    let keys: Vec<_> = keys.iter().map(|(key, _)| (key.key_id, key.primary)).collect();
    assert_eq!(keys, [(KeyId(1_540_500_288), false), (KeyId(u32::MAX), true)]);
}

#[test]
fn one_key_that_cannot_be_imported_refuses_the_keyset() {
    let cases = cases();
    let eax = cases.iter().find(|case| case["template"] == "AES128_EAX").unwrap();
    let mut keyset = native_keyset();
    let bad = eax["keyset_json"]["key"][0].clone();
    keyset["key"].as_array_mut().unwrap().push(bad);
    let key_id = KeyId(582_568_160);
    assert_eq!(refused(&keyset), TinkError::Type { key_id, name: "AesEaxKey".to_owned() });
}

#[test]
fn raw_keys_are_for_aes_gcm_only() {
    for template in ["XCHACHA20_POLY1305", "AES256_GCM_SIV"] {
        let mut keyset = cases().into_iter().find(|case| case["template"] == template).unwrap()["keyset_json"].take();
        keyset["key"][0]["outputPrefixType"] = json!("RAW");
        let error = refused(&keyset);
        assert_eq!(error.code(), "tink_prefix");
        assert!(error.to_string().contains(&keyset["key"][0]["keyId"].to_string()), "{error}");
    }
}

#[test]
fn what_is_not_supported_is_refused_and_the_key_named() {
    for (pointer, value, expected) in [
        ("/key/0/status", json!("DISABLED"), "tink_status"),
        ("/key/0/status", json!("DESTROYED"), "tink_unknown_primary"),
        ("/key/0/outputPrefixType", json!("CRUNCHY"), "tink_prefix"),
        ("/key/0/outputPrefixType", json!("LEGACY"), "tink_prefix"),
        ("/key/0/keyData/keyMaterialType", json!("REMOTE"), "tink_material"),
        ("/key/0/keyData/typeUrl", json!("AesGcmKey"), "tink_type"),
        ("/key/0/keyData/value", json!("!"), "tink_value"),
        ("/key/0/keyData/value", json!(""), "tink_value"),
        ("/key/0/keyId", json!(0), "tink_zero_key_id"),
        ("/key/0/keyId", json!(-1), "tink_json"),
        ("/primaryKeyId", json!(5), "tink_unknown_primary"),
        ("/key", json!([]), "tink_no_keys"),
    ] {
        let mut keyset = native_keyset();
        *keyset.pointer_mut(pointer).unwrap() = value.clone();
        let error = refused(&keyset);
        assert_eq!(error.code(), expected, "{pointer} {value}");
        let names_key = pointer.starts_with("/key/0") && !pointer.ends_with("keyId") || value == "DESTROYED";
        assert_eq!(error.to_string().contains("1540500288"), names_key, "{error}");
    }
}

#[test]
fn a_keyset_without_ids_or_in_twos_is_refused() {
    let mut keyset = native_keyset();
    let twin = keyset["key"][0].clone();
    keyset["key"].as_array_mut().unwrap().push(twin);
    assert_eq!(refused(&keyset).code(), "tink_duplicate_key_id");

    let mut keyset = native_keyset();
    keyset.as_object_mut().unwrap().remove("primaryKeyId");
    assert_eq!(refused(&keyset), TinkError::MissingPrimary);

    let mut keyset = native_keyset();
    keyset["key"][0].as_object_mut().unwrap().remove("keyId");
    assert_eq!(refused(&keyset), TinkError::ZeroKeyId);

    let encrypted = json!({"encryptedKeyset": "AAAA", "keysetInfo": {}});
    assert_eq!(refused(&encrypted), TinkError::Encrypted);
}

#[test]
fn a_key_message_with_anything_unexpected_is_refused() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let key = [7; 32];
    let with = |parts: &[&[u8]]| {
        let mut keyset = native_keyset();
        keyset["key"][0]["keyData"]["value"] = json!(STANDARD.encode(parts.concat()));
        import(&keyset.to_string()).map(|_| ()).map_err(|error| error.code())
    };
    assert_eq!(with(&[&[0x1A, 32], &key]), Ok(()));
    assert_eq!(with(&[&[0x08, 0, 0x1A, 32], &key]), Ok(()));
    let no_value = Err("tink_value");
    assert_eq!(with(&[&[0x08, 1, 0x1A, 32], &key]), no_value, "version 1");
    assert_eq!(with(&[&[0x08, 0x80, 0, 0x1A, 32], &key]), no_value, "long varint");
    assert_eq!(with(&[&[0x12, 0, 0x1A, 32], &key]), no_value, "field 2");
    assert_eq!(with(&[&[0x1A, 32], &key, &[0x20, 1]]), no_value, "field 4");
    assert_eq!(with(&[&[0x1A, 32], &key, &[0x1A, 32], &key]), no_value, "twice");
    assert_eq!(with(&[&[0x1A, 33], &key]), no_value, "too short");
    assert_eq!(with(&[&[0x1A, 16], &key[..16]]), Ok(()), "AES-128");
    assert_eq!(with(&[&[0x1A, 24], &key[..24]]), Err("tink_key_length"));
    let mut chacha = cases().into_iter().find(|case| case["template"] == "XCHACHA20_POLY1305").unwrap();
    chacha["keyset_json"]["key"][0]["keyData"]["value"] = json!(STANDARD.encode([&[0x1A, 16], &key[..16]].concat()));
    assert_eq!(refused(&chacha["keyset_json"]).code(), "tink_key_length");
}

#[test]
fn a_broken_keyset_is_refused_without_showing_it() {
    let secret = "c2VjcmV0IGtleSBieXRlcw==";
    for text in [
        format!("{{\"key\": \"{secret}\"}}"),
        format!("{{\"primaryKeyId\": \"{secret}\", \"key\": []}}"),
        secret.to_owned(),
    ] {
        let error = import(&text).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), "tink_json");
        assert!(!format!("{error} {error:?}").contains("c2Vj"));
    }
}

#[test]
fn an_exported_keyset_reads_what_the_keyset_wrote_and_the_other_way_round() {
    let ours = keyset(&[(1, KeyState::Deactivated), (2, KeyState::Active), (3, KeyState::PreActive)]);

    let theirs = imported(&exported(&ours));

    assert_eq!(theirs.active(), ours.active());
    let cell = ours.encrypt_with(KeyId(3), b"value", ROW).unwrap();
    assert_eq!(theirs.decrypt(&cell, ROW).unwrap()[..], *b"value");
    let cell = keyset(&[(1, KeyState::Active)]).encrypt(b"value", ROW);
    assert_eq!(theirs.decrypt(&cell, ROW).unwrap()[..], *b"value");
    let cell = theirs.encrypt(b"value", ROW);
    assert_eq!(ours.decrypt(&cell, ROW).unwrap()[..], *b"value");
}

#[test]
fn an_export_leaves_suspended_and_destroyed_keys_out() {
    let keyset = keyset(&[
        (1, KeyState::Destroyed),
        (2, KeyState::Suspended),
        (3, KeyState::Deactivated),
        (4, KeyState::Active),
        (5, KeyState::PreActive),
    ]);
    let json: Value = serde_json::from_str(&exported(&keyset)).unwrap();
    assert_eq!(json["primaryKeyId"], 4);
    let ids = json["key"].as_array().unwrap().iter().map(|key| &key["keyId"]);
    assert_eq!(ids.collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn an_export_has_tinks_own_shape() {
    for case in cases() {
        let theirs = &case["keyset_json"];
        let Ok(keys) = import(&theirs.to_string()) else { continue };
        let ours: Value = serde_json::from_str(&exported(&as_keyset(keys))).unwrap();
        assert_eq!(ours, *theirs);
    }
}

#[test]
fn the_longest_export_fits_the_room_reserved_for_it() {
    let keys = (1..=50).map(|version| {
        let state = if version == 1 { KeyState::Active } else { KeyState::Deactivated };
        let info = super::info(u32::MAX - version, version, state);
        (KeyInfo { algorithm: Algorithm::XChaCha20Poly1305, ..info }, Some(dek(version)))
    });
    let keyset = Keyset::new("default", keys.collect()).unwrap();
    // Grown, it would have left keys behind; a debug assertion in `export` looks.
    for format in [JSON, KeysetFormat::Binary] {
        assert_eq!(tink::import(&tink::export(&keyset, format), format).unwrap().len(), 50);
    }
}

/// Protobuf's JSON mapping, as the readers of Tink take it.
#[test]
fn a_keyset_is_read_in_every_way_in_which_tinks_json_reader_takes_it() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut keyset = native_keyset();
    let dek = [&[0x1A, 32][..], &[0xFB, 0xEF, 0xFF, 0x3E].repeat(8)].concat();
    keyset["key"][0]["keyData"]["value"] = json!(STANDARD.encode(dek));
    let plain = keyset.to_string();
    let value = keyset["key"][0]["keyData"]["value"].as_str().unwrap().to_owned();
    assert!(value.contains('+') && value.contains('/') && value.ends_with('='), "{value}");
    let cell = imported(&plain).encrypt(b"a value", ROW);
    let url_safe = value.replace('+', "-").replace('/', "_");
    let with = |pointer: &str, value: serde_json::Value| {
        let mut other = keyset.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        other.to_string()
    };
    let snake = [
        ("primaryKeyId", "primary_key_id"),
        ("keyData", "key_data"),
        ("typeUrl", "type_url"),
        ("keyMaterialType", "key_material_type"),
        ("keyId", "key_id"),
        ("outputPrefixType", "output_prefix_type"),
    ];
    let snake = snake.iter().fold(plain.clone(), |text, (camel, snake)| text.replace(camel, snake));
    let gone = |key: serde_json::Value| {
        let mut other = keyset.clone();
        other["key"].as_array_mut().unwrap().push(key);
        other.to_string()
    };
    let cases = [
        with("/key/0/keyData/value", json!(url_safe)),
        with("/key/0/keyData/value", json!(value.trim_end_matches('='))),
        with("/key/0/keyData/value", json!(url_safe.trim_end_matches('='))),
        with("/key/0/status", json!(1)),
        with("/key/0/outputPrefixType", json!(1)),
        with("/key/0/keyData/keyMaterialType", json!("1")),
        snake,
        gone(json!({"keyId": 103, "status": "DESTROYED", "outputPrefixType": "TINK"})),
        gone(json!({"keyId": 103, "status": 3, "keyData": {"typeUrl": "x", "keyMaterialType": "SYMMETRIC"}})),
        gone(json!({"keyId": 103, "status": "DESTROYED", "keyData": null})),
    ];
    for case in cases {
        let keys = import(&case).map_err(|e| format!("{e}: {case}")).unwrap();
        assert_eq!(keys.len(), 1, "{case}");
        assert_eq!(as_keyset(keys).decrypt(&cell, ROW).as_deref().map(|v| &v[..]), Ok(&b"a value"[..]), "{case}");
    }
}
