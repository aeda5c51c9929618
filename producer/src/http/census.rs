//! The census as it was last taken.

use super::{App, problem::problem, tell};
use crate::api::Operation;
use axum::extract::State;
use reseal_entities::{
    ledger::{operations, presence},
    operations::OperationKind,
};
use reseal_http::{Json, Problem};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(last))
}

/// Shows the census that was taken last
#[utoipa::path(
    get, path = "/v1/census", tag = "keys", operation_id = "getCensus",
    responses((status = 200, description = "The operation that took it; `ended_at` says how old it is", body = Operation))
)]
async fn last(State(app): State<App>) -> Result<Json<Operation>, Problem> {
    let db = app.ledger().db();
    let workers = presence::alive(db).await.map_err(problem)?.len();
    let found = operations::latest_succeeded(db, OperationKind::Census).await.map_err(problem)?;
    let found = found
        .ok_or_else(|| Problem::new(404, "unknown_census", "no census was taken yet: POST /v1/census takes one"))?;
    Ok(Json(tell::operation(found, workers)))
}
