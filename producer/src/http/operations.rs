//! Operations: work that is asked for here and done by a worker.

use super::{
    App,
    auth::Caller,
    idempotency::{IdempotencyKey, idempotency_key, mark_replayed},
    paging::{Paging, page},
    problem::problem,
    steering::{begin, commit},
    tell,
};
use crate::api::{NewCensus, NewDryRun, Operation, Page};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use reseal_entities::{
    job::{Job, JobKind},
    ledger::{
        operations::{self, Ask, Filter},
        presence,
    },
    operations as rows,
};
use reseal_http::{Json, Path, Problem, Query, RequestId};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(dry_run)).routes(routes!(census)).routes(routes!(list)).routes(routes!(show))
}

/// Asks what a rotation would do
///
/// A worker tries chunks of every column in transactions that are rolled back. `result` has per table rows, bytes,
/// batches, time and growth, and what would stop it.
#[utoipa::path(
    post, path = "/v1/dry-runs", tag = "operations", operation_id = "createDryRun",
    params(IdempotencyKey), request_body = NewDryRun,
    responses((status = 202, description = "A worker does it: follow the operation", body = Operation))
)]
async fn dry_run(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    headers: HeaderMap,
    Json(wanted): Json<NewDryRun>,
) -> Result<Response, Problem> {
    if !(1..=64).contains(&wanted.keyset.chars().count()) {
        return Err(Problem::invalid("/keyset", "not 1 to 64 characters"));
    }
    let ask = Ask::DryRun { keyset: wanted.keyset, to_key_id: wanted.to_key_id.map(i64::from) };
    request(&app, &ask, &asker(caller, request_id, &headers)?).await
}

/// Counts cells by key, now
///
/// A worker reads every cell's header, no plaintext. The price is a scan of the columns.
#[utoipa::path(
    post, path = "/v1/census", tag = "operations", operation_id = "createCensus",
    params(IdempotencyKey), request_body = NewCensus,
    responses((status = 202, description = "A worker does it: follow the operation", body = Operation))
)]
async fn census(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    headers: HeaderMap,
    Json(wanted): Json<NewCensus>,
) -> Result<Response, Problem> {
    let ask = Ask::Census { column: wanted.column, key_id: wanted.key_id.map(i64::from) };
    request(&app, &ask, &asker(caller, request_id, &headers)?).await
}

/// Lists operations, newest first
///
/// Without results, and without params that are long: an operation by its id has them.
#[utoipa::path(
    get, path = "/v1/operations", tag = "operations", operation_id = "listOperations", params(Paging),
    responses((status = 200, description = "A page", body = Page<Operation>))
)]
async fn list(State(app): State<App>, Query(paging): Query<Paging>) -> Result<Json<Page<Operation>>, Problem> {
    let (limit, before) = paging.read()?;
    let db = app.ledger().db();
    let workers = presence::alive(db).await.map_err(problem)?.len();
    let found = operations::page(db, &Filter::default(), before, limit + 1).await.map_err(problem)?;
    Ok(Json(page(found, limit, |o| o.id, |o| tell::operation_in_a_list(o, workers))))
}

/// Shows an operation
#[utoipa::path(
    get, path = "/v1/operations/{id}", tag = "operations", operation_id = "getOperation", params(("id" = i64, Path)),
    responses((status = 200, description = "As it stands", body = Operation))
)]
async fn show(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Operation>, Problem> {
    let db = app.ledger().db();
    let workers = presence::alive(db).await.map_err(problem)?.len();
    Ok(Json(tell::operation(operations::get(db, id).await.map_err(problem)?, workers)))
}

/// Who asks, for the ledger.
pub(super) fn asker(caller: Caller, request_id: RequestId, headers: &HeaderMap) -> Result<operations::Caller, Problem> {
    Ok(asker_with(&caller, request_id, idempotency_key(headers)?))
}

/// The same with an idempotency key that came otherwise.
pub(crate) fn asker_with(
    caller: &Caller,
    request_id: RequestId,
    idempotency_key: Option<String>,
) -> operations::Caller {
    operations::Caller { actor: caller.actor.clone(), request_id: Some(request_id.0), idempotency_key }
}

/// Writes it down, rings, and answers with it.
pub(super) async fn request(app: &App, ask: &Ask, asker: &operations::Caller) -> Result<Response, Problem> {
    let (operation, created) = write_down(app, ask, asker).await?;
    answer(app, operation, created).await
}

/// Writes it down and rings; whether the same request did not do so before.
pub(crate) async fn write_down(
    app: &App,
    ask: &Ask,
    asker: &operations::Caller,
) -> Result<(rows::Model, bool), Problem> {
    let txn = begin(app).await?;
    let (operation, created) = operations::request(&txn, ask, asker).await.map_err(problem)?;
    commit(txn).await?;
    if created {
        app.ring(Job { kind: JobKind::Operation, id: operation.id }).await;
    }
    Ok((operation, created))
}

/// `202` and where to follow it.
pub(super) async fn answer(app: &App, operation: rows::Model, created: bool) -> Result<Response, Problem> {
    let workers = presence::alive(app.ledger().db()).await.map_err(problem)?.len();
    let at = HeaderValue::from_str(&format!("/v1/operations/{}", operation.id));
    let mut response = (StatusCode::ACCEPTED, Json(tell::operation(operation, workers))).into_response();
    response.headers_mut().extend(at.ok().map(|at| (header::LOCATION, at)));
    if !created {
        mark_replayed(response.headers_mut());
    }
    Ok(response)
}
