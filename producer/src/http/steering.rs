//! What an operator does to a rotation: pause, resume, limit, cancel, roll back. Asking again for what is so already
//! answers as it is.

use super::{
    App,
    auth::Caller,
    problem::problem,
    rotations::{detail, reason},
};
use crate::api::{Exclusion, ExclusionKind, Limits, Reason, RotationDetail};
use axum::extract::State;
use futures::future::BoxFuture;
use reseal_entities::{
    exemptions::Kind,
    ledger::{LedgerError, approve, cancel, exclude, steps, throttle},
};
use reseal_http::{Json, Path, Problem};
use sea_orm::DatabaseTransaction;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(cancel_it))
        .routes(routes!(roll_back))
        .routes(routes!(approve_it))
        .routes(routes!(exclude_it))
        .routes(routes!(limit))
}

/// Stops a rotation's workers at their next chunk
#[utoipa::path(
    post, path = "/v1/rotations/{id}/pause", tag = "rotations", operation_id = "pauseRotation",
    params(("id" = i64, Path)), request_body = Reason,
    responses((status = 200, description = "It is paused", body = RotationDetail))
)]
pub(crate) async fn pause(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    Json(why): Json<Reason>,
) -> Result<Json<RotationDetail>, Problem> {
    let reason = reason(why.reason)?;
    steer(&app, move |txn| {
        Box::pin(async move { steps::pause(txn, id, &caller.actor, reason.as_deref()).await.map(|_| id) })
    })
    .await
}

/// Lets a paused rotation go on
#[utoipa::path(
    post, path = "/v1/rotations/{id}/resume", tag = "rotations", operation_id = "resumeRotation",
    params(("id" = i64, Path)),
    responses((status = 200, description = "It goes on", body = RotationDetail))
)]
pub(crate) async fn resume(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
) -> Result<Json<RotationDetail>, Problem> {
    steer(&app, move |txn| Box::pin(async move { steps::resume(txn, id, &caller.actor).await.map(|_| id) })).await
}

/// Stops a rotation for good
///
/// Values under both keys stay readable, and the next rotation retires what is left. Refused once a key is destroyed.
#[utoipa::path(
    post, path = "/v1/rotations/{id}/cancel", tag = "rotations", operation_id = "cancelRotation",
    params(("id" = i64, Path)), request_body = Reason,
    responses((status = 200, description = "It is cancelled", body = RotationDetail))
)]
pub(crate) async fn cancel_it(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    Json(why): Json<Reason>,
) -> Result<Json<RotationDetail>, Problem> {
    let reason = reason(why.reason)?;
    steer(&app, move |txn| {
        Box::pin(async move { cancel::cancel(txn, &caller.actor, id, reason.as_deref()).await.map(|_| id) })
    })
    .await
}

/// Turns a rotation round
///
/// The key that gave way becomes active again, by a rotation of its own, which this answers with.
#[utoipa::path(
    post, path = "/v1/rotations/{id}/rollback", tag = "rotations", operation_id = "rollBackRotation",
    params(("id" = i64, Path)), request_body = Reason,
    responses((status = 200, description = "The rotation the other way", body = RotationDetail))
)]
pub(crate) async fn roll_back(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    Json(why): Json<Reason>,
) -> Result<Json<RotationDetail>, Problem> {
    let reason = reason(why.reason)?;
    steer(&app, move |txn| {
        Box::pin(async move {
            cancel::roll_back(txn, &caller.actor, id, reason.as_deref()).await.map(|turned| turned.reverse)
        })
    })
    .await
}

/// Approves the clearing of the keys that a rotation retires
///
/// Where the two-person rule is configured, `waiting` lasts until somebody other than the requester does this. It approves
/// the proof that stands when it is asked.
#[utoipa::path(
    post, path = "/v1/rotations/{id}/approve", tag = "rotations", operation_id = "approveRotation",
    params(("id" = i64, Path)),
    responses((status = 200, description = "It is approved", body = RotationDetail))
)]
pub(crate) async fn approve_it(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
) -> Result<Json<RotationDetail>, Problem> {
    steer(&app, move |txn| Box::pin(async move { approve::approve(txn, &caller.actor, id, None).await.map(|_| id) }))
        .await
}

/// Lets a clearing go on without a replica or an application
///
/// Before a key is destroyed, every copy that could take a source's place must have replayed what was counted, and every
/// application that is alive must write with the new key. This excludes one that never will. A copy that is promoted all the same
/// may hold values under the destroyed key.
#[utoipa::path(
    post, path = "/v1/rotations/{id}/exclude", tag = "rotations", operation_id = "excludeFromClearing",
    params(("id" = i64, Path)), request_body = Exclusion,
    responses((status = 200, description = "It is excluded", body = RotationDetail))
)]
pub(crate) async fn exclude_it(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    Json(exclusion): Json<Exclusion>,
) -> Result<Json<RotationDetail>, Problem> {
    for (field, text, most) in
        [("/name", &exclusion.name, exclude::NAME_MAX), ("/note", &exclusion.note, super::rotations::REASON_MAX)]
    {
        if !(1..=most).contains(&text.chars().count()) {
            return Err(Problem::invalid(field, format!("not a text of 1 to {most} characters")));
        }
    }
    let kind = match exclusion.kind {
        ExclusionKind::Replica => Kind::Replica,
        ExclusionKind::Writer => Kind::Writer,
    };
    steer(&app, move |txn| {
        Box::pin(async move {
            let it = (kind, exclusion.name.as_str());
            exclude::exclude(txn, &caller.actor, id, it, &exclusion.note).await.map(|_| id)
        })
    })
    .await
}

/// Sets how fast a rotation may go; null or left out is no limit
#[utoipa::path(
    put, path = "/v1/rotations/{id}/limits", tag = "rotations", operation_id = "limitRotation",
    params(("id" = i64, Path)), request_body = Limits,
    responses((status = 200, description = "Its limits", body = Limits))
)]
pub(crate) async fn limit(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    Json(limits): Json<Limits>,
) -> Result<Json<Limits>, Problem> {
    let wanted = checked(limits)?;
    let txn = begin(&app).await?;
    throttle::limit_if_open(&txn, id, &caller.actor, |_| wanted).await.map_err(problem)?;
    commit(txn).await?;
    Ok(Json(limits))
}

/// As the ledger takes them.
pub(crate) fn checked(limits: Limits) -> Result<throttle::Limits, Problem> {
    checked_at("", limits)
}

/// The same of limits that stand at this place of a request.
pub(super) fn checked_at(place: &str, limits: Limits) -> Result<throttle::Limits, Problem> {
    let limits =
        throttle::Limits { rows_per_second: limits.rows_per_second, lanes: limits.lanes, batches: limits.batches };
    match limits.out_of_range() {
        None => Ok(limits),
        Some((field, most)) => Err(Problem::invalid(
            format!("{place}/{field}"),
            format!("not a number from 1 to {most}; to stop a rotation, pause it"),
        )),
    }
}

/// Does `change` in a transaction of its own, and answers with the rotation that it names. Boxed, because a closure that lends
/// its argument to a future cannot be proved `Send` otherwise.
async fn steer(
    app: &App,
    change: impl for<'t> FnOnce(&'t DatabaseTransaction) -> BoxFuture<'t, Result<i64, LedgerError>>,
) -> Result<Json<RotationDetail>, Problem> {
    let txn = begin(app).await?;
    let id = change(&txn).await.map_err(problem)?;
    commit(txn).await?;
    Ok(Json(detail(app, id).await?))
}

pub(crate) async fn begin(app: &App) -> Result<DatabaseTransaction, Problem> {
    app.ledger().begin().await.map_err(|e| problem(e.into()))
}

pub(crate) async fn commit(txn: DatabaseTransaction) -> Result<(), Problem> {
    txn.commit().await.map_err(|e| problem(LedgerError::from(e)))
}
