//! Tink's cleartext JSON keysets: keys to and from applications in any language
//!
//! Supported is what writes our cells: AES-256-GCM with the `TINK` output prefix.

mod error;
mod proto;

use std::{collections::HashSet, fmt::Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

pub use error::TinkError;

use crate::{Dek, KeyId, Keyset};

const TYPE_PREFIX: &str = "type.googleapis.com/google.crypto.tink.";
const TYPE: &str = "AesGcmKey";

/// What a keyset says of a key besides its material
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportedKey {
    /// Stands in the cells that applications wrote
    pub key_id: KeyId,
    /// The one that encrypts; exactly one key is
    pub primary: bool,
}

/// All keys of a keyset, in its order, or none of them
///
/// `json` holds keys in the clear: wiping it is the caller's duty. Strings with
/// JSON escapes pass through a buffer of the parser that is not wiped.
///
/// # Errors
///
/// Names the first key that cannot be imported, and why.
pub fn import(json: &str) -> Result<Vec<(ImportedKey, Dek)>, TinkError> {
    let keyset: JsonKeyset =
        serde_json::from_str(json).map_err(|error| TinkError::Json { line: error.line(), column: error.column() })?;
    if keyset.encrypted_keyset.is_some() {
        return Err(TinkError::Encrypted);
    }
    if keyset.key.is_empty() {
        return Err(TinkError::NoKeys);
    }
    let primary = keyset.primary_key_id.ok_or(TinkError::MissingPrimary)?;
    let mut seen = HashSet::new();
    let mut imported = Vec::with_capacity(keyset.key.len());
    for key in &keyset.key {
        if key.key_id == KeyId(0) {
            return Err(TinkError::ZeroKeyId);
        }
        if !seen.insert(key.key_id) {
            return Err(TinkError::DuplicateKeyId(key.key_id));
        }
        let as_imported = ImportedKey { key_id: key.key_id, primary: key.key_id == primary };
        imported.push((as_imported, dek(key)?));
    }
    if !seen.contains(&primary) {
        return Err(TinkError::UnknownPrimary(primary));
    }
    Ok(imported)
}

/// The keyset for applications: the active key is primary, pre_active and
/// deactivated ones decrypt, suspended and destroyed ones stay here
///
/// Anyone with the text can decrypt every cell, and no encryption with it is counted.
#[must_use]
pub fn export(keyset: &Keyset) -> Zeroizing<String> {
    const BYTES_PER_KEY_MAX: usize = 300;
    let keys: Vec<_> = keyset.exportable().collect();
    // The exact room at once: a string that grows leaves keys behind.
    let mut json = Zeroizing::new(String::with_capacity((keys.len() + 1) * BYTES_PER_KEY_MAX));
    let room = json.capacity();
    let active = keyset.active();
    // Writing to a string cannot fail.
    let _ = write!(json, r#"{{"primaryKeyId":{active},"key":["#);
    for (index, (info, dek)) in keys.into_iter().enumerate() {
        let (key_id, value) = (info.key_id, proto::encode(dek.expose_dek_bytes()));
        let value = Zeroizing::new(STANDARD.encode(&value[..]));
        let value = &*value;
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(
            json,
            r#"{comma}{{"keyData":{{"typeUrl":"{TYPE_PREFIX}{TYPE}","value":"{value}","keyMaterialType":"SYMMETRIC"}},"status":"ENABLED","keyId":{key_id},"outputPrefixType":"TINK"}}"#
        );
    }
    json.push_str("]}");
    debug_assert_eq!(json.capacity(), room, "BYTES_PER_KEY_MAX is too small");
    json
}

fn dek(key: &JsonKey) -> Result<Dek, TinkError> {
    let key_id = key.key_id;
    let data = &key.key_data;
    match data.type_url.strip_prefix(TYPE_PREFIX) {
        Some(TYPE) => {}
        other => {
            let name = other.unwrap_or(&data.type_url).to_owned();
            return Err(TinkError::Type { key_id, name });
        }
    }
    if data.key_material_type != "SYMMETRIC" {
        let found = data.key_material_type.clone();
        return Err(TinkError::Material { key_id, found });
    }
    if key.output_prefix_type != "TINK" {
        let found = key.output_prefix_type.clone();
        return Err(TinkError::Prefix { key_id, found });
    }
    if key.status != "ENABLED" {
        let found = key.status.clone();
        return Err(TinkError::Status { key_id, found });
    }
    // Room for the decoder's estimate: a vector that grows leaves the key behind.
    let mut value = Zeroizing::new(Vec::with_capacity(data.value.len()));
    STANDARD.decode_vec(data.value.as_bytes(), &mut value).map_err(|_| TinkError::Value { key_id })?;
    let bytes = proto::decode(&value).ok_or(TinkError::Value { key_id })?;
    match bytes.len() {
        32 => Dek::from_slice(bytes).map_err(|wrong| TinkError::KeyLength { key_id, bits: wrong.0 * 8 }),
        other => Err(TinkError::KeyLength { key_id, bits: other * 8 }),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonKeyset {
    #[serde(default, deserialize_with = "maybe_id")]
    primary_key_id: Option<KeyId>,
    #[serde(default)]
    key: Vec<JsonKey>,
    encrypted_keyset: Option<serde::de::IgnoredAny>,
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
