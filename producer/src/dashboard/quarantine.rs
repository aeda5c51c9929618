//! Quarantine: rows that could not be re-encrypted. Never a plaintext; of a cell its length and the key that it names.

use super::{
    assets,
    form::parsed,
    frame::{Frame, page},
    numbers,
};
use crate::http::{App, Caller, Paging, page as cut, problem, word};
use askama::Template;
use axum::{extract::State, response::Response};
use reseal_entities::{
    ledger::{
        pages,
        read::{self, RotationStatus},
    },
    quarantine::{self, QuarantineState},
};
use reseal_http::{Path, Problem, Query};
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Which {
    state: Option<String>,
    #[serde(default, deserialize_with = "parsed")]
    batch: Option<i64>,
}

#[derive(Template)]
#[template(path = "quarantine.html")]
struct Page {
    frame: Frame,
    status: RotationStatus,
    state: String,
    batch: Option<i64>,
    found: Vec<(quarantine::Model, String)>,
    next: Option<String>,
    first: bool,
}

fn state_word(row: &quarantine::Model) -> (&'static str, &'static str) {
    match row.state {
        QuarantineState::Open => ("bad", "open"),
        QuarantineState::Retrying => ("run", "retrying"),
        QuarantineState::Resolved => ("ok", "resolved"),
        QuarantineState::Abandoned => ("", "abandoned"),
    }
}

pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
) -> Result<Response, Problem> {
    let db = app.ledger().db();
    let (limit, before) = paging.read()?;
    let status = read::status(db, id).await.map_err(problem)?;
    let wanted = which.state.as_deref().filter(|state| !state.is_empty());
    let wanted = wanted.map(|state| word(&state, "state")).transpose()?;
    let found = pages::quarantine(db, id, wanted, which.batch, before, limit + 1).await.map_err(problem)?;
    let found = cut(found, limit, |(q, _)| q.id, |found| found);
    let state = which.state.unwrap_or_default();
    let frame = Frame::new(
        &caller,
        "/rotations",
        format!("/rotations/{id}/quarantine?state={state}&batch={}", numbers::field(&which.batch)),
    );
    let frame = if before.is_some() { frame.still() } else { frame };
    let first = before.is_none();
    Ok(page(
        &Page { frame, status, state, batch: which.batch, found: found.items, next: found.next_cursor, first },
        None,
    ))
}
