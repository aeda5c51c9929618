//! A refusal, as a page.

use askama::Template;
use axum::{
    http::{StatusCode, request::Parts},
    response::{Html, IntoResponse, Response},
};
use reseal_http::Problem;

#[derive(Template)]
#[template(path = "refused.html")]
struct Page<'a> {
    title: &'a str,
    detail: &'a str,
}

/// The page that says why a page route did not do what was asked for.
pub(crate) fn refused(_asked: &Parts, problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let title = status.canonical_reason().unwrap_or("Refused");
    let page = Page { title, detail: problem.detail.as_str() };
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(_) => status.into_response(),
    }
}
