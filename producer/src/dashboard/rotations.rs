//! Rotations: all there are or were.

use super::{
    assets,
    frame::{Done, Frame, page},
    numbers,
    tone::Tone,
};
use crate::http::{App, Caller, Paging, page as cut, problem, word};
use askama::Template;
use axum::{extract::State, response::Response};
use reseal_entities::{
    ledger::pages::{self, Rotations},
    rotations,
};
use reseal_http::{Problem, Query};
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Which {
    state: Option<String>,
}

#[derive(Template)]
#[template(path = "rotations.html")]
struct Page {
    frame: Frame,
    state: String,
    found: Vec<rotations::Model>,
    next: Option<String>,
    first: bool,
}

pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
    Query(done): Query<Done>,
) -> Result<Response, Problem> {
    let (limit, before) = paging.read()?;
    let wanted = match which.state.as_deref() {
        None | Some("") => Rotations::default(),
        Some("open") => Rotations { open: Some(true), ..Rotations::default() },
        Some(state) => Rotations { state: Some(word(&state, "state")?), ..Rotations::default() },
    };
    let found = pages::rotations(app.ledger().db(), &wanted, before, limit + 1).await.map_err(problem)?;
    let found = cut(found, limit, |r| r.id, |r| r);
    let state = which.state.unwrap_or_default();
    let path = format!("/rotations?state={state}");
    let frame = Frame::new(&caller, "/rotations", path).done(&done);
    let frame = if before.is_some() { frame.still() } else { frame };
    let page_of = Page { frame, state, found: found.items, next: found.next_cursor, first: before.is_none() };
    Ok(page(&page_of, None))
}
