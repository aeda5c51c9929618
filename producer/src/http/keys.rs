//! Keys: which there are, and clearing one.

use super::{
    App,
    auth::Caller,
    idempotency::IdempotencyKey,
    operations::{answer, asker, write_down},
    problem::problem,
    tell,
};
use crate::api::{Key, KeyDetail, Operation};
use axum::{extract::State, http::HeaderMap, response::Response};
use reseal_entities::{
    ledger::{
        clearing::{self, Clearing},
        keys as ledger_keys,
        operations::{self, Ask},
        presence, read,
    },
    operations as rows,
};
use reseal_http::{Json, Path, Problem, Query, RequestId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(clear))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Of {
    /// Only of this keyset.
    keyset: Option<String>,
}

/// Lists every key that there is or was
#[utoipa::path(
    get, path = "/v1/keys", tag = "keys", operation_id = "listKeys", params(Of),
    responses((status = 200, description = "By keyset and version", body = Vec<Key>))
)]
async fn list(State(app): State<App>, Query(of): Query<Of>) -> Result<Json<Vec<Key>>, Problem> {
    let found = ledger_keys::all(app.ledger().db()).await.map_err(problem)?;
    let wanted = found.into_iter().filter(|k| of.keyset.as_ref().is_none_or(|keyset| *keyset == k.keyset));
    let cryptoperiod = app.settings().cryptoperiod;
    Ok(Json(wanted.map(|k| tell::key(k, cryptoperiod)).collect()))
}

/// Shows a key, and what stands between it and its clearing
#[utoipa::path(
    get, path = "/v1/keys/{key_id}", tag = "keys", operation_id = "getKey", params(("key_id" = i64, Path)),
    responses((status = 200, description = "As it stands", body = KeyDetail))
)]
async fn show(State(app): State<App>, Path(key_id): Path<i64>) -> Result<Json<KeyDetail>, Problem> {
    let db = app.ledger().db();
    let key = read::key(db, key_id).await.map_err(problem)?;
    let promoted_by = read::promoting(db, key_id).await.map_err(problem)?.map(|r| r.id);
    let retired_by = read::retiring(db, &key).await.map_err(problem)?;
    let gate = match retired_by {
        Some(id) => read::status(db, id).await.map_err(problem)?.gate,
        None => Vec::new(),
    };
    let alive = presence::alive(db).await.map_err(problem)?;
    let loaded_by = alive.into_iter().filter(|w| w.loaded().contains(&key_id)).map(|w| w.name).collect();
    let gate = gate.into_iter().map(tell::condition).collect();
    Ok(Json(KeyDetail { key: tell::key(key, app.settings().cryptoperiod), promoted_by, retired_by, gate, loaded_by }))
}

/// Clears a retired key
///
/// A worker destroys the key, and only when every condition of its rotation's gate is met: until then this is refused with
/// `409 key_in_use`, which says what still needs the key and loses nothing. A key that is destroyed already is an
/// operation that has succeeded.
#[utoipa::path(
    post, path = "/v1/keys/{key_id}/clear", tag = "keys", operation_id = "clearKey",
    params(
        ("key_id" = i64, Path),
        IdempotencyKey,
    ),
    responses((status = 202, description = "A worker does it: follow the operation", body = Operation))
)]
async fn clear(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    headers: HeaderMap,
    Path(key_id): Path<i64>,
) -> Result<Response, Problem> {
    let (operation, created) = clear_if_ready(&app, &asker(caller, request_id, &headers)?, key_id).await?;
    answer(&app, operation, created).await
}

/// Has a worker clear a key whose gate is open; whether the same request did not do so before.
pub(crate) async fn clear_if_ready(
    app: &App,
    asker: &operations::Caller,
    key_id: i64,
) -> Result<(rows::Model, bool), Problem> {
    let (db, ask) = (app.ledger().db(), Ask::Clear { key_id });
    // The first answer stands, also when the key is held by now.
    if let Some(operation) = operations::find(db, &ask, asker).await.map_err(problem)? {
        return Ok((operation, false));
    }
    if let Clearing::InUse(in_use) = clearing::ask(db, key_id).await.map_err(problem)? {
        let conditions: Vec<_> = in_use.unmet.into_iter().map(tell::condition).collect();
        let problem = Problem::new(409, "key_in_use", in_use.message).with("conditions", conditions);
        return Err(match in_use.rotation_id {
            Some(id) => problem.with("rotation_id", id),
            None => problem,
        });
    }
    write_down(app, &ask, asker).await
}
