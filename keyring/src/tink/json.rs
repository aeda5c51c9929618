//! Keysets in protobuf's JSON

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::{
    TinkError,
    key::{self, TYPE_PREFIX, TinkKey, TinkKeyset},
};
use crate::{KeyId, Keyset};

const BYTES_PER_KEY_MAX: usize = 300;

pub(super) fn read(json: &[u8]) -> Result<TinkKeyset, TinkError> {
    let keyset = parse(json)?;
    if keyset.encrypted_keyset.is_some() {
        return Err(TinkError::Encrypted);
    }
    let keys = keyset.key.into_iter().map(|key| TinkKey {
        type_url: key.key_data.type_url,
        value: decode(&key.key_data.value),
        material: key.key_data.key_material_type,
        status: key.status,
        key_id: key.key_id,
        prefix: key.output_prefix_type,
    });
    Ok(TinkKeyset { primary: keyset.primary_key_id, keys: keys.collect() })
}

pub(super) fn read_encrypted(json: &[u8]) -> Result<Vec<u8>, TinkError> {
    let keyset = parse(json)?;
    match keyset.encrypted_keyset {
        None if keyset.key.is_empty() => Err(TinkError::NoCiphertext),
        None => Err(TinkError::NotEncrypted),
        Some(text) => STANDARD.decode(text).map_err(|_| TinkError::NoCiphertext),
    }
}

pub(super) fn write(keyset: &Keyset) -> Zeroizing<Vec<u8>> {
    let keys: Vec<_> = keyset.exportable().collect();
    // The room at once: a string that grows leaves keys behind.
    let mut json = Zeroizing::new(String::with_capacity((keys.len() + 1) * BYTES_PER_KEY_MAX));
    let room = json.capacity();
    let active = keyset.active();
    // Writing to a string cannot fail.
    let _ = write!(json, r#"{{"primaryKeyId":{active},"key":["#);
    for (index, (info, dek)) in keys.into_iter().enumerate() {
        let value = Zeroizing::new(STANDARD.encode(&key::value(dek)[..]));
        let (value, name, (prefix, _)) = (&*value, key::type_name(info), key::prefix(info));
        let (key_id, comma) = (info.key_id, if index == 0 { "" } else { "," });
        let _ = write!(
            json,
            r#"{comma}{{"keyData":{{"typeUrl":"{TYPE_PREFIX}{name}","value":"{value}","keyMaterialType":"SYMMETRIC"}},"status":"ENABLED","keyId":{key_id},"outputPrefixType":"{prefix}"}}"#
        );
    }
    json.push_str("]}");
    debug_assert_eq!(json.capacity(), room, "BYTES_PER_KEY_MAX is too small");
    Zeroizing::new(std::mem::take(&mut *json).into_bytes())
}

pub(super) fn write_encrypted(keyset: &Keyset, ciphertext: &[u8]) -> Vec<u8> {
    let active = keyset.active();
    let mut json = format!(
        r#"{{"encryptedKeyset":"{}","keysetInfo":{{"primaryKeyId":{active},"keyInfo":["#,
        STANDARD.encode(ciphertext)
    );
    for (index, (info, _)) in keyset.exportable().enumerate() {
        let (name, (prefix, _), key_id) = (key::type_name(info), key::prefix(info), info.key_id);
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(
            json,
            r#"{comma}{{"typeUrl":"{TYPE_PREFIX}{name}","status":"ENABLED","keyId":{key_id},"outputPrefixType":"{prefix}"}}"#
        );
    }
    json.push_str("]}}");
    json.into_bytes()
}

fn parse(json: &[u8]) -> Result<JsonKeyset, TinkError> {
    serde_json::from_slice(json).map_err(|error| TinkError::Json { line: error.line(), column: error.column() })
}

fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    // Room for the decoder's estimate: a vector that grows leaves the key behind.
    let mut value = Zeroizing::new(Vec::with_capacity(text.len()));
    STANDARD.decode_vec(text, &mut value).ok()?;
    Some(value)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonKeyset {
    #[serde(default, deserialize_with = "maybe_id")]
    primary_key_id: Option<KeyId>,
    #[serde(default)]
    key: Vec<JsonKey>,
    encrypted_keyset: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonKey {
    key_data: JsonKeyData,
    status: String,
    #[serde(default = "no_id", deserialize_with = "id")]
    key_id: KeyId,
    output_prefix_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonKeyData {
    type_url: String,
    #[serde(deserialize_with = "secret")]
    value: Zeroizing<String>,
    key_material_type: String,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

fn no_id() -> KeyId {
    KeyId(0)
}

// Protobuf's JSON mapping allows both for a uint32.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u32),
    Text(String),
}

fn id<'de, D: Deserializer<'de>>(from: D) -> Result<KeyId, D::Error> {
    match Number::deserialize(from)? {
        Number::Number(id) => Ok(KeyId(id)),
        Number::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

fn maybe_id<'de, D: Deserializer<'de>>(from: D) -> Result<Option<KeyId>, D::Error> {
    id(from).map(Some)
}
