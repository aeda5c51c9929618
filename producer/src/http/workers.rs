//! Workers: who is alive, and asking one to leave.

use super::{
    App,
    auth::Caller,
    problem::problem,
    steering::{begin, commit},
    tell,
};
use crate::api::Worker;
use axum::extract::State;
use reseal_entities::ledger::presence;
use reseal_http::{Json, Path, Problem};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(drain))
}

/// Lists workers that are alive, or ended within a day
#[utoipa::path(
    get, path = "/v1/workers", tag = "workers", operation_id = "listWorkers",
    responses((status = 200, description = "In the order of their start", body = Vec<Worker>))
)]
async fn list(State(app): State<App>) -> Result<Json<Vec<Worker>>, Problem> {
    let found = presence::remembered(app.ledger().db()).await.map_err(problem)?;
    Ok(Json(found.into_iter().map(tell::worker).collect()))
}

/// Asks a worker to finish what it has in hand and end
#[utoipa::path(
    post, path = "/v1/workers/{name}/drain", tag = "workers", operation_id = "drainWorker",
    params(("name" = String, Path)),
    responses((status = 200, description = "It hears it within seconds", body = Worker))
)]
async fn drain(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Json<Worker>, Problem> {
    let txn = begin(&app).await?;
    presence::ask_to_drain(&txn, &caller.actor, Some(&name)).await.map_err(problem)?;
    commit(txn).await?;
    let mut found = presence::remembered(app.ledger().db()).await.map_err(problem)?.into_iter();
    let worker = found.find(|w| w.worker.name == name);
    let worker = worker.ok_or_else(|| Problem::new(404, "unknown_worker", format!("no worker `{name}` is alive")))?;
    Ok(Json(tell::worker(worker)))
}
