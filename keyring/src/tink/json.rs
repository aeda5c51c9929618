//! Keysets in protobuf's JSON

use std::fmt::Write;

use base64::{
    Engine, alphabet,
    engine::{
        GeneralPurpose,
        general_purpose::{NO_PAD, STANDARD},
    },
};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::{
    TinkError,
    key::{self, MATERIALS, PREFIXES, STATUSES, TYPE_PREFIX, TinkKey, TinkKeyset},
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
        key_id: key.key_id.unwrap_or(KeyId(0)),
        prefix: key.output_prefix_type,
    });
    Ok(TinkKeyset { primary: keyset.primary_key_id, keys: keys.collect() })
}

pub(super) fn read_encrypted(json: &[u8]) -> Result<Vec<u8>, TinkError> {
    let keyset = parse(json)?;
    match keyset.encrypted_keyset {
        None if keyset.key.is_empty() => Err(TinkError::NoCiphertext),
        None => Err(TinkError::NotEncrypted),
        Some(text) => decode(&text).map(|bytes| bytes.to_vec()).ok_or(TinkError::NoCiphertext),
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

/// Either alphabet, with padding or without: protobuf's JSON parsers take all of them.
fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let standard = |byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => byte,
    };
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(text.trim_end_matches('=').bytes().map(standard).collect());
    // Room for the decoder's estimate: a vector that grows leaves the key behind.
    let mut value = Zeroizing::new(Vec::with_capacity(text.len() + 4));
    LENIENT.decode_vec(&text[..], &mut value).ok()?;
    Some(value)
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

// Protobuf's JSON mapping: names in camel case or as the schema writes them, null for what is not set.
#[derive(Deserialize)]
struct JsonKeyset {
    #[serde(default, alias = "primaryKeyId", deserialize_with = "maybe_id")]
    primary_key_id: Option<KeyId>,
    #[serde(default, deserialize_with = "or_default")]
    key: Vec<JsonKey>,
    #[serde(alias = "encryptedKeyset")]
    encrypted_keyset: Option<String>,
}

#[derive(Deserialize)]
struct JsonKey {
    #[serde(default, alias = "keyData", deserialize_with = "or_default")]
    key_data: JsonKeyData,
    #[serde(default, deserialize_with = "status")]
    status: String,
    #[serde(default, alias = "keyId", deserialize_with = "maybe_id")]
    key_id: Option<KeyId>,
    #[serde(default, alias = "outputPrefixType", deserialize_with = "prefix")]
    output_prefix_type: String,
}

// A destroyed key has none, or one without its value.
#[derive(Deserialize, Default)]
struct JsonKeyData {
    #[serde(default, alias = "typeUrl", deserialize_with = "or_default")]
    type_url: String,
    #[serde(default, deserialize_with = "secret")]
    value: Zeroizing<String>,
    #[serde(default, alias = "keyMaterialType", deserialize_with = "material")]
    key_material_type: String,
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    or_default(from).map(Zeroizing::new)
}

// Protobuf's JSON mapping allows both for a number and for an enum.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u32),
    Text(String),
}

fn maybe_id<'de, D: Deserializer<'de>>(from: D) -> Result<Option<KeyId>, D::Error> {
    match Option::deserialize(from)? {
        None => Ok(None),
        Some(Number::Number(id)) => Ok(Some(KeyId(id))),
        Some(Number::Text(text)) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

fn status<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    word(from, STATUSES)
}

fn prefix<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    word(from, PREFIXES)
}

fn material<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    word(from, MATERIALS)
}

fn word<'de, D: Deserializer<'de>>(from: D, words: &[&str]) -> Result<String, D::Error> {
    Ok(match Option::deserialize(from)? {
        None => key::word(0, words),
        Some(Number::Number(number)) => key::word(number, words),
        Some(Number::Text(text)) => match text.parse() {
            Ok(number) => key::word(number, words),
            Err(_) => text,
        },
    })
}
