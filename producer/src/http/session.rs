//! Who asks with a cookie: every page. Opened with a token, closed by signing out.

use super::{
    App,
    auth::{Caller, forbidden, unauthorized},
    bearer,
    local::sign_in_for,
    problem::problem,
};
use crate::dashboard;
use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use reseal_entities::{
    ledger::{
        LedgerError,
        sessions::{self, Refusal},
        tokens,
    },
    tokens::Right,
};
use reseal_http::Problem;

const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
const HX_CURRENT_URL: HeaderName = HeaderName::from_static("hx-current-url");
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");

/// By the cookie in the request's head.
pub(super) async fn authenticate(app: &App, head: &Parts) -> Result<Caller, Problem> {
    let presented = app.settings().presented(&head.headers);
    let presented = presented.ok_or_else(|| unauthorized("session_missing", "you are not signed in: sign in first"))?;
    let (guard, from) = (app.guard(), bearer::from(head));
    guard.guesses.admit(from, presented)?;
    let (session, token) = match sessions::authenticate(app.ledger().db(), presented).await.map_err(problem)? {
        Ok(known) => known,
        Err(refusal) => {
            // Only a secret that was never right is a guess: a session that is over is nobody's fault.
            if refusal == Refusal::Unknown {
                guard.guesses.failed(from);
            }
            return Err(unauthorized("session_ended", "your session is over: sign in again"));
        }
    };
    guard.guesses.succeeded(from, presented);
    guard.admit(token.id, token.requests_per_second)?;
    let noted = async {
        // What an open page asks by itself is nobody's use: it would keep a session alive that nobody sits at.
        if !head.headers.contains_key(HX_REQUEST) && head.uri.path() != "/live" {
            sessions::note_use_if_stale(app.ledger().db(), session.id).await?;
        }
        tokens::note_use_if_stale(app.ledger().db(), token.id).await
    };
    if let Err(e) = noted.await {
        tracing::warn!("the use of a session was not noted: {e}");
    }
    Ok(Caller::of(&token, Some(session.id)))
}

/// Opens a session for who presents this token; what the browser shall keep. One that this browser had before is closed.
pub(crate) async fn sign_in(app: &App, head: &Parts, presented: &str) -> Result<HeaderValue, Problem> {
    if presented.is_empty() {
        return Err(unauthorized("token_missing", "no token was given: put yours in"));
    }
    let token = bearer::known(app, bearer::from(head), presented).await?;
    let caller = Caller::of(&token, None);
    if !caller.may(Right::View) {
        return Err(forbidden(&caller, Right::View));
    }
    let opened = async {
        let before = match app.settings().presented(&head.headers) {
            Some(presented) => sessions::authenticate(app.ledger().db(), presented).await?.ok(),
            None => None,
        };
        let txn = app.ledger().begin().await?;
        let opened = sessions::open_instead(&txn, &token, before.map(|(before, _)| before.id)).await?;
        txn.commit().await?;
        Ok::<_, LedgerError>(opened)
    };
    let (session, presented) = opened.await.map_err(problem)?;
    // As good from there as its token: whoever is let in while others guess must not be locked out by their cookie.
    app.guard().guesses.succeeded(bearer::from(head), &presented);
    let seconds = (session.expires_at - session.opened_at) / 1_000;
    let cookie = app.settings().set_cookie(&presented, seconds);
    cookie.ok_or_else(|| Problem::new(500, "internal", "the session has no cookie"))
}

/// Closes the caller's session.
pub(crate) async fn sign_out(app: &App, caller: &Caller) -> Result<(), Problem> {
    let Some(session) = caller.session else { return Ok(()) };
    let closed = async {
        let txn = app.ledger().begin().await?;
        sessions::close_if_open(&txn, session).await?;
        Ok::<_, LedgerError>(txn.commit().await?)
    };
    closed.await.map_err(problem)
}

/// A page that was refused. Who is not signed in is sent to where that is done, unless something was to be changed: then it says so,
/// since what was filled in is lost.
pub(super) fn refused(head: &Parts, problem: Problem) -> Response {
    if problem.status != 401 {
        return dashboard::refused(head, problem);
    }
    let asked = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let is_get = [Method::GET, Method::HEAD].contains(&head.method);
    if head.headers.contains_key(HX_REQUEST) {
        // What htmx asks for may be a part of the page that is seen, which it names.
        let next = shown(&head.headers).or(is_get.then_some(asked)).unwrap_or("/");
        let mut response = StatusCode::UNAUTHORIZED.into_response();
        if let Ok(to) = HeaderValue::from_str(&sign_in_for(next)) {
            response.headers_mut().insert(HX_REDIRECT, to);
        }
        return response;
    }
    match is_get {
        true => Redirect::to(&sign_in_for(asked)).into_response(),
        false => dashboard::refused(head, problem),
    }
}

/// The path of the page that is seen.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let (_, rest) = headers.get(HX_CURRENT_URL)?.to_str().ok()?.split_once("://")?;
    let (_, query) = rest.split_at_checked(rest.find('/')?)?;
    Some(query)
}
