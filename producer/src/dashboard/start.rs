//! Starting a rotation: first what it would do, then doing it.

use super::{
    assets,
    form::{fresh_key, parsed, some},
    frame::{Frame, page, to},
};
use crate::{
    api::NewRotation,
    http::{App, Caller, create_rotation, operations_asker, problem, request_operation},
};
use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use reseal_entities::{
    ledger::{
        keys as ledger_keys,
        operations::Ask,
        pages::{self, Rotations},
        presence,
    },
    state::KeyState,
};
use reseal_http::{Form, Problem, RequestId};
use serde::Deserialize;

/// A keyset that can be rotated.
struct Choice {
    keyset: String,
    active: Option<i64>,
    /// Keys that were published to applications and can be promoted.
    next: Vec<i64>,
    /// A rotation of it that is open.
    open: Option<i64>,
}

#[derive(Template)]
#[template(path = "start.html")]
struct Page {
    frame: Frame,
    choices: Vec<Choice>,
    workers: usize,
    key: String,
}

pub(super) async fn choose(State(app): State<App>, caller: Caller) -> Result<Response, Problem> {
    let db = app.ledger().db();
    let open = Rotations { open: Some(true), ..Rotations::default() };
    let open = pages::rotations(db, &open, None, 1_000).await.map_err(problem)?;
    let mut choices: Vec<Choice> = Vec::new();
    for key in ledger_keys::all(db).await.map_err(problem)? {
        if choices.last().is_none_or(|c| c.keyset != key.keyset) {
            let open = open.iter().find(|r| r.keyset == key.keyset).map(|r| r.id);
            choices.push(Choice { keyset: key.keyset.clone(), active: None, next: Vec::new(), open });
        }
        let Some(choice) = choices.last_mut() else { continue };
        match key.state {
            KeyState::Active => choice.active = Some(key.key_id),
            KeyState::PreActive => choice.next.push(key.key_id),
            KeyState::Deactivated | KeyState::Suspended | KeyState::Destroyed => {}
        }
    }
    let workers = presence::alive(db).await.map_err(problem)?.len();
    let frame = Frame::new(&caller, "/rotations", "/rotations/new".to_owned()).still();
    Ok(page(&Page { frame, choices, workers, key: fresh_key() }, None))
}

/// What to rotate.
#[derive(Deserialize)]
pub(super) struct Wanted {
    keyset: String,
    #[serde(default, deserialize_with = "parsed")]
    to_key_id: Option<u32>,
    #[serde(default, deserialize_with = "some")]
    reason: Option<String>,
    #[serde(default, deserialize_with = "some")]
    clear_after: Option<String>,
    /// Sent twice, it is done once.
    #[serde(default, deserialize_with = "some")]
    key: Option<String>,
}

/// Asks a worker what it would do, and shows that.
pub(super) async fn dry_run(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    Form(wanted): Form<Wanted>,
) -> Result<Response, Problem> {
    let asker = operations_asker(&caller, request_id, wanted.key);
    let ask = Ask::DryRun { keyset: wanted.keyset, to_key_id: wanted.to_key_id.map(i64::from) };
    let (operation, _) = request_operation(&app, &ask, &asker).await?;
    Ok(Redirect::to(&format!("/operations/{}", operation.id)).into_response())
}

/// Starts it.
pub(super) async fn start(
    State(app): State<App>,
    caller: Caller,
    Form(wanted): Form<Wanted>,
) -> Result<Response, Problem> {
    let new = NewRotation {
        keyset: wanted.keyset,
        to_key_id: wanted.to_key_id,
        reason: wanted.reason,
        clear_after: wanted.clear_after,
        limits: None,
    };
    let (id, _) = create_rotation(&app, caller, wanted.key, new).await?;
    Ok(to(&format!("/rotations/{id}"), "start"))
}
