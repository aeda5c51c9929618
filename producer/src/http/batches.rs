//! Batches, failures by cause, quarantined rows, and doing them again.

use super::{
    App,
    auth::Caller,
    idempotency::IdempotencyKey,
    operations::{answer, asker},
    paging::{Paging, page},
    problem::problem,
    rotations::word,
    steering::{begin, commit},
    tell,
};
use crate::api::{self, Attempts, Batch, Failure, Operation, Page, QuarantinedRow, Retry, Split};
use axum::{extract::State, http::HeaderMap, response::Response};
use reseal_entities::{
    ledger::{attempts, failures, operations, pages, read, retry::RetryFilter, split},
    operations as rows,
};
use reseal_http::{Json, Path, Problem, Query, RequestId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(causes))
        .routes(routes!(quarantined))
        .routes(routes!(retry))
        .routes(routes!(retry_one))
        .routes(routes!(tries))
        .routes(routes!(split_one))
        .routes(routes!(split_many))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct InState {
    /// In this state.
    #[param(inline)]
    state: Option<api::BatchState>,
}

/// Lists a rotation's batches
#[utoipa::path(
    get, path = "/v1/rotations/{id}/batches", tag = "batches", operation_id = "listBatches",
    params(("id" = i64, Path), InState, Paging),
    responses((status = 200, description = "A page", body = Page<Batch>))
)]
async fn list(
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(which): Query<InState>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Batch>>, Problem> {
    let (limit, after) = paging.read()?;
    let state = which.state.map(|state| word(&state, "state")).transpose()?;
    let db = app.ledger().db();
    read::rotation(db, id).await.map_err(problem)?;
    let found = pages::batches(db, id, state, after, limit + 1).await.map_err(problem)?;
    Ok(Json(page(found, limit, |(b, _)| b.id, |(b, table)| tell::batch(b, table))))
}

/// Shows a batch
#[utoipa::path(
    get, path = "/v1/batches/{id}", tag = "batches", operation_id = "getBatch", params(("id" = i64, Path)),
    responses((status = 200, description = "As it stands", body = Batch))
)]
async fn show(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Batch>, Problem> {
    let (batch, table) = pages::batch(app.ledger().db(), id).await.map_err(problem)?;
    Ok(Json(tell::batch(batch, table)))
}

/// Shows what failed, grouped by cause
#[utoipa::path(
    get, path = "/v1/rotations/{id}/failures", tag = "batches", operation_id = "listFailures",
    params(("id" = i64, Path)),
    responses((status = 200, description = "Each cause; empty when nothing failed", body = Vec<Failure>))
)]
async fn causes(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Vec<Failure>>, Problem> {
    let db = app.ledger().db();
    read::rotation(db, id).await.map_err(problem)?;
    let found = failures::failures(db, id).await.map_err(problem)?;
    Ok(Json(found.into_iter().map(tell::failure).collect()))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RowsInState {
    /// In this state.
    #[param(inline)]
    state: Option<api::QuarantineState>,
    /// Of this batch.
    batch_id: Option<i64>,
}

/// Lists rows that could not be re-encrypted, newest first
#[utoipa::path(
    get, path = "/v1/rotations/{id}/quarantine", tag = "batches", operation_id = "listQuarantine",
    params(("id" = i64, Path), RowsInState, Paging),
    responses((status = 200, description = "A page", body = Page<QuarantinedRow>))
)]
async fn quarantined(
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(which): Query<RowsInState>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<QuarantinedRow>>, Problem> {
    let (limit, before) = paging.read()?;
    let state = which.state.map(|state| word(&state, "state")).transpose()?;
    let db = app.ledger().db();
    read::rotation(db, id).await.map_err(problem)?;
    let found = pages::quarantine(db, id, state, which.batch_id, before, limit + 1).await.map_err(problem)?;
    Ok(Json(page(found, limit, |(q, _)| q.id, |(q, table)| tell::quarantined(q, table))))
}

/// Does failed batches again, however many the filter names
///
/// All of it happens in one transaction, together with the operation that says what was done: after a crash the same
/// `Idempotency-Key` finds that operation, or does it now. The price: one long transaction for very many batches.
#[utoipa::path(
    post, path = "/v1/rotations/{id}/retry", tag = "batches", operation_id = "retryBatches",
    params(
        ("id" = i64, Path),
        IdempotencyKey,
    ),
    request_body = Retry,
    responses((status = 202, description = "What was matched, applied and skipped", body = Operation))
)]
async fn retry(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Json(retry): Json<Retry>,
) -> Result<Response, Problem> {
    again(&app, asker(caller, request_id, &headers)?, id, retry).await
}

/// Does one batch again
#[utoipa::path(
    post, path = "/v1/batches/{id}/retry", tag = "batches", operation_id = "retryBatch",
    params(
        ("id" = i64, Path),
        IdempotencyKey,
    ),
    responses((status = 202, description = "What was matched, applied and skipped", body = Operation))
)]
async fn retry_one(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    headers: HeaderMap,
    Path(id): Path<i64>,
) -> Result<Response, Problem> {
    let (batch, _) = pages::batch(app.ledger().db(), id).await.map_err(problem)?;
    let only = Retry { batch_ids: Some(vec![id]), ..Retry::default() };
    again(&app, asker(caller, request_id, &headers)?, batch.rotation_id, only).await
}

async fn again(app: &App, asker: operations::Caller, rotation_id: i64, retry: Retry) -> Result<Response, Problem> {
    let (operation, created) = retry_matching(app, &asker, rotation_id, retry).await?;
    answer(app, operation, created).await
}

/// Does it, and says by which operation; whether the same request did not do so before.
pub(crate) async fn retry_matching(
    app: &App,
    asker: &operations::Caller,
    rotation_id: i64,
    retry: Retry,
) -> Result<(rows::Model, bool), Problem> {
    operations::retry(app.ledger(), asker, rotation_id, &filter(retry)).await.map_err(problem)
}

/// A retry as the ledger knows it: quarantined rows too, unless it is said.
pub(crate) fn filter(retry: Retry) -> RetryFilter {
    let quarantined = retry.quarantined.unwrap_or(true);
    RetryFilter { batch_ids: retry.batch_ids, code: retry.code, table: retry.table, quarantined }
}

/// Shows how the tries at a batch ended
#[utoipa::path(
    get, path = "/v1/batches/{id}/attempts", tag = "batches", operation_id = "listAttempts", params(("id" = i64, Path)),
    responses((status = 200, description = "Each that ended, and which were lost", body = Attempts))
)]
async fn tries(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Attempts>, Problem> {
    let db = app.ledger().db();
    let (batch, _) = pages::batch(db, id).await.map_err(problem)?;
    let told = attempts::of_batch(db, id).await.map_err(problem)?;
    let lost = attempts::lost(&batch, &told);
    Ok(Json(Attempts { ended: told.into_iter().map(tell::attempt).collect(), lost }))
}

/// Puts two halves in a batch's place
///
/// For one that failed or waits. A worker does it at the next claim, seconds later; one that cannot be halved any
/// more is done as it is. Asked again, nothing changes.
#[utoipa::path(
    post, path = "/v1/batches/{id}/split", tag = "batches", operation_id = "splitBatch", params(("id" = i64, Path)),
    responses((status = 200, description = "As it stands; `superseded` once its halves are there", body = Batch))
)]
async fn split_one(State(app): State<App>, caller: Caller, Path(id): Path<i64>) -> Result<Json<Batch>, Problem> {
    let txn = begin(&app).await?;
    split::ask(&txn, &caller.actor, id).await.map_err(problem)?;
    commit(txn).await?;
    show(State(app), Path(id)).await
}

/// Puts two halves in the place of each failed batch, however many the filter names
///
/// As a retry it is one transaction, together with the operation that says what was asked. Batches of one row are
/// skipped.
#[utoipa::path(
    post, path = "/v1/rotations/{id}/split", tag = "batches", operation_id = "splitBatches",
    params(("id" = i64, Path), IdempotencyKey), request_body = Split,
    responses((status = 202, description = "What was matched, applied and skipped", body = Operation))
)]
async fn split_many(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Json(split): Json<Split>,
) -> Result<Response, Problem> {
    let asker = asker(caller, request_id, &headers)?;
    let (operation, created) = split_matching(&app, &asker, id, split).await?;
    answer(&app, operation, created).await
}

/// Asks for it, and says by which operation; whether the same request did not do so before.
pub(crate) async fn split_matching(
    app: &App,
    asker: &operations::Caller,
    rotation_id: i64,
    split: Split,
) -> Result<(rows::Model, bool), Problem> {
    let filter = RetryFilter { batch_ids: split.batch_ids, code: split.code, table: split.table, quarantined: false };
    operations::split(app.ledger(), asker, rotation_id, &filter).await.map_err(problem)
}
