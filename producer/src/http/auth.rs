//! Who asks, and whether they may. Before every route.

use super::{
    App, bearer, same_origin, session,
    table::{self, Access},
};
use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderValue, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use reseal_entities::{
    ledger::{audit, sessions, tokens},
    tokens::{Model as Token, Right, Role},
};
use reseal_http::{Problem, RequestId};
use std::time::Duration;
use tokio::time::timeout;

/// How long a stream that is open may outlive its token or its session.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Whoever looks at a page is told within seconds that the ledger is away; a change is never cut off.
const PAGE_PATIENCE: Duration = Duration::from_secs(4);

/// Who asks: what the audit calls them, and what they may.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// `token NAME`.
    pub(crate) actor: String,
    /// The token.
    pub(crate) token_id: i64,
    /// Its role.
    pub(crate) role: Role,
    /// The session, where it is a browser that asks.
    pub(crate) session: Option<i64>,
}

impl Caller {
    pub(super) fn of(token: &Token, session: Option<i64>) -> Self {
        Self { token_id: token.id, actor: format!("token {}", token.name), role: token.role, session }
    }

    /// Whether they have this right.
    pub(crate) fn may(&self, right: Right) -> bool {
        self.role.may(right)
    }
}

/// Lets a request through to its route when who asks has the right that the table asks for. What the route then writes into
/// the audit carries the request's id.
pub(super) async fn authorize(State(app): State<App>, request: Request, next: Next) -> Response {
    // Apart, because a body is not to be shared between threads, and the head is looked at across an await.
    let (mut head, body) = request.into_parts();
    let is_page = table::is_page(route(&head));
    // Who is refused for want of a right is known all the same, and their page says so.
    let mut known = None;
    let admitting = admit(&app, &head, is_page, &mut known);
    let admitted = match is_page && head.method == Method::GET {
        true => timeout(PAGE_PATIENCE, admitting).await.unwrap_or_else(|_| Err(ledger_silent())),
        false => admitting.await,
    };
    match admitted {
        Ok(caller) => {
            let is_private = caller.is_some();
            if let Some(caller) = caller {
                head.extensions.insert(caller);
            }
            let id = head.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
            let mut response = audit::under_request(id, next.run(Request::from_parts(head, body))).await;
            // A page that is open to all says itself what may be kept of it.
            if is_private || is_page && !response.headers().contains_key(header::CACHE_CONTROL) {
                no_store(&mut response);
            }
            response
        }
        Err(refused) if is_page => {
            if let Some(caller) = known {
                head.extensions.insert(caller);
            }
            let mut response = session::refused(&head, refused);
            no_store(&mut response);
            response
        }
        Err(refused) => refused.into_response(),
    }
}

fn ledger_silent() -> Problem {
    Problem::new(
        503,
        "ledger_failed",
        "the ledger does not answer: what goes on goes on, and this page comes back with it",
    )
}

fn no_store(response: &mut Response) {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn route(head: &Parts) -> &str {
    head.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str)
}

/// Who asks for a page that there is not; none, too, when the ledger does not say so soon.
pub(super) async fn who(app: &App, head: &Parts) -> Option<Caller> {
    timeout(PAGE_PATIENCE, session::authenticate(app, head)).await.ok()?.ok()
}

async fn admit(app: &App, head: &Parts, is_page: bool, known: &mut Option<Caller>) -> Result<Option<Caller>, Problem> {
    // First of all, and whoever asks: a foreign page must not even sign somebody in or out.
    if is_page && ![Method::GET, Method::HEAD].contains(&head.method) {
        same_origin::check(&head.headers, app.settings().tls)?;
    }
    let route = route(head);
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
    // A browser sends a cookie with whatever it is made to ask, so none opens the API; and a token opens no page.
    let caller = match is_page {
        true => session::authenticate(app, head).await?,
        false => bearer::authenticate(app, head).await?,
    };
    match right {
        Some(right) if !caller.may(right) => {
            let refused = forbidden(&caller, right);
            *known = Some(caller);
            Err(refused)
        }
        _ => Ok(Some(caller)),
    }
}

impl App {
    /// Resolves when a caller is no longer let in. A ledger that does not answer changes nothing.
    pub(crate) async fn until_refused(self, caller: Caller) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let db = self.ledger().db();
            let is_usable = match caller.session {
                Some(session) => sessions::is_usable(db, session).await,
                None => tokens::is_usable(db, caller.token_id).await,
            };
            match is_usable {
                Ok(false) => return,
                Ok(true) => {}
                Err(e) => tracing::warn!("who listens to a stream was not looked at: {e}"),
            }
        }
    }
}

pub(super) fn unauthorized(code: &str, detail: &str) -> Problem {
    Problem::new(401, code, detail)
}

pub(super) fn forbidden(caller: &Caller, right: Right) -> Problem {
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
