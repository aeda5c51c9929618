//! What is presented: an id and a secret, made of random bytes, kept as a hash, compared in constant time.

use super::LedgerError;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Longer than anything that is presented: what is longer is not even hashed.
const LENGTH_MAX: usize = 128;

/// So many random bytes, hexadecimal.
pub(super) fn random<const BYTES: usize>() -> Result<String, LedgerError> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes).map_err(|e| {
        LedgerError::refused("no_randomness", format!("the operating system gave no random bytes: {e}"))
    })?;
    Ok(hex::encode(bytes))
}

/// What is kept of a secret. Of 256 random bits nothing slower is needed.
pub(super) fn hash_of(secret: &str) -> String {
    hex::encode(Sha256::digest(secret))
}

/// Whether `secret` is the one whose hash is kept. How nearly right it is takes no other time; with none kept, something is
/// compared all the same, and does not fit.
pub(super) fn fits(secret: &str, kept: Option<&str>) -> bool {
    let nobody = "0".repeat(64);
    let equal = hash_of(secret).as_bytes().ct_eq(kept.unwrap_or(&nobody).as_bytes());
    bool::from(equal) && kept.is_some()
}

/// Id and secret of what looks like `PREFIX ID _ SECRET`.
pub(super) fn parts<'a>(prefix: &str, presented: &'a str) -> Option<(i64, &'a str)> {
    let (id, secret) = presented.strip_prefix(prefix)?.split_once('_')?;
    let number: i64 = id.parse().ok()?;
    // One way to write each, or one could be presented under many names.
    (presented.len() <= LENGTH_MAX && number.to_string() == id).then_some((number, secret))
}
