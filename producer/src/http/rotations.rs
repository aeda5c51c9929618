//! Rotations: asking for one, and how they stand.

use super::{
    App,
    auth::Caller,
    idempotency::{IdempotencyKey, idempotency_key, mark_replayed},
    paging::{Paging, page},
    problem::problem,
    steering::checked_at,
    tell,
};
use crate::{
    api::{self, NewRotation, Page, Rotation, RotationDetail},
    enqueue,
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use reseal_entities::{
    ledger::{
        open::{Opened, Request},
        pages, read,
    },
    rotations,
    state::RotationState,
};
use reseal_http::{Json, Path, Problem, Query};
use sea_orm::ActiveEnum;
use serde::Deserialize;
use std::time::Duration;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) const REASON_MAX: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show))
}

/// Asks for a rotation
///
/// The rotation is written down before this answers. The same `Idempotency-Key` with the same request gives the first answer again,
/// with `idempotency-replayed: true`; while a rotation of the keyset is open, another request is `409 rotation_open` with its id.
#[utoipa::path(
    post, path = "/v1/rotations", tag = "rotations", operation_id = "createRotation",
    params(IdempotencyKey),
    request_body = NewRotation,
    responses((status = 201, description = "It begins", body = Rotation, headers(("location" = String))))
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Json(new): Json<NewRotation>,
) -> Result<Response, Problem> {
    let (id, replayed) = open(&app, caller, idempotency_key(&headers)?, new).await?;
    let rotation = brief(&app, read::rotation(app.ledger().db(), id).await.map_err(problem)?).await?;
    let mut response = (StatusCode::CREATED, Json(rotation)).into_response();
    let headers = response.headers_mut();
    headers.extend(HeaderValue::from_str(&format!("/v1/rotations/{id}")).ok().map(|at| (header::LOCATION, at)));
    if replayed {
        mark_replayed(headers);
    }
    Ok(response)
}

/// Writes a rotation down and rings; its id, and whether the same request made it before.
pub(crate) async fn open(
    app: &App,
    caller: Caller,
    idempotency_key: Option<String>,
    new: NewRotation,
) -> Result<(i64, bool), Problem> {
    let request = request(app, caller, idempotency_key, new)?;
    match enqueue(app.ledger(), app.bell(), &request).await.map_err(problem)? {
        Opened::Created(id) => Ok((id, false)),
        Opened::Replayed(id) => Ok((id, true)),
        Opened::AlreadyOpen(id) => {
            let detail =
                format!("rotation {id} of keyset `{}` is open: follow that one, or end it first", request.keyset);
            Err(Problem::new(409, "rotation_open", detail).with("rotation_id", id))
        }
    }
}

fn request(app: &App, caller: Caller, idempotency_key: Option<String>, new: NewRotation) -> Result<Request, Problem> {
    if !(1..=64).contains(&new.keyset.chars().count()) {
        return Err(Problem::invalid("/keyset", "not 1 to 64 characters"));
    }
    let rules = app.settings().rules;
    let asked = new.clear_after.as_deref().map(length).transpose()?;
    let clear_after = match (asked, rules.clear_after) {
        (Some(asked), Some(shortest)) if asked < shortest => {
            let shortest = humantime::format_duration(shortest);
            let detail = format!(
                "clear_after is shorter than the server's rotation.clear_after ({shortest}): a request may only lengthen it"
            );
            return Err(Problem::new(409, "clear_after_shortened", detail));
        }
        (Some(asked), _) => asked,
        (None, Some(configured)) => configured,
        (None, None) => {
            let detail = "the server has no rotation.clear_after: say in clear_after how long to wait between proof and clearing";
            return Err(Problem::new(409, "clear_after_missing", detail));
        }
    };
    let ms = |length: Duration| i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    Ok(Request {
        keyset: new.keyset,
        to_key_id: new.to_key_id.map(i64::from),
        actor: caller.actor,
        reason: reason(new.reason)?,
        idempotency_key,
        clear_after_ms: ms(clear_after),
        writer_ttl_ms: ms(rules.writer_ttl),
        batch_rows: i32::try_from(rules.batch_rows).unwrap_or(i32::MAX),
        needs_approval: rules.two_person,
        limits: checked_at("/limits", new.limits.unwrap_or_default())?,
    })
}

/// A number of up to five digits and its unit.
fn length(text: &str) -> Result<Duration, Problem> {
    let wrong =
        || Problem::invalid("/clear_after", "not a number of up to five digits and one of s, m, h, d, w, such as `7d`");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = matches!(&text[digits..], "s" | "m" | "h" | "d" | "w");
    if !unit || !(1..=5).contains(&digits) {
        return Err(wrong());
    }
    humantime::parse_duration(text).map_err(|_| wrong())
}

/// At most a thousand characters.
pub(super) fn reason(reason: Option<String>) -> Result<Option<String>, Problem> {
    match reason {
        Some(text) if text.chars().count() > REASON_MAX => {
            Err(Problem::invalid("/reason", format!("longer than {REASON_MAX} characters")))
        }
        reason => Ok(reason),
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Of this keyset.
    keyset: Option<String>,
    /// In this state.
    #[param(inline)]
    state: Option<api::RotationState>,
    /// Only those that have not ended, or only those that have.
    open: Option<bool>,
}

/// Lists rotations, newest first
#[utoipa::path(
    get, path = "/v1/rotations", tag = "rotations", operation_id = "listRotations", params(Which, Paging),
    responses((status = 200, description = "A page", body = Page<Rotation>))
)]
async fn list(
    State(app): State<App>,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Rotation>>, Problem> {
    let (limit, before) = paging.read()?;
    let state = which.state.map(|state| word(&state, "state")).transpose()?;
    let which = pages::Rotations { keyset: which.keyset, state, open: which.open };
    let found = pages::rotations(app.ledger().db(), &which, before, limit + 1).await.map_err(problem)?;
    let found = page(found, limit, |r| r.id, |r| r);
    let mut items = Vec::with_capacity(found.items.len());
    for rotation in found.items {
        items.push(brief(&app, rotation).await?);
    }
    Ok(Json(Page { items, next_cursor: found.next_cursor }))
}

/// A state of the API as the ledger calls it; one that this server does not know is refused.
pub(crate) fn word<L: ActiveEnum<Value = String>>(state: &impl serde::Serialize, name: &str) -> Result<L, Problem> {
    let text = serde_json::to_value(state).unwrap_or_default();
    let known = text.as_str().and_then(|text| L::try_from_value(&text.to_owned()).ok());
    known.ok_or_else(|| Problem::invalid(name, "not a state that there is"))
}

async fn brief(app: &App, rotation: rotations::Model) -> Result<Rotation, Problem> {
    let ended =
        matches!(rotation.state, RotationState::Completed | RotationState::Cancelled | RotationState::RolledBack);
    let status = match ended {
        true => None,
        false => Some(read::status(app.ledger().db(), rotation.id).await.map_err(problem)?),
    };
    Ok(tell::rotation(rotation, status.as_ref()))
}

/// Shows a rotation in full
#[utoipa::path(
    get, path = "/v1/rotations/{id}", tag = "rotations", operation_id = "getRotation",
    params(("id" = i64, Path)),
    responses((status = 200, description = "As it stands", body = RotationDetail))
)]
async fn show(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<RotationDetail>, Problem> {
    Ok(Json(detail(&app, id).await?))
}

/// A rotation as it stands.
pub(super) async fn detail(app: &App, id: i64) -> Result<RotationDetail, Problem> {
    let db = app.ledger().db();
    let rotation = read::rotation(db, id).await.map_err(problem)?;
    Ok(tell::rotation_detail(rotation, read::status(db, id).await.map_err(problem)?))
}
