//! Which right each route asks for: of the API, which takes tokens, and of the pages, which take the cookie of a session.
//! All of them; a test walks it with every role.

use axum::http::Method;
use reseal_entities::tokens::Right;

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Who holds a token with this right; of a page, who has signed in with one.
    Right(Right),
    /// Anybody while the server listens on loopback; elsewhere who holds a token, whatever its role.
    Local,
    /// Anybody: it tells nothing of this installation.
    Open,
}

/// One line of the table.
pub type Route = (Method, &'static str, Access);

const VIEW: Access = Access::Right(Right::View);
const OPERATE: Access = Access::Right(Right::Operate);
const KEYS: Access = Access::Right(Right::Keys);
const ENCRYPT: Access = Access::Right(Right::Encrypt);
const AUDIT: Access = Access::Right(Right::Audit);

/// The API, its probes and its description.
pub const TABLE: &[Route] = &[
    (Method::POST, "/v1/rotations", OPERATE),
    (Method::GET, "/v1/rotations", VIEW),
    (Method::GET, "/v1/rotations/{id}", VIEW),
    (Method::GET, "/v1/rotations/{id}/batches", VIEW),
    (Method::GET, "/v1/rotations/{id}/failures", VIEW),
    (Method::GET, "/v1/rotations/{id}/quarantine", VIEW),
    (Method::POST, "/v1/rotations/{id}/retry", OPERATE),
    (Method::POST, "/v1/rotations/{id}/split", OPERATE),
    (Method::POST, "/v1/rotations/{id}/pause", OPERATE),
    (Method::POST, "/v1/rotations/{id}/resume", OPERATE),
    (Method::POST, "/v1/rotations/{id}/cancel", OPERATE),
    (Method::POST, "/v1/rotations/{id}/rollback", OPERATE),
    (Method::PUT, "/v1/rotations/{id}/limits", OPERATE),
    (Method::POST, "/v1/rotations/{id}/approve", KEYS),
    (Method::POST, "/v1/rotations/{id}/exclude", KEYS),
    (Method::GET, "/v1/batches/{id}", VIEW),
    (Method::GET, "/v1/batches/{id}/attempts", VIEW),
    (Method::POST, "/v1/batches/{id}/retry", OPERATE),
    (Method::POST, "/v1/batches/{id}/split", OPERATE),
    (Method::POST, "/v1/dry-runs", OPERATE),
    (Method::POST, "/v1/census", OPERATE),
    (Method::GET, "/v1/census", VIEW),
    (Method::GET, "/v1/operations", VIEW),
    (Method::GET, "/v1/operations/{id}", VIEW),
    (Method::GET, "/v1/keys", VIEW),
    (Method::GET, "/v1/keys/{key_id}", VIEW),
    (Method::POST, "/v1/keys/{key_id}/clear", KEYS),
    (Method::GET, "/v1/workers", VIEW),
    (Method::POST, "/v1/workers/{name}/drain", OPERATE),
    (Method::GET, "/v1/audit", AUDIT),
    (Method::GET, "/v1/audit/verify", AUDIT),
    (Method::GET, "/v1/audit/export", AUDIT),
    (Method::GET, "/v1/events", VIEW),
    (Method::POST, "/v1/encrypt", ENCRYPT),
    (Method::POST, "/v1/decrypt", ENCRYPT),
    (Method::POST, "/v1/re-encrypt", ENCRYPT),
    (Method::GET, "/healthz", Access::Local),
    (Method::GET, "/readyz", Access::Local),
    (Method::GET, "/metrics", Access::Local),
    (Method::GET, "/openapi.json", Access::Open),
    (Method::GET, "/docs", Access::Open),
    (Method::GET, "/docs/", Access::Open),
    (Method::GET, "/docs/{*rest}", Access::Open),
];

/// The dashboard.
pub const PAGES: &[Route] = &[
    (Method::GET, "/", VIEW),
    (Method::GET, "/sign-in", Access::Open),
    (Method::POST, "/sign-in", Access::Open),
    (Method::POST, "/sign-out", VIEW),
    (Method::GET, "/rotations", VIEW),
    (Method::POST, "/rotations", OPERATE),
    (Method::GET, "/rotations/new", VIEW),
    (Method::POST, "/rotations/new", OPERATE),
    (Method::GET, "/rotations/{id}", VIEW),
    (Method::POST, "/rotations/{id}/pause", OPERATE),
    (Method::POST, "/rotations/{id}/resume", OPERATE),
    (Method::POST, "/rotations/{id}/cancel", OPERATE),
    (Method::POST, "/rotations/{id}/rollback", OPERATE),
    (Method::POST, "/rotations/{id}/limits", OPERATE),
    (Method::POST, "/rotations/{id}/approve", KEYS),
    (Method::POST, "/rotations/{id}/dismiss", KEYS),
    (Method::GET, "/rotations/{id}/retry", VIEW),
    (Method::POST, "/rotations/{id}/retry", OPERATE),
    (Method::POST, "/rotations/{id}/split", OPERATE),
    (Method::GET, "/rotations/{id}/batches", VIEW),
    (Method::GET, "/rotations/{id}/failures", VIEW),
    (Method::GET, "/rotations/{id}/quarantine", VIEW),
    (Method::GET, "/batches/{id}", VIEW),
    (Method::POST, "/batches/{id}/retry", OPERATE),
    (Method::POST, "/batches/{id}/split", OPERATE),
    (Method::GET, "/keys", VIEW),
    (Method::GET, "/keys/{key_id}", VIEW),
    (Method::POST, "/keys/{key_id}/clear", KEYS),
    (Method::POST, "/census", OPERATE),
    (Method::GET, "/operations/{id}", VIEW),
    (Method::GET, "/workers", VIEW),
    (Method::POST, "/workers/{name}/drain", OPERATE),
    (Method::GET, "/audit", AUDIT),
    (Method::GET, "/audit/export", AUDIT),
    (Method::GET, "/live", VIEW),
    (Method::GET, "/assets/{name}", Access::Open),
];

fn all() -> impl Iterator<Item = &'static Route> {
    TABLE.iter().chain(PAGES)
}

/// What a route asks for; none: nobody is let in.
pub(super) fn access(method: &Method, route: &str) -> Option<Access> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    all().find(|(m, r, _)| m == method && *r == route).map(|(_, _, access)| *access)
}

/// The methods that a route has.
pub(super) fn methods(route: &str) -> Vec<&'static str> {
    all().filter(|(_, r, _)| *r == route).map(|(m, _, _)| m.as_str()).collect()
}

/// Whether it is one of the dashboard's: entered with a session alone, and refused as a page.
pub(super) fn is_page(route: &str) -> bool {
    PAGES.iter().any(|(_, r, _)| *r == route)
}
