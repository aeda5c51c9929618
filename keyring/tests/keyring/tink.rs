use reseal_keyring::{KeyId, KeyInfo, KeyState, Keyset, TinkError, tink};
use serde_json::{Value, json};

use super::{ROW, dek, keyset, vectors};

const NATIVE: &str = "AES256_GCM";

fn cases() -> Vec<Value> {
    let file = super::json(&vectors("tink.json"));
    file["vectors"].as_array().unwrap().clone()
}

fn native_keyset() -> Value {
    let mut cases = cases().into_iter();
    cases.find(|case| case["template"] == NATIVE).unwrap()["keyset_json"].clone()
}

fn refused(keyset: &Value) -> TinkError {
    tink::import(&keyset.to_string()).map(|_| ()).unwrap_err()
}

fn imported(json: &str) -> Keyset {
    let keys = tink::import(json).unwrap().into_iter();
    let keys = (1..).zip(keys).map(|(version, (key, dek))| {
        let state = if key.primary { KeyState::Active } else { KeyState::Deactivated };
        let key_id = key.key_id;
        (KeyInfo::native(key_id, version, state), Some(dek))
    });
    Keyset::new("imported", keys.collect()).unwrap()
}

#[test]
fn cells_that_tink_wrote_decrypt() {
    let mut decrypted = 0;
    for case in cases().iter().filter(|case| case["template"] == NATIVE) {
        let keyset = imported(&case["keyset_json"].to_string());
        let cell = hex::decode(case["ciphertext_hex"].as_str().unwrap()).unwrap();
        let data = case["aad"].as_str().unwrap().as_bytes();

        let plaintext = keyset.decrypt(&cell, data).unwrap();

        assert_eq!(plaintext[..], *case["plaintext"].as_str().unwrap().as_bytes());
        decrypted += 1;
    }
    assert!(decrypted >= 1);
}

#[test]
fn every_other_template_is_refused_by_its_name() {
    let mut codes = Vec::new();
    for case in cases().iter().filter(|case| case["template"] != NATIVE) {
        let error = refused(&case["keyset_json"]);
        let key = &case["keyset_json"]["key"][0];
        let name = key["keyData"]["typeUrl"].as_str().unwrap();
        let name = name.rsplit('.').next().unwrap();
        let text = error.to_string();
        assert!(text.contains(name), "{text}");
        assert!(text.contains(&key["keyId"].to_string()), "{text}");
        codes.push((case["template"].as_str().unwrap().to_owned(), error.code()));
    }
    for (template, code) in &codes {
        let expected = match template.as_str() {
            "AES128_GCM" => "tink_key_length",
            "AES256_GCM_RAW" => "tink_prefix",
            _ => "tink_type",
        };
        assert_eq!(*code, expected, "{template}");
    }
    assert!(codes.len() >= 7, "{codes:?}");
}

#[test]
fn an_import_keeps_order_ids_and_primary() {
    let mut keyset = native_keyset();
    let mut second = keyset["key"][0].clone();
    // A number as text is protobuf's other spelling.
    second["keyId"] = json!("4294967295");
    keyset["key"].as_array_mut().unwrap().push(second);
    keyset["primaryKeyId"] = json!("4294967295");

    let keys = tink::import(&keyset.to_string()).unwrap();

    let keys: Vec<_> = keys.iter().map(|(key, _)| (key.key_id, key.primary)).collect();
    assert_eq!(keys, [(KeyId(1_540_500_288), false), (KeyId(u32::MAX), true)]);
}

#[test]
fn one_key_that_cannot_be_imported_refuses_the_keyset() {
    let cases = cases();
    let raw = cases.iter().find(|case| case["template"] == "AES256_GCM_RAW").unwrap();
    let mut keyset = native_keyset();
    let bad = raw["keyset_json"]["key"][0].clone();
    keyset["key"].as_array_mut().unwrap().push(bad);
    let key_id = KeyId(1_044_518_537);
    let found = "RAW".to_owned();
    assert_eq!(refused(&keyset), TinkError::Prefix { key_id, found });
}

#[test]
fn what_is_not_supported_is_refused_and_the_key_named() {
    for (pointer, value, expected) in [
        ("/key/0/status", json!("DISABLED"), "tink_status"),
        ("/key/0/status", json!("DESTROYED"), "tink_status"),
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
        let names_key = pointer.starts_with("/key/0") && !pointer.ends_with("keyId");
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
        tink::import(&keyset.to_string()).map(|_| ()).map_err(|error| error.code())
    };
    assert_eq!(with(&[&[0x1A, 32], &key]), Ok(()));
    assert_eq!(with(&[&[0x08, 0, 0x1A, 32], &key]), Ok(()));
    let refused = Err("tink_value");
    assert_eq!(with(&[&[0x08, 1, 0x1A, 32], &key]), refused, "version 1");
    assert_eq!(with(&[&[0x08, 0x80, 0, 0x1A, 32], &key]), refused, "long varint");
    assert_eq!(with(&[&[0x12, 0, 0x1A, 32], &key]), refused, "field 2");
    assert_eq!(with(&[&[0x1A, 32], &key, &[0x20, 1]]), refused, "field 4");
    assert_eq!(with(&[&[0x1A, 32], &key, &[0x1A, 32], &key]), refused, "twice");
    assert_eq!(with(&[&[0x1A, 33], &key]), refused, "too short");
    assert_eq!(with(&[&[0x1A, 16], &key[..16]]), Err("tink_key_length"));
}

#[test]
fn a_broken_keyset_is_refused_without_showing_it() {
    let secret = "c2VjcmV0IGtleSBieXRlcw==";
    for text in [
        format!("{{\"key\": \"{secret}\"}}"),
        format!("{{\"primaryKeyId\": \"{secret}\", \"key\": []}}"),
        secret.to_owned(),
    ] {
        let error = tink::import(&text).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), "tink_json");
        assert!(!format!("{error} {error:?}").contains("c2Vj"));
    }
}

#[test]
fn an_exported_keyset_reads_what_the_keyset_wrote_and_the_other_way_round() {
    let ours = keyset(&[(1, KeyState::Deactivated), (2, KeyState::Active), (3, KeyState::PreActive)]);

    let theirs = imported(&tink::export(&ours));

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
    let json: Value = serde_json::from_str(&tink::export(&keyset)).unwrap();
    assert_eq!(json["primaryKeyId"], 4);
    let ids = json["key"].as_array().unwrap().iter().map(|key| &key["keyId"]);
    assert_eq!(ids.collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn an_export_has_tinks_own_shape() {
    let theirs = native_keyset();
    let keyset = imported(&theirs.to_string());
    let ours: Value = serde_json::from_str(&tink::export(&keyset)).unwrap();
    assert_eq!(ours, theirs);
}

#[test]
fn the_longest_export_fits_the_room_reserved_for_it() {
    let state = |version| {
        if version == 1 { KeyState::Active } else { KeyState::Deactivated }
    };
    let keys = (1..=50).map(|version| {
        let info = super::info(u32::MAX - version, version, state(version));
        (info, Some(dek(version)))
    });
    let keyset = Keyset::new("default", keys.collect()).unwrap();
    // Grown, it would have left keys behind; a debug assertion in `export` looks.
    assert_eq!(tink::import(&tink::export(&keyset)).unwrap().len(), 50);
}
