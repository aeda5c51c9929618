//! Keysets in binary protobuf
//!
//! ```proto
//! message Keyset { uint32 primary_key_id = 1; repeated Key key = 2; }
//! message Key { KeyData key_data = 1; KeyStatusType status = 2; uint32 key_id = 3; OutputPrefixType output_prefix_type = 4; }
//! message KeyData { string type_url = 1; bytes value = 2; KeyMaterialType key_material_type = 3; }
//! message EncryptedKeyset { bytes encrypted_keyset = 2; KeysetInfo keyset_info = 3; }
//! message KeysetInfo { uint32 primary_key_id = 1; repeated KeyInfo key_info = 2; }
//! message KeyInfo { string type_url = 1; KeyStatusType status = 2; uint32 key_id = 3; OutputPrefixType output_prefix_type = 4; }
//! ```
//!
//! As proto3 demands, unknown fields are passed over and of a repeated singular field the last one
//! counts. Stricter than its parsers: a known field of another wire type and a number beyond 32
//! bits are refused.

use zeroize::Zeroizing;

use super::{
    TinkError,
    key::{self, MATERIALS, PREFIXES, STATUSES, TYPE_LEN_MAX, TYPE_PREFIX, TinkKey, TinkKeyset, VALUE_LEN_MAX},
    wire::{Fields, Malformed, put_bytes, put_number},
};
use crate::{KeyId, Keyset};

const SYMMETRIC: u64 = 1;
const ENABLED: u64 = 1;

/// Two tags and lengths more than type, value and a number
const KEY_DATA_LEN_MAX: usize = TYPE_LEN_MAX + VALUE_LEN_MAX + 16;
const BYTES_PER_KEY_MAX: usize = KEY_DATA_LEN_MAX + 32;

pub(super) fn read(bytes: &[u8]) -> Result<TinkKeyset, TinkError> {
    if looks_encrypted(bytes) {
        return Err(TinkError::Encrypted);
    }
    keyset(bytes).map_err(|Malformed| TinkError::Binary)
}

fn keyset(bytes: &[u8]) -> Result<TinkKeyset, Malformed> {
    let mut keyset = TinkKeyset { primary: None, keys: Vec::new() };
    for field in Fields(bytes) {
        match field? {
            (1, value) => keyset.primary = Some(KeyId(value.number()?)).filter(|id| *id != KeyId(0)),
            (2, value) => keyset.keys.push(key(value.bytes()?)?),
            _ => {}
        }
    }
    Ok(keyset)
}

fn key(bytes: &[u8]) -> Result<TinkKey, Malformed> {
    let (mut status, mut key_id, mut prefix) = (0, 0, 0);
    let mut type_url = String::new();
    let mut material = 0;
    let mut secret = Zeroizing::new(Vec::new());
    for field in Fields(bytes) {
        match field? {
            (1, value) => {
                for field in Fields(value.bytes()?) {
                    match field? {
                        (1, value) => str::from_utf8(value.bytes()?).map_err(|_| Malformed)?.clone_into(&mut type_url),
                        (2, value) => secret = Zeroizing::new(value.bytes()?.to_vec()),
                        (3, value) => material = value.number()?,
                        _ => {}
                    }
                }
            }
            (2, value) => status = value.number()?,
            (3, value) => key_id = value.number()?,
            (4, value) => prefix = value.number()?,
            _ => {}
        }
    }
    Ok(TinkKey {
        type_url,
        value: Some(secret),
        material: key::word(material, MATERIALS),
        status: key::word(status, STATUSES),
        key_id: KeyId(key_id),
        prefix: key::word(prefix, PREFIXES),
    })
}

pub(super) fn read_encrypted(bytes: &[u8]) -> Result<Vec<u8>, TinkError> {
    let mut ciphertext = None;
    for field in Fields(bytes) {
        match field.map_err(|Malformed| TinkError::Binary)? {
            (1, _) => return Err(TinkError::NotEncrypted),
            (2, value) => ciphertext = Some(value.bytes().map_err(|Malformed| TinkError::Binary)?.to_vec()),
            _ => {}
        }
    }
    ciphertext.filter(|bytes| !bytes.is_empty()).ok_or(TinkError::NoCiphertext)
}

/// Ciphertext and information, and no primary key: only an encrypted keyset has these
fn looks_encrypted(bytes: &[u8]) -> bool {
    let fields: Result<Vec<_>, _> = Fields(bytes).map(|field| field.map(|(number, _)| number)).collect();
    fields.is_ok_and(|fields| fields.contains(&2) && fields.contains(&3) && !fields.contains(&1))
}

pub(super) fn write(keyset: &Keyset) -> Zeroizing<Vec<u8>> {
    let keys: Vec<_> = keyset.exportable().collect();
    // The room at once, here and below: a vector that grows leaves keys behind.
    let mut out = Zeroizing::new(Vec::with_capacity((keys.len() + 1) * BYTES_PER_KEY_MAX));
    let room = out.capacity();
    put_number(&mut out, 1, keyset.active().0.into());
    for (info, dek) in keys {
        let mut data = Zeroizing::new(Vec::with_capacity(KEY_DATA_LEN_MAX));
        put_bytes(&mut data, 1, type_url(key::type_name(info)).as_bytes());
        put_bytes(&mut data, 2, &key::value(dek));
        put_number(&mut data, 3, SYMMETRIC);
        let mut key = Zeroizing::new(Vec::with_capacity(BYTES_PER_KEY_MAX));
        put_bytes(&mut key, 1, &data);
        put_number(&mut key, 2, ENABLED);
        put_number(&mut key, 3, info.key_id.0.into());
        put_number(&mut key, 4, key::prefix(info).1);
        put_bytes(&mut out, 2, &key);
        debug_assert!(data.capacity() == KEY_DATA_LEN_MAX && key.capacity() == BYTES_PER_KEY_MAX);
    }
    debug_assert_eq!(out.capacity(), room, "BYTES_PER_KEY_MAX is too small");
    out
}

pub(super) fn write_encrypted(keyset: &Keyset, ciphertext: &[u8]) -> Vec<u8> {
    let mut about = Vec::new();
    put_number(&mut about, 1, keyset.active().0.into());
    for (info, _) in keyset.exportable() {
        let mut key = Vec::new();
        put_bytes(&mut key, 1, type_url(key::type_name(info)).as_bytes());
        put_number(&mut key, 2, ENABLED);
        put_number(&mut key, 3, info.key_id.0.into());
        put_number(&mut key, 4, key::prefix(info).1);
        put_bytes(&mut about, 2, &key);
    }
    let mut out = Vec::new();
    put_bytes(&mut out, 2, ciphertext);
    put_bytes(&mut out, 3, &about);
    out
}

fn type_url(name: &str) -> String {
    format!("{TYPE_PREFIX}{name}")
}
