//! Who asks, and whether they may. Before every route.

use super::{
    App,
    problem::problem,
    table::{self, Access},
};
use axum::{
    extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use reseal_entities::{
    ledger::{
        audit,
        tokens::{self, Refusal},
    },
    tokens::{Right, Role},
};
use reseal_http::{Problem, RequestId};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

/// How long a stream that is open may outlive its token.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Who asks: what the audit calls them, and what they may.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// `token NAME`.
    pub(crate) actor: String,
    /// The token.
    pub(super) token_id: i64,
    /// Its role.
    pub(crate) role: Role,
}

/// Lets a request through to its route when its token has the right that the table asks for. What the route then writes into
/// the audit carries the request's id.
pub(super) async fn authorize(State(app): State<App>, request: Request, next: Next) -> Response {
    // Apart, because a body is not to be shared between threads, and the head is looked at across an await.
    let (mut head, body) = request.into_parts();
    match admit(&app, &head).await {
        Ok(caller) => {
            let is_private = caller.is_some();
            if let Some(caller) = caller {
                head.extensions.insert(caller);
            }
            let id = head.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
            let mut response = audit::under_request(id, next.run(Request::from_parts(head, body))).await;
            if is_private {
                response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            }
            response
        }
        Err(refused) => refused.into_response(),
    }
}

async fn admit(app: &App, head: &Parts) -> Result<Option<Caller>, Problem> {
    let route = head.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let Some(access) = table::access(&head.method, route) else {
        let methods = table::methods(route).join(", ");
        return Err(
            Problem::new(405, "method_not_allowed", format!("this route takes {methods}")).with("allow", methods)
        );
    };
    let right = match access {
        Access::Open => return Ok(None),
        Access::Local if app.settings().on_loopback => return Ok(None),
        Access::Local => None,
        Access::Right(right) => Some(right),
    };
    let caller = authenticate(app, head).await?;
    match right {
        Some(right) if !caller.role.may(right) => Err(forbidden(&caller, right)),
        _ => Ok(Some(caller)),
    }
}

async fn authenticate(app: &App, head: &Parts) -> Result<Caller, Problem> {
    let presented = bearer(&head.headers).ok_or_else(|| {
        unauthorized("token_missing", "send a token: Authorization: Bearer TOKEN; `reseal token create` makes one")
    })?;
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
    let from = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let guard = app.guard();
    guard.guesses.admit(from, presented)?;
    let token = match tokens::authenticate(app.ledger().db(), presented).await.map_err(problem)? {
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
    Ok(Caller { token_id: token.id, actor: format!("token {}", token.name), role: token.role })
}

impl App {
    /// Resolves when a token is no longer let in. A ledger that does not answer changes nothing.
    pub(super) async fn until_refused(self, token_id: i64) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            match tokens::is_usable(self.ledger().db(), token_id).await {
                Ok(false) => return,
                Ok(true) => {}
                Err(e) => tracing::warn!("a stream's token was not looked at: {e}"),
            }
        }
    }
}

/// The scheme is case-insensitive (RFC 9110).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn unauthorized(code: &str, detail: &str) -> Problem {
    Problem::new(401, code, detail)
}

fn forbidden(caller: &Caller, right: Right) -> Problem {
    let detail = format!("this asks for the right `{right}`, and {} has the role `{}`", caller.actor, caller.role);
    Problem::new(403, "forbidden", detail).with("right", right.to_string())
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::new(500, "internal", "nobody was asked who they are"))
    }
}
