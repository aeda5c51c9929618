//! A problem as an answer, with the headers that belong to it.

use crate::Problem;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let said = |name: &str| match self.extensions.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(n)) => Some(n.to_string()),
            _ => None,
        };
        let headers = [
            (header::CONTENT_TYPE, Some("application/problem+json".to_owned())),
            (header::WWW_AUTHENTICATE, (self.status == 401).then(|| "Bearer realm=\"reseal\"".to_owned())),
            (header::ALLOW, said("allow")),
            (header::RETRY_AFTER, said("retry_after")),
        ];
        let mut response = (status, serde_json::to_vec(&self).unwrap_or_default()).into_response();
        for (name, value) in headers {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_back_stands_in_the_header_and_in_the_body() {
        let response = Problem::new(503, "too_busy", "try again").with("retry_after", 1).into_response();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::RETRY_AFTER]),
            (503, &HeaderValue::from_static("1"))
        );
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let refused = Problem::new(401, "token_missing", "send one").into_response();
        assert!(refused.headers().contains_key(header::WWW_AUTHENTICATE));
    }
}
