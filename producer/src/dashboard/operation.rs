//! An operation: what was asked for, and what came of it. Of a dry run its numbers, and the button that starts the rotation.

use super::{
    assets,
    form::fresh_key,
    frame::{Frame, page},
    numbers,
    ticked::ticked,
    tone::Tone,
};
use crate::http::{App, Caller, problem};
use askama::Template;
use axum::{extract::State, response::Response};
use reseal_entities::{
    ledger::{
        operations::{self, OperationStatus},
        presence,
    },
    operations::OperationKind,
    state::OperationState,
};
use reseal_http::{Path, Problem};
use serde::Deserialize;

/// What a worker found that tried a rotation in small. Fields that an older worker does not write are empty.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct DryRun {
    algorithm: String,
    tables: Vec<Forecast>,
    seconds: [f64; 2],
    writer_ttl_seconds: f64,
    clear_after_seconds: Option<f64>,
    unregistered: Vec<Unregistered>,
    locks: Vec<String>,
    problems: Vec<String>,
    warnings: Vec<String>,
    notes: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Forecast {
    table: String,
    rows: i64,
    batches: i64,
    bytes: i64,
    unreadable_rows: i64,
    seconds: [f64; 2],
    growth_bytes: i64,
    wal_bytes: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Unregistered {
    column: String,
    cells: i64,
}

#[derive(Template)]
#[template(path = "operation.html")]
struct Page {
    frame: Frame,
    operation: OperationStatus,
    workers: usize,
    dry_run: Option<DryRun>,
    key: String,
}

impl Page {
    fn title(&self) -> &'static str {
        match self.operation.kind {
            OperationKind::DryRun => "Dry run",
            OperationKind::Census => "Census",
            OperationKind::Clear => "Clearing",
            OperationKind::Retry => "Retry",
            OperationKind::Split => "Split",
        }
    }

    /// Rows that a retry has looked at again.
    fn rows(&self) -> Option<i64> {
        let found = self.operation.result.as_ref().filter(|_| self.operation.kind == OperationKind::Retry)?;
        found.get("rows")?.as_i64()
    }

    fn goes_on(&self) -> bool {
        matches!(self.operation.state, OperationState::Requested | OperationState::Running)
    }

    /// The key that a dry run was asked to promote.
    fn to_key(&self) -> String {
        self.operation.key_id.map(|id| id.to_string()).unwrap_or_default()
    }
}

/// A range of seconds in words.
fn between(seconds: &[f64; 2]) -> String {
    let [from, to] = seconds.map(|s| numbers::duration(milliseconds(&s)));
    if from == to { from } else { format!("{from} to {to}") }
}

#[expect(clippy::cast_possible_truncation, reason = "a forecast of more milliseconds than that is as good as none")]
fn milliseconds(seconds: &f64) -> i64 {
    (seconds.max(0.0) * 1000.0) as i64
}

pub(super) async fn show(State(app): State<App>, caller: Caller, Path(id): Path<i64>) -> Result<Response, Problem> {
    let db = app.ledger().db();
    let workers = presence::alive(db).await.map_err(problem)?.len();
    let operation = OperationStatus::of(operations::get(db, id).await.map_err(problem)?, workers);
    let found = operation.result.clone().filter(|_| operation.kind == OperationKind::DryRun);
    let dry_run = found.and_then(|json| serde_json::from_value(json).ok());
    let here =
        if matches!(operation.kind, OperationKind::Census | OperationKind::Clear) { "/keys" } else { "/rotations" };
    let frame = Frame::new(&caller, here, format!("/operations/{id}"));
    let mut page_of = Page { frame, operation, workers, dry_run, key: fresh_key() };
    if !page_of.goes_on() {
        page_of.frame = page_of.frame.still();
    }
    Ok(page(&page_of, None))
}
