//! The batches of a rotation.

use super::{
    assets,
    frame::{Frame, page},
    numbers,
    tone::Tone,
};
use crate::http::{App, Caller, Paging, page as cut, problem, word};
use askama::Template;
use axum::{extract::State, response::Response};
use reseal_entities::{
    batches,
    ledger::{
        pages,
        read::{self, RotationStatus},
    },
};
use reseal_http::{Path, Problem, Query};
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Which {
    state: Option<String>,
}

#[derive(Template)]
#[template(path = "batches.html")]
struct Page {
    frame: Frame,
    status: RotationStatus,
    state: String,
    found: Vec<(batches::Model, String)>,
    next: Option<String>,
    first: bool,
}

impl Page {
    /// The states to choose from, each with its number.
    fn states(&self) -> Vec<(&str, i64)> {
        let counted = |state: &'static str| (state, self.status.batches.get(state).copied().unwrap_or(0));
        ["failed", "leased", "pending", "done", "superseded"].map(counted).to_vec()
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
    let (limit, after) = paging.read()?;
    let status = read::status(db, id).await.map_err(problem)?;
    let wanted = which.state.as_deref().filter(|state| !state.is_empty());
    let wanted = wanted.map(|state| word(&state, "state")).transpose()?;
    let found = pages::batches(db, id, wanted, after, limit + 1).await.map_err(problem)?;
    let found = cut(found, limit, |(b, _)| b.id, |found| found);
    let state = which.state.unwrap_or_default();
    let frame = Frame::new(&caller, "/rotations", format!("/rotations/{id}/batches?state={state}"));
    let frame = if after.is_some() { frame.still() } else { frame };
    let first = after.is_none();
    Ok(page(&Page { frame, status, state, found: found.items, next: found.next_cursor, first }, None))
}
