//! `Idempotency-Key`: the same key with the same request gives the first answer again.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use reseal_http::Problem;
use utoipa::IntoParams;

const NAME: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The header, for the description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "headers are read by their name")]
pub(super) struct IdempotencyKey {
    /// The same key with the same request gives the first answer again; with another one, `409 idempotency_key_reused`.
    #[param(rename = "Idempotency-Key", pattern = "^[!-~]{1,128}$")]
    key: Option<String>,
}

/// The header, when it is one that the ledger can hold.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get(NAME) else { return Ok(None) };
    let visible = |key: &&str| (1..=128).contains(&key.len()) && key.chars().all(|c| c.is_ascii_graphic());
    let key = key.to_str().ok().filter(visible);
    let key = key.ok_or_else(|| Problem::invalid("Idempotency-Key", "not 1 to 128 visible ASCII characters"))?;
    Ok(Some(key.to_owned()))
}

/// Says that an answer was given before.
pub(super) fn mark_replayed(headers: &mut HeaderMap) {
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
}
