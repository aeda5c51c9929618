//! Who asks with a token: every route of the API, and the page to sign in at.

use super::{
    App,
    auth::{Caller, unauthorized},
    problem::problem,
};
use axum::{
    extract::ConnectInfo,
    http::{HeaderMap, header, request::Parts},
};
use reseal_entities::{
    ledger::{
        LedgerError,
        tokens::{self, Refusal},
    },
    tokens::Model as Token,
};
use reseal_http::Problem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// By the token in the request's head.
pub(super) async fn authenticate(app: &App, head: &Parts) -> Result<Caller, Problem> {
    let presented = bearer(&head.headers).ok_or_else(|| {
        unauthorized("token_missing", "send a token: Authorization: Bearer TOKEN; `reseal token create` makes one")
    })?;
    let token = known(app, from(head), presented).await?;
    Ok(Caller::of(&token, None))
}

/// Whose token it is. Wrong ones count as guesses of that address, right ones as requests of the token.
pub(super) async fn known(app: &App, from: IpAddr, presented: &str) -> Result<Token, Problem> {
    let guard = app.guard();
    guard.guesses.admit(from, presented)?;
    let token = match tokens::authenticate(app.ledger().db(), presented).await.map_err(unasked)? {
        Ok(token) => token,
        Err(refusal) => {
            guard.guesses.failed(from);
            return Err(match refusal {
                Refusal::Unknown => unauthorized("token_unknown", "this token is not one of this installation"),
                Refusal::Revoked => unauthorized("token_revoked", "this token was revoked: ask for a new one"),
                Refusal::Expired => unauthorized("token_expired", "this token has expired: ask for a new one"),
            });
        }
    };
    guard.guesses.succeeded(from, presented);
    guard.admit(token.id, token.requests_per_second)?;
    if let Err(e) = tokens::note_use_if_stale(app.ledger().db(), token.id).await {
        tracing::warn!("the use of a token was not noted: {e}");
    }
    Ok(token)
}

/// A revocation holds at once, so no token is remembered: without the ledger nobody is let in, and nothing is done.
fn unasked(error: LedgerError) -> Problem {
    let mut problem = problem(error);
    if problem.status == 503 {
        let detail =
            "the ledger does not answer, and tokens are looked up there: nothing was done, send the request again";
        problem.detail = detail.to_owned();
    }
    problem
}

/// The address that a request comes from.
pub(super) fn from(head: &Parts) -> IpAddr {
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip())
}

/// The scheme is case-insensitive (RFC 9110).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
