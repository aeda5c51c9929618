//! What a request brings, or a problem that names what is wrong with it.

use crate::Problem;
use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, Request,
        rejection::{BytesRejection, RawFormRejection},
    },
    http::{header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_path_to_error::{Path as Where, Segment};

/// A JSON body in, or a JSON answer. JSON that nests deeper than 128 is refused.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

/// A JSON body as it arrived, to be parsed where that holds nobody up: a large one takes milliseconds.
pub struct JsonBody(pub Bytes);

/// What an HTML form sends.
#[derive(Clone, Copy, Debug)]
pub struct Form<T>(pub T);

/// Parameters of the query string.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

/// Parameters of the path.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        JsonBody::from_request(request, state).await?.parse().map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok())) {
            let detail = "the body is not declared as JSON: send content-type: application/json, and {} where there is nothing to say";
            return Err(Problem::new(415, "unsupported_media_type", detail));
        }
        Bytes::from_request(request, state).await.map(Self).map_err(|e| unreadable(&e))
    }
}

impl JsonBody {
    /// What it says. JSON that nests deeper than 128 is refused.
    #[expect(clippy::result_large_err, reason = "a problem is made once, and answered")]
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        // Serde would take a list for an object, by the order of its fields; and no database takes a NUL into a text.
        if self.0.trim_ascii_start().starts_with(b"[") {
            return Err(Problem::invalid("", "not an object"));
        }
        if has_nul(&self.0) {
            return Err(Problem::invalid("", "a text in it holds a NUL character"));
        }
        let mut json = serde_json::Deserializer::from_slice(&self.0);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|e| {
            let at = pointer(e.path());
            wrong(&at, e.inner())
        })?;
        json.end().map_err(|e| wrong("", &e))?;
        Ok(value)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let form = axum::extract::RawForm::from_request(request, state).await.map_err(|e| match e {
            RawFormRejection::BytesRejection(e) => unreadable(&e),
            e => Problem::new(415, "unsupported_media_type", e.body_text()),
        })?;
        if form.0.contains(&0) || form.0.windows(3).any(|window| window == b"%00") {
            return Err(Problem::invalid("form", "a text in it holds a NUL character"));
        }
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(&form.0));
        serde_path_to_error::deserialize(pairs).map(Self).map_err(|e| {
            let at = e.path().to_string();
            Problem::invalid(at, e.into_inner().to_string())
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(Problem::invalid("query", "a text in it holds a NUL character"));
        }
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query.map(|q| Self(q.0)).map_err(|e| {
            let text = e.body_text();
            let said = text.rsplit_once("query string: ").map_or(text.as_str(), |(_, said)| said);
            let (name, detail) = said.split_once(": ").unwrap_or(("query", said));
            Problem::invalid(name, detail)
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if parts.uri.path().contains("%00") {
            return Err(Problem::invalid("path", "a text in it holds a NUL character"));
        }
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|p| Self(p.0)).map_err(|e| Problem::invalid("path", e.body_text()))
    }
}

/// An escaped NUL: its backslash is not itself escaped.
fn has_nul(json: &[u8]) -> bool {
    let escape = |at: usize| json[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
    json.windows(5).enumerate().any(|(at, window)| window == b"u0000" && escape(at))
}

fn is_json(content_type: Option<&str>) -> bool {
    let essence = content_type.and_then(|kind| kind.split(';').next()).map(str::trim).unwrap_or_default();
    essence.eq_ignore_ascii_case("application/json")
}

fn unreadable(rejection: &BytesRejection) -> Problem {
    match rejection.status().as_u16() {
        413 => Problem::new(413, "body_too_large", "the body is larger than this route takes: send less at a time"),
        _ => Problem::new(400, "body_unreadable", "the body did not arrive whole"),
    }
}

/// Only what serde says of the shape, never the value.
fn wrong(at: &str, error: &serde_json::Error) -> Problem {
    if error.is_data() {
        let text = error.to_string();
        let said = text.rsplit_once(" at line ").map_or(text.as_str(), |(said, _)| said);
        return Problem::invalid(at, without_the_value(said));
    }
    let detail = format!("the body is not JSON (line {}, column {})", error.line(), error.column());
    Problem::new(400, "malformed_json", detail)
}

/// serde quotes what it found in the place of something else, and that may be a secret.
fn without_the_value(said: &str) -> String {
    let quoted = said.starts_with("invalid type: ") || said.starts_with("invalid value: ");
    match (said.find(['"', '`']), said.rsplit_once(", expected ")) {
        (Some(value), Some((_, expected))) if quoted => format!("{}, expected {expected}", said[..value].trim_end()),
        _ => said.to_owned(),
    }
}

fn pointer(path: &Where) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer += &format!("/{index}"),
            Segment::Map { key } => pointer += &format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: DeserializeOwned + std::fmt::Debug>(body: &'static str) -> Problem {
        JsonBody(Bytes::from_static(body.as_bytes())).parse::<T>().expect_err(body)
    }

    #[test]
    fn a_value_in_the_wrong_place_is_named_by_its_place_and_never_quoted() {
        type Lists = std::collections::BTreeMap<String, Vec<u32>>;
        let problem = refused::<Lists>(r#"{"a": [1, "a \", expected b"]}"#);
        assert_eq!(problem.detail, "/a/1: invalid type: string, expected u32");
        assert_eq!(problem.errors[0].pointer, "/a/1");
        assert_eq!(refused::<String>("4711").detail, ": invalid type: integer, expected a string");
        assert_eq!(refused::<u8>("4711").detail, ": invalid value: integer, expected u8");
        assert_eq!(refused::<u8>("{}").detail, ": invalid type: map, expected u8");
    }

    #[test]
    fn a_list_is_no_object_and_a_nul_is_no_text() {
        assert_eq!(refused::<Vec<u8>>(" [1]").detail, ": not an object");
        assert_eq!(refused::<String>(r#""a\u0000b""#).detail, ": a text in it holds a NUL character");
        let escaped = JsonBody(Bytes::from_static(br#""\\u0000""#)).parse::<String>();
        assert_eq!(escaped.expect("a backslash, and no NUL"), r"\u0000");
    }
}
