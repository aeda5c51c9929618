//! A refusal, as a page.

use super::{
    assets,
    frame::{Frame, page},
    ticked::ticked,
};
use crate::http::Caller;
use askama::Template;
use axum::{
    body::to_bytes,
    extract::Request,
    http::{HeaderValue, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use reseal_http::Problem;

const PROBLEM_MAX: usize = 64 * 1024;

#[derive(Template)]
#[template(path = "refused.html")]
struct Page<'a> {
    frame: Frame,
    title: &'a str,
    detail: &'a str,
    code: &'a str,
}

/// The page that says why a page route did not do what was asked for.
pub(crate) fn refused(asked: &Parts, problem: Problem) -> Response {
    render(asked.extensions.get::<Caller>(), &problem)
}

fn render(caller: Option<&Caller>, problem: &Problem) -> Response {
    let frame = caller.map(|caller| Frame::new(caller, "", String::new()).still()).unwrap_or_default();
    let title = match problem.status {
        401 => "You are not signed in",
        403 => "You may not do this",
        404 => "There is nothing here",
        503 | 504 => "The ledger does not answer",
        _ => &problem.title,
    };
    let mut response = page(&Page { frame, title, detail: &problem.detail, code: &problem.code }, Some(problem));
    // For the page that was asked for by itself: it says so, and keeps what it shows.
    let said = if problem.status == 503 { "The ledger does not answer." } else { "This page is not there any more." };
    response.headers_mut().insert("reseal-says", HeaderValue::from_static(said));
    with_headers_of(problem, response)
}

/// Which methods there are, and when to come back.
pub(super) fn with_headers_of(problem: &Problem, mut page: Response) -> Response {
    let plain = problem.clone().into_response();
    for name in [header::ALLOW, header::RETRY_AFTER] {
        if let Some(value) = plain.headers().get(&name) {
            page.headers_mut().insert(name, value.clone());
        }
    }
    page
}

/// Turns a problem that a page's function answered with into a page.
pub(crate) async fn as_page(request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().cloned();
    let response = next.run(request).await;
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/problem+json")) {
        return response;
    }
    let (head, body) = response.into_parts();
    let read = to_bytes(body, PROBLEM_MAX).await.ok();
    let problem = read.and_then(|bytes| serde_json::from_slice::<Problem>(&bytes).ok());
    let unknown = || Problem::new(head.status.as_u16(), "internal", "something went wrong: the log says more");
    render(caller.as_ref(), &problem.unwrap_or_else(unknown))
}
