//! The dashboard: what the API tells, as pages for people. One page, one file; holds no key.
//!
//! A page is a whole document that works without a script: links, forms, and a 303 after each change. `live.js` asks
//! a page for itself again when something has happened. What a page does it does by the API's own functions, so both
//! refuse the same things; which right each asks for stands in the one table of routes.

#![expect(clippy::result_large_err, reason = "a problem is made once, and answered")]

mod assets;
mod audit;
mod batch;
mod batches;
mod charts;
mod drawn;
mod due;
mod failures;
mod form;
mod frame;
mod key;
mod keys;
mod numbers;
mod operation;
mod overview;
mod quarantine;
mod refused;
mod retry;
mod rotation;
mod rotations;
mod sign_in;
mod start;
mod steer;
mod ticked;
mod tone;
mod workers;

use crate::http::App;
use axum::{
    Router, middleware,
    routing::{get, post},
};

pub(crate) use refused::{as_page, refused};

/// Every page. What answers with a problem answers with a page that says it.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(overview::show))
        .route("/rotations", get(rotations::show).post(start::start))
        .route("/rotations/new", get(start::choose).post(start::dry_run))
        .route("/rotations/{id}", get(rotation::show))
        .route("/rotations/{id}/pause", post(steer::pause))
        .route("/rotations/{id}/resume", post(steer::resume))
        .route("/rotations/{id}/cancel", post(steer::cancel))
        .route("/rotations/{id}/rollback", post(steer::roll_back))
        .route("/rotations/{id}/limits", post(steer::limit))
        .route("/rotations/{id}/approve", post(steer::approve))
        .route("/rotations/{id}/dismiss", post(steer::dismiss))
        .route("/rotations/{id}/retry", get(retry::count).post(retry::retry))
        .route("/rotations/{id}/split", post(retry::split))
        .route("/rotations/{id}/batches", get(batches::show))
        .route("/rotations/{id}/failures", get(failures::show))
        .route("/rotations/{id}/quarantine", get(quarantine::show))
        .route("/batches/{id}", get(batch::show))
        .route("/batches/{id}/retry", post(batch::retry))
        .route("/batches/{id}/split", post(batch::split))
        .route("/keys", get(keys::show))
        .route("/keys/{key_id}", get(key::show))
        .route("/keys/{key_id}/clear", post(key::clear))
        .route("/census", post(keys::census))
        .route("/operations/{id}", get(operation::show))
        .route("/workers", get(workers::show))
        .route("/workers/{name}/drain", post(workers::drain))
        .route("/audit", get(audit::show))
        .route("/audit/export", get(crate::http::export_audit))
        .merge(sign_in::routes())
        .route("/live", get(crate::http::live))
        .layer(middleware::from_fn(as_page))
        .route("/assets/{name}", get(assets::serve))
}
