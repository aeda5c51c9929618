//! Quarantine: rows that could not be re-encrypted. Never a plaintext; of a cell its length and the key that it names.

use super::{
    assets,
    form::{self, Why},
    frame::{Done, Frame, page, to},
    numbers,
};
use crate::http::{App, Caller, Paging, page as cut, problem, steering, word};
use askama::Template;
use axum::{extract::State, response::Response};
use reseal_entities::{
    ledger::{
        pages, quarantine as ledger_quarantine,
        read::{self, RotationStatus},
    },
    quarantine::{self, QuarantineState},
};
use reseal_http::{Form, Path, Problem, Query};
use sea_orm::EntityTrait;
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Which {
    state: Option<String>,
}

#[derive(Template)]
#[template(path = "quarantine.html")]
struct Page {
    frame: Frame,
    status: RotationStatus,
    state: String,
    found: Vec<(quarantine::Model, String)>,
    next: Option<String>,
    first: bool,
}

fn unresolved(row: &quarantine::Model) -> bool {
    QuarantineState::UNRESOLVED.contains(&row.state)
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
    Query(done): Query<Done>,
) -> Result<Response, Problem> {
    let db = app.ledger().db();
    let (limit, before) = paging.read()?;
    let status = read::status(db, id).await.map_err(problem)?;
    let wanted = which.state.as_deref().filter(|state| !state.is_empty());
    let wanted = wanted.map(|state| word(&state, "state")).transpose()?;
    let found = pages::quarantine(db, id, wanted, before, limit + 1).await.map_err(problem)?;
    let found = cut(found, limit, |(q, _)| q.id, |found| found);
    let state = which.state.unwrap_or_default();
    let frame = Frame::new(&caller, "/rotations", format!("/rotations/{id}/quarantine?state={state}")).done(&done);
    let frame = if before.is_some() { frame.still() } else { frame };
    let first = before.is_none();
    Ok(page(&Page { frame, status, state, found: found.items, next: found.next_cursor, first }, None))
}

/// Marks a row as resolved. A row that is still wrong is found again by the sweep before the proof.
pub(super) async fn resolve(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    Form(why): Form<Why>,
) -> Result<Response, Problem> {
    let note = form::required(why.reason, "note", "say what was done about the row")?;
    let txn = steering::begin(&app).await?;
    let row = quarantine::Entity::find_by_id(id).one(&txn).await.map_err(|e| problem(e.into()))?;
    let row = row.ok_or_else(|| Problem::new(404, "unknown_row", format!("there is no quarantined row {id}")))?;
    let resolved = QuarantineState::Resolved;
    let done = ledger_quarantine::resolve_if_unresolved(&txn, &caller.actor, &row, resolved, Some(&note)).await;
    if !done.map_err(problem)? {
        let detail = format!("quarantined row {id} is {} by now", state_word(&row).1);
        return Err(Problem::new(409, "row_resolved", detail));
    }
    steering::commit(txn).await?;
    Ok(to(&format!("/rotations/{}/quarantine", row.rotation_id), "resolve"))
}
