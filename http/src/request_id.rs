//! Every request has an id: the client's, or a new one. It comes back in `x-request-id`, and stands in the log and in
//! the audit.

use crate::Problem;
use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderName, HeaderValue, request::Parts},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;

const NAME: HeaderName = HeaderName::from_static("x-request-id");
const LENGTH_MAX: usize = 64;

/// The id of this request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub String);

/// Gives the request its id. A client's is taken when it is at most 64 letters, digits, `-`, `_` or `.`: it is
/// written into the log as it is.
pub async fn with_request_id(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(NAME).and_then(|id| id.to_str().ok()).filter(|id| is_plain(id));
    let id = given.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(NAME, value);
    }
    response
}

fn is_plain(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=LENGTH_MAX).contains(&id.len()) && id.chars().all(plain)
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let id = parts.extensions.get::<Self>().cloned();
        id.ok_or_else(|| Problem::new(500, "internal", "the request has no id"))
    }
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn a_clients_id_cannot_break_a_line_of_the_log() {
        assert!(is_plain("9f-a_B.0"));
        for wrong in ["", "a b", "a\nb", "ä", &"a".repeat(65)] {
            assert!(!is_plain(wrong), "{wrong:?}");
        }
    }
}
