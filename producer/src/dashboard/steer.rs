//! What an operator presses on a rotation's page. Done by the API's own functions; what they refuse is said above how
//! the rotation stands now.

use super::{
    form::{self, Why, parsed},
    frame::to,
    rotation,
};
use crate::{
    api::{Limits, Reason, RotationDetail},
    http::{App, Caller, steering},
};
use axum::{extract::State, response::Response};
use reseal_entities::ledger::hold;
use reseal_http::{Form, Json, Path, Problem};
use serde::Deserialize;

type Asked = (State<App>, Caller, Path<i64>);

pub(super) async fn pause((app, caller, id): Asked, Form(why): Form<Why>) -> Result<Response, Problem> {
    let done = steering::pause(app.clone(), caller.clone(), Path(id.0), Json(Reason { reason: why.reason })).await;
    answer((app, caller, id), done, "pause").await
}

pub(super) async fn resume((app, caller, id): Asked) -> Result<Response, Problem> {
    let done = steering::resume(app.clone(), caller.clone(), Path(id.0)).await;
    answer((app, caller, id), done, "resume").await
}

pub(super) async fn cancel((app, caller, id): Asked, Form(why): Form<Why>) -> Result<Response, Problem> {
    let done = steering::cancel_it(app.clone(), caller.clone(), Path(id.0), Json(Reason { reason: why.reason })).await;
    answer((app, caller, id), done, "cancel").await
}

pub(super) async fn roll_back((app, caller, id): Asked, Form(why): Form<Why>) -> Result<Response, Problem> {
    let done = steering::roll_back(app.clone(), caller.clone(), Path(id.0), Json(Reason { reason: why.reason })).await;
    answer((app, caller, id), done, "rollback").await
}

pub(super) async fn approve((app, caller, id): Asked) -> Result<Response, Problem> {
    let done = steering::approve_it(app.clone(), caller.clone(), Path(id.0)).await;
    answer((app, caller, id), done, "approve").await
}

/// Empty is no limit.
#[derive(Deserialize)]
pub(super) struct NewLimits {
    #[serde(default, deserialize_with = "parsed")]
    rows_per_second: Option<i64>,
    #[serde(default, deserialize_with = "parsed")]
    lanes: Option<i32>,
    #[serde(default, deserialize_with = "parsed")]
    batches: Option<i32>,
}

pub(super) async fn limit((app, caller, id): Asked, Form(new): Form<NewLimits>) -> Result<Response, Problem> {
    let limits = Limits { rows_per_second: new.rows_per_second, lanes: new.lanes, batches: new.batches };
    match steering::limit(app.clone(), caller.clone(), Path(id.0), Json(limits)).await {
        Ok(_) => Ok(to(&format!("/rotations/{}", id.0), "limits")),
        Err(problem) => rotation::render(&app, &caller, id.0, rotation::Said::Refused(problem)).await,
    }
}

/// What was found out about a use of a key, and which use that was.
#[derive(Deserialize)]
pub(super) struct Looked {
    #[serde(default, deserialize_with = "form::some")]
    reason: Option<String>,
    #[serde(default, deserialize_with = "parsed")]
    held_at: Option<i64>,
}

pub(super) async fn dismiss((app, caller, id): Asked, Form(looked): Form<Looked>) -> Result<Response, Problem> {
    let done = async {
        let note = form::required(looked.reason, "note", "say what was found out about the use of the key")?;
        let txn = steering::begin(&app).await?;
        hold::dismiss(&txn, &caller.actor, id.0, &note, looked.held_at).await.map_err(crate::http::problem)?;
        steering::commit(txn).await
    };
    match done.await {
        Ok(()) => Ok(to(&format!("/rotations/{}", id.0), "dismiss")),
        Err(problem) => rotation::render(&app, &caller, id.0, rotation::Said::Refused(problem)).await,
    }
}

async fn answer(
    (State(app), caller, Path(id)): Asked,
    done: Result<Json<RotationDetail>, Problem>,
    what: &str,
) -> Result<Response, Problem> {
    match done {
        Ok(Json(now)) => Ok(to(&format!("/rotations/{}", now.rotation.id), what)),
        Err(problem) if problem.status == 404 => Err(problem),
        Err(problem) => rotation::render(&app, &caller, id, rotation::Said::Refused(problem)).await,
    }
}
