//! What is asked and answered. Nothing here has a `Debug`: it would show values.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::bytes::{self, Base64};

/// Values to encrypt
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with values")]
#[schema(example = json!({
    "values": [{"plaintext": "aGVsbG8=", "associated_data": "bWVzc2FnZXMuZW5jcnlwdGVkX2NvbnRlbnQ6NDI="}]
}))]
pub(super) struct EncryptRequest {
    /// Under which keyset's key: `default` unless it is said
    #[schema(example = "default")]
    pub(super) keyset: Option<String>,
    /// What the ciphertexts are: `tink` unless it is said
    #[expect(dead_code, reason = "there is one, and another word is refused")]
    format: Option<CellFormat>,
    /// At most 1,000 unless the server says otherwise
    pub(super) values: Vec<PlaintextValue>,
}

/// Values to decrypt
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with values")]
#[schema(example = json!({
    "values": [{
        "ciphertext": "AVvSK0B/wBRLyuRhCcQU7yU37XUbzy9DS49dBIkUgMeSL/mtJX5I6gX6aCDQHY1nERc=",
        "associated_data": "dXNlcnN8ZW1haWx8MQ=="
    }]
}))]
pub(super) struct DecryptRequest {
    /// Of which keyset: `default` unless it is said
    #[schema(example = "default")]
    pub(super) keyset: Option<String>,
    /// What the ciphertexts are: `tink` unless it is said
    #[expect(dead_code, reason = "there is one, and another word is refused")]
    format: Option<CellFormat>,
    /// At most 1,000 unless the server says otherwise
    pub(super) values: Vec<CiphertextValue>,
}

/// Values to re-encrypt
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with values")]
#[schema(example = json!({
    "from_key_id": 1_540_500_288,
    "values": [{
        "ciphertext": "AVvSK0B/wBRLyuRhCcQU7yU37XUbzy9DS49dBIkUgMeSL/mtJX5I6gX6aCDQHY1nERc=",
        "associated_data": "dXNlcnN8ZW1haWx8MQ=="
    }]
}))]
pub(super) struct ReencryptRequest {
    /// Of which keyset: `default` unless it is said
    #[schema(example = "default")]
    pub(super) keyset: Option<String>,
    /// What the ciphertexts are: `tink` unless it is said
    #[expect(dead_code, reason = "there is one, and another word is refused")]
    format: Option<CellFormat>,
    /// Only values under this key; otherwise whichever key a value's header names
    #[schema(format = Int64, maximum = 4_294_967_295_u32, example = 1_540_500_288)]
    #[serde(default, deserialize_with = "reseal_http::whole")]
    pub(super) from_key_id: Option<u32>,
    /// The call is refused unless this is the active key, which is the target in any case
    #[schema(format = Int64, maximum = 4_294_967_295_u32, example = 2_718_281_828_u32)]
    #[serde(default, deserialize_with = "reseal_http::whole")]
    pub(super) to_key_id: Option<u32>,
    /// At most 1,000 unless the server says otherwise
    pub(super) values: Vec<CiphertextValue>,
}

/// The byte layout of ciphertexts
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum CellFormat {
    /// Tink's AEAD bytes with the prefix TINK
    Tink,
}

/// A value, and what it is to be bound to
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with a plaintext")]
pub(super) struct PlaintextValue {
    /// At most 65,536 bytes, in base64 with padding
    pub(super) plaintext: Base64,
    /// What it is bound to, in base64 with padding; the same is needed to decrypt it. Left out: it is bound to nothing
    #[serde(default, deserialize_with = "bytes::given")]
    #[schema(required = false, nullable = false)]
    pub(super) associated_data: Option<Base64>,
}

/// A ciphertext, and what it is bound to
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with a ciphertext")]
pub(super) struct CiphertextValue {
    /// As it was stored, in base64 with padding. A text: what is none fails alone, since it may have been damaged
    /// where it was kept
    #[schema(
        format = Byte,
        example = "AVvSK0B/wBRLyuRhCcQU7yU37XUbzy9DS49dBIkUgMeSL/mtJX5I6gX6aCDQHY1nERc="
    )]
    pub(super) ciphertext: String,
    /// What it is bound to, in base64 with padding. Left out: it is bound to nothing
    #[serde(default, deserialize_with = "bytes::given")]
    #[schema(required = false, nullable = false)]
    pub(super) associated_data: Option<Base64>,
}

/// What became of values to encrypt
#[derive(Serialize, ToSchema)]
pub(super) struct EncryptAnswer {
    /// The key that encrypted
    #[schema(format = Int64, maximum = 4_294_967_295_u32, example = 2_718_281_828_u32)]
    pub(super) key_id: u32,
    /// One for each value, in the order of the request
    pub(super) results: Vec<Encrypted>,
}

/// What became of values to decrypt
#[derive(Serialize, ToSchema)]
pub(super) struct DecryptAnswer {
    /// One for each value, in the order of the request
    pub(super) results: Vec<Decrypted>,
}

/// What became of values to re-encrypt
#[derive(Serialize, ToSchema)]
pub(super) struct ReencryptAnswer {
    /// The key that every result without an error is under
    #[schema(format = Int64, maximum = 4_294_967_295_u32, example = 2_718_281_828_u32)]
    pub(super) key_id: u32,
    /// One for each value, in the order of the request
    pub(super) results: Vec<Reencrypted>,
}

/// A ciphertext or an error
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Encrypted {
    /// It was encrypted
    Done {
        /// In base64 with padding
        #[schema(format = Byte)]
        ciphertext: String,
    },
    /// It was not
    Refused {
        /// Why
        error: ValueError,
    },
}

/// A plaintext or an error
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Decrypted {
    /// It was decrypted
    Done {
        /// In base64 with padding
        plaintext: Base64,
    },
    /// It was not
    Refused {
        /// Why
        error: ValueError,
    },
}

/// A ciphertext or an error
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Reencrypted {
    /// It is under the key that the answer names
    Done {
        /// In base64 with padding
        #[schema(format = Byte)]
        ciphertext: String,
        /// It was before, and comes back as it is
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        #[schema(required = false)]
        unchanged: bool,
    },
    /// It is not
    Refused {
        /// Why
        error: ValueError,
    },
}

/// Why one value was refused
#[derive(Clone, Copy, Serialize, ToSchema)]
#[schema(example = json!({
    "code": "decryption_failed",
    "detail": "the value does not decrypt with this associated data and this keyset: compare both with what encrypted it"
}))]
pub(super) struct ValueError {
    /// Stable: `decryption_failed`, `key_suspended`, `under_another_key`, `not_base64`, `value_too_large`,
    /// `associated_data_too_large`, `keyset_unavailable`, `not_round_trip`
    pub(super) code: &'static str,
    /// What happened, then what to do
    pub(super) detail: &'static str,
}
