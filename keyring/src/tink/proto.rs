//! The two fields of `google.crypto.tink.AesGcmKey`
//!
//! ```proto
//! message AesGcmKey { uint32 version = 1; bytes key_value = 3; }
//! ```

use zeroize::Zeroizing;

const VERSION_TAG: u8 = 1 << 3;
const KEY_VALUE_TAG: u8 = (3 << 3) | 2;

/// The key value of a version 0 key; `None` for whatever this cannot be sure of:
/// unknown, repeated or out-of-place fields, another version, bytes left over
pub(super) fn decode(mut bytes: &[u8]) -> Option<&[u8]> {
    if let [VERSION_TAG, version, rest @ ..] = bytes {
        if *version != 0 {
            return None;
        }
        bytes = rest;
    }
    // A length above 127 takes two bytes; no AES key is that long.
    match bytes {
        [KEY_VALUE_TAG, length, value @ ..] if *length < 128 => (value.len() == usize::from(*length)).then_some(value),
        _ => None,
    }
}

pub(super) fn encode(key: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(2 + key.len()));
    out.extend([KEY_VALUE_TAG, u8::try_from(key.len()).expect("a DEK has 16 or 32 bytes")]);
    out.extend_from_slice(key);
    out
}
