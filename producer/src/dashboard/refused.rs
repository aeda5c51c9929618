//! A refusal, as a page.

use askama::Template;
use axum::{
    http::{StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Response},
};
use reseal_http::Problem;

#[derive(Template)]
#[template(path = "refused.html")]
struct Page<'a> {
    title: &'a str,
    detail: &'a str,
}

/// The page that says why a page route did not do what was asked for, with the headers that belong to the problem.
pub(crate) fn refused(_asked: &Parts, problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let title = status.canonical_reason().unwrap_or("Refused");
    let page = Page { title, detail: problem.detail.as_str() };
    let page = match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(_) => status.into_response(),
    };
    with_headers_of(problem, page)
}

/// Which methods there are, and when to come back.
pub(super) fn with_headers_of(problem: Problem, mut page: Response) -> Response {
    let plain = problem.into_response();
    for name in [header::ALLOW, header::RETRY_AFTER] {
        if let Some(value) = plain.headers().get(&name) {
            page.headers_mut().insert(name, value.clone());
        }
    }
    page
}
