//! The dashboard: what the API tells, as pages for people. One page, one file; holds no key.

mod form;
mod refused;
mod sign_in;

pub(crate) use refused::refused;

use crate::http::App;
use axum::Router;

/// Every page. Who may see which is in the API's table of rights, and asked before any of them.
pub(crate) fn routes() -> Router<App> {
    Router::new().merge(sign_in::routes())
}
