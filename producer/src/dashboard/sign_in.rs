//! Signing in with a token, and out again.

use super::{
    assets,
    frame::{self, Frame},
    refused::{refused, with_headers_of},
};
use crate::http::{App, Caller, local, sign_in, sign_out};
use askama::Template;
use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use reseal_http::{Form, Problem};
use serde::Deserialize;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/sign-in", get(show).post(enter)).route("/sign-out", post(leave))
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page<'a> {
    frame: Frame,
    /// Where to go on.
    next: &'a str,
    /// Why it did not work.
    error: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Next {
    next: String,
}

// Without Debug: the token has no business in a log.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    token: String,
    next: String,
}

/// Whatever stands in the address: who is here wants to sign in.
async fn show(next: Result<Query<Next>, QueryRejection>) -> Response {
    let Next { next } = next.map(|query| query.0).unwrap_or_default();
    page(&next, None)
}

async fn enter(State(app): State<App>, head: Parts, Form(fields): Form<Fields>) -> Response {
    match sign_in(&app, &head, fields.token.trim()).await {
        Ok(cookie) => to(local(&fields.next).unwrap_or("/"), Some(cookie)),
        Err(problem) => page(&fields.next, Some(problem)),
    }
}

async fn leave(State(app): State<App>, head: Parts, caller: Caller) -> Response {
    match sign_out(&app, &caller).await {
        Ok(()) => to("/sign-in", app.settings().clear_cookie()),
        Err(problem) => refused(&head, problem),
    }
}

fn to(page: &str, cookie: Option<HeaderValue>) -> Response {
    let mut response = Redirect::to(page).into_response();
    response.headers_mut().extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

/// The page as it is first, or with what went wrong. The token is never in it.
fn page(next: &str, problem: Option<Problem>) -> Response {
    let error = problem.as_ref().map(|problem| sentence(&problem.detail));
    let page = Page { frame: Frame::default(), next: local(next).unwrap_or("/"), error };
    let page = frame::page(&page, problem.as_ref());
    match problem {
        Some(problem) => with_headers_of(&problem, page),
        None => page,
    }
}

/// What a problem says, as it stands on a page.
fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).chain(['.']).collect())
}
