//! A key: what promoted it, what retires it, and the gate before it is cleared.

use super::{
    assets, due,
    form::{fresh_key, some},
    frame::{Frame, page},
    numbers,
    ticked::ticked,
    tone::Tone,
};
use crate::http::{App, Caller, clear_key, operations_asker, problem};
use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use reseal_entities::{
    keys,
    ledger::{
        now_ms, presence,
        read::{self, RotationStatus},
    },
};
use reseal_http::{Form, Path, Problem, RequestId};
use serde::Deserialize;
use std::time::Duration;

#[derive(Template)]
#[template(path = "key.html")]
struct Page {
    frame: Frame,
    key: keys::Model,
    promoted_by: Option<i64>,
    retired_by: Option<RotationStatus>,
    loaded_by: Vec<String>,
    once: String,
    now: i64,
    cryptoperiod: Option<Duration>,
}

impl Page {
    fn gate_is_open(&self) -> bool {
        self.retired_by.as_ref().is_some_and(|r| !r.gate.is_empty() && r.gate.iter().all(|c| c.met))
    }
}

pub(super) async fn show(State(app): State<App>, caller: Caller, Path(id): Path<i64>) -> Result<Response, Problem> {
    render(&app, &caller, id, None).await
}

async fn render(app: &App, caller: &Caller, id: i64, refused: Option<Problem>) -> Result<Response, Problem> {
    let db = app.ledger().db();
    let key = read::key(db, id).await.map_err(problem)?;
    let promoted_by = read::promoting(db, id).await.map_err(problem)?.map(|r| r.id);
    let retired_by = match read::retiring(db, &key).await.map_err(problem)? {
        Some(rotation) => Some(read::status(db, rotation).await.map_err(problem)?),
        None => None,
    };
    let alive = presence::alive(db).await.map_err(problem)?;
    let loaded_by = alive.into_iter().filter(|w| w.loaded().contains(&id)).map(|w| w.name).collect();
    let now = now_ms(db).await.map_err(|e| problem(e.into()))?;
    let cryptoperiod = app.settings().cryptoperiod;
    let frame = Frame::new(caller, "/keys", format!("/keys/{id}")).refusing(refused.as_ref());
    Ok(page(
        &Page { frame, key, promoted_by, retired_by, loaded_by, once: fresh_key(), now, cryptoperiod },
        refused.as_ref(),
    ))
}

/// What somebody typed who wants a key cleared.
#[derive(Deserialize)]
pub(super) struct Typed {
    #[serde(default, deserialize_with = "some")]
    typed: Option<String>,
    #[serde(default, deserialize_with = "some")]
    key: Option<String>,
}

/// Asks for the clearing: only with the key's own id typed, and only when its gate is open.
pub(super) async fn clear(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    Path(id): Path<i64>,
    Form(typed): Form<Typed>,
) -> Result<Response, Problem> {
    if typed.typed.as_deref() != Some(id.to_string().as_str()) {
        let problem = Problem::invalid("typed", format!("type the id of the key to clear, {id}; nothing was done"));
        return render(&app, &caller, id, Some(problem)).await;
    }
    let asker = operations_asker(&caller, request_id, typed.key);
    match clear_key(&app, &asker, id).await {
        Ok((operation, _)) => Ok(Redirect::to(&format!("/operations/{}", operation.id)).into_response()),
        Err(problem) => render(&app, &caller, id, Some(problem)).await,
    }
}
