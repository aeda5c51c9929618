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
use reseal_entities::ledger::{approve, hold, steps, throttle};
use reseal_http::{Form, Json, Path, Problem};
use serde::Deserialize;

type Asked = (State<App>, Caller, Path<i64>);

pub(super) async fn pause((app, caller, id): Asked, Form(why): Form<Why>) -> Result<Response, Problem> {
    let done = steering::pause(app.clone(), caller.clone(), Path(id.0), Json(Reason { reason: why.reason })).await;
    answer((app, caller, id), done, "pause").await
}

/// Which pause was on the page, by its time.
#[derive(Deserialize)]
pub(super) struct Pause {
    #[serde(default, deserialize_with = "parsed")]
    paused_at: Option<i64>,
}

pub(super) async fn resume((app, caller, id): Asked, Form(pause): Form<Pause>) -> Result<Response, Problem> {
    let done = async {
        let txn = steering::begin(&app).await?;
        let seen = pause.paused_at.unwrap_or_default();
        steps::resume_if_seen(&txn, id.0, &caller.actor, seen).await.map_err(crate::http::problem)?;
        steering::commit(txn).await
    };
    told(done.await, (app.clone(), caller.clone(), Path(id.0)), "resume").await
}

pub(super) async fn cancel((app, caller, id): Asked, Form(why): Form<Why>) -> Result<Response, Problem> {
    let done = steering::cancel_it(app.clone(), caller.clone(), Path(id.0), Json(Reason { reason: why.reason })).await;
    answer((app, caller, id), done, "cancel").await
}

pub(super) async fn roll_back((app, caller, id): Asked, Form(why): Form<Why>) -> Result<Response, Problem> {
    let done = steering::roll_back(app.clone(), caller.clone(), Path(id.0), Json(Reason { reason: why.reason })).await;
    answer((app, caller, id), done, "rollback").await
}

/// Which proof was on the page, by its time; empty where there was none.
#[derive(Deserialize)]
pub(super) struct Proof {
    #[serde(default, deserialize_with = "parsed")]
    proved_at: Option<i64>,
}

pub(super) async fn approve((app, caller, id): Asked, Form(proof): Form<Proof>) -> Result<Response, Problem> {
    let done = async {
        // Who has seen none has not seen the one that stands now.
        let seen = Some(proof.proved_at.unwrap_or_default());
        let txn = steering::begin(&app).await?;
        approve::approve(&txn, &caller.actor, id.0, seen).await.map_err(crate::http::problem)?;
        steering::commit(txn).await
    };
    told(done.await, (app.clone(), caller.clone(), Path(id.0)), "approve").await
}

/// The API's fields, and what the page calls them.
const LABELS: [(&str, &str); 3] = [
    ("/rows_per_second", "Rows per second"),
    ("/lanes", "Batches in hand at once (lanes)"),
    ("/batches", "Batches in the queue or in hand"),
];

fn labelled(mut problem: Problem) -> Problem {
    for (field, label) in LABELS {
        problem.detail = problem.detail.replace(field, label);
    }
    problem
}

/// Empty is no limit. With what the page said of them before.
#[derive(Deserialize)]
pub(super) struct NewLimits {
    #[serde(default, deserialize_with = "form::some")]
    rows_per_second: Option<String>,
    #[serde(default, deserialize_with = "form::some")]
    lanes: Option<String>,
    #[serde(default, deserialize_with = "form::some")]
    batches: Option<String>,
    #[serde(default, deserialize_with = "parsed")]
    seen_rows_per_second: Option<i64>,
    #[serde(default, deserialize_with = "parsed")]
    seen_lanes: Option<i32>,
    #[serde(default, deserialize_with = "parsed")]
    seen_batches: Option<i32>,
}

pub(super) async fn limit((app, caller, id): Asked, Form(new): Form<NewLimits>) -> Result<Response, Problem> {
    let done = async {
        let wanted = Limits {
            rows_per_second: form::number(new.rows_per_second, LABELS[0].1)?,
            lanes: form::number(new.lanes, LABELS[1].1)?,
            batches: form::number(new.batches, LABELS[2].1)?,
        };
        let wanted = steering::checked(wanted).map_err(labelled)?;
        let seen = throttle::Limits {
            rows_per_second: new.seen_rows_per_second,
            lanes: new.seen_lanes,
            batches: new.seen_batches,
        };
        let txn = steering::begin(&app).await?;
        throttle::limit_if_seen(&txn, id.0, &caller.actor, seen, wanted).await.map_err(crate::http::problem)?;
        steering::commit(txn).await
    };
    told(done.await, (app.clone(), caller.clone(), Path(id.0)), "limits").await
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
        if looked.held_at.is_none() {
            return Err(Problem::invalid(
                "held_at",
                "the form does not say which hold was looked at: load the page anew",
            ));
        }
        let txn = steering::begin(&app).await?;
        hold::dismiss(&txn, &caller.actor, id.0, &note, looked.held_at).await.map_err(crate::http::problem)?;
        steering::commit(txn).await
    };
    told(done.await, (app.clone(), caller.clone(), Path(id.0)), "dismiss").await
}

async fn told(
    done: Result<(), Problem>,
    (State(app), caller, Path(id)): Asked,
    what: &str,
) -> Result<Response, Problem> {
    match done {
        Ok(()) => Ok(to(&format!("/rotations/{id}"), what)),
        Err(problem) => rotation::render(&app, &caller, id, rotation::Said::Refused(problem)).await,
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
