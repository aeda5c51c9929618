//! Whether the server lives, and whether it can do its work.

use super::{App, metrics::StateLabel, problem::problem};
use axum::{extract::State, http::header, response::IntoResponse};
use reseal_entities::ledger::{Ledger, pages, presence, read};
use reseal_http::{Json, Problem};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// What a probe is told.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    status: String,
    /// The version of Reseal.
    version: String,
}

/// Whether the server lives
#[utoipa::path(
    get, path = "/healthz", tag = "health", operation_id = "health",
    responses((status = 200, description = "It does", body = Health))
)]
async fn healthz() -> Json<Health> {
    Json(Health { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// What the server needs, and whether it has it.
#[derive(Serialize, ToSchema)]
struct Ready {
    /// The ledger answers.
    ledger: bool,
    /// Its schema is this version's.
    migrated: bool,
    /// The queue answers, `memory` or `unreachable`. Without it nothing is lost and everything takes a second longer.
    #[schema(example = "ok")]
    queue: String,
}

/// Whether the server can do its work
#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "ready",
    responses((status = 200, description = "It can", body = Ready))
)]
async fn readyz(State(app): State<App>) -> Result<Json<Ready>, Problem> {
    let (ledger, migrated) = match tokio::time::timeout(PATIENCE, pending(app.ledger())).await {
        Ok(Ok(pending)) => (true, pending == 0),
        Ok(Err(())) | Err(_) => (false, false),
    };
    let queue = queue(&app).await;
    let ready = Ready { ledger, migrated, queue: queue.to_owned() };
    if ready.ledger && ready.migrated {
        return Ok(Json(ready));
    }
    let detail =
        if ready.ledger { "the ledger is not migrated: run `reseal migrate`" } else { "the ledger does not answer" };
    Err(Problem::new(503, "not_ready", detail).with("checks", ready))
}

/// `ok`, `unreachable`, or `none`: there is no queue to ring in.
pub(crate) async fn queue(app: &App) -> &'static str {
    match app.bell() {
        None if app.rings() => "unreachable",
        None => "none",
        Some(bell) => match tokio::time::timeout(PATIENCE, bell.incarnation()).await {
            Ok(Ok(_)) => "ok",
            Ok(Err(_)) | Err(_) => "unreachable",
        },
    }
}

async fn pending(ledger: &Ledger) -> Result<usize, ()> {
    reseal_migration::pending(ledger.db()).await.map_err(|e| tracing::warn!("the ledger's schema was not seen: {e}"))
}

/// What the server did, for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses((status = 200, description = "The text format", content_type = "text/plain", body = String))
)]
async fn metrics(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let (db, metrics) = (app.ledger().db(), app.metrics());
    metrics.workers.set(presence::alive(db).await.map_err(problem)?.len() as i64);
    metrics.streams.set(app.hub().listeners() as i64);
    let open = pages::Rotations { open: Some(true), ..pages::Rotations::default() };
    let (mut needing, mut states) = (0, BTreeMap::<String, i64>::new());
    for rotation in pages::rotations(db, &open, None, 1_000).await.map_err(problem)? {
        *states.entry(rotation.state.to_string()).or_default() += 1;
        needing += i64::from(read::status(db, rotation.id).await.map_err(problem)?.needs_attention);
    }
    metrics.rotations.clear();
    for (state, n) in states {
        metrics.rotations.get_or_create(&StateLabel { state }).set(n);
    }
    metrics.needs_attention.set(needing);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.text()))
}
