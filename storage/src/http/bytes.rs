//! Bytes in JSON: base64 with the standard alphabet and padding (RFC 4648, section 4), exactly

use std::fmt;

use base64::{Engine, decoded_len_estimate, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// Bytes in base64 with padding (RFC 4648, section 4)
// Decoded straight out of the body, into a buffer that wipes itself. The pattern is exact: the last character before
// the padding has no bits to spare.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    format = Byte,
    pattern = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$",
    example = "aGVsbG8="
)]
pub(super) struct Base64(pub(super) Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl de::Visitor<'_> for Text {
            type Value = Base64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            // The decoder's own error quotes a byte.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Base64, E> {
                let mut bytes = Zeroizing::new(Vec::with_capacity(decoded_len_estimate(text.len())));
                let not_base64 = |_| E::custom("not base64 with the standard alphabet and padding");
                STANDARD.decode_vec(text, &mut bytes).map_err(not_base64)?;
                Ok(Base64(bytes))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&self.0)))
    }
}

/// Refuses null: a client whose variable is empty would bind its values to nothing, and hear of it never.
pub(super) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Base64>, D::Error> {
    Base64::deserialize(deserializer).map(Some)
}

/// A ciphertext's bytes; `None` when it is none.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(super) fn encode(cell: Vec<u8>) -> String {
    STANDARD.encode(cell)
}

/// Characters that so many bytes take.
pub(super) fn encoded_len(bytes: usize) -> usize {
    bytes.div_ceil(3).saturating_mul(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_is_decoded_in_a_buffer_that_never_grew_and_comes_back_exactly() {
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length).collect();
            let json = serde_json::to_string(&encode(bytes.clone())).unwrap();
            let read: Base64 = serde_json::from_str(&json).unwrap();
            assert_eq!(*read.0, bytes);
            assert!(read.0.capacity() <= decoded_len_estimate(json.len() - 2), "it moved, and left its bytes behind");
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
            assert_eq!(encoded_len(bytes.len()), json.len() - 2);
        }
    }

    #[test]
    fn whatever_is_not_exactly_base64_is_refused_and_not_quoted() {
        for wrong in ["YQ", "YQ=", "YR==", "Y Q=", "_-8=", "YQ==\\n", "ä"] {
            let refused = serde_json::from_str::<Base64>(&format!("\"{wrong}\"")).err().expect(wrong).to_string();
            assert!(refused.starts_with("not base64 with the standard alphabet and padding"), "{refused}");
            assert!(decode(wrong).is_none());
        }
    }
}
