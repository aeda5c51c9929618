//! Workers: who works, and asking one to leave.

use super::{
    assets,
    frame::{Done, Frame, page, to},
    numbers,
};
use crate::http::{App, Caller, problem, steering};
use askama::Template;
use axum::{extract::State, response::Response};
use reseal_entities::{
    ledger::{
        now_ms,
        presence::{self, Remembered},
    },
    workers,
};
use reseal_http::{Path, Problem, Query};

#[derive(Template)]
#[template(path = "workers.html")]
struct Page {
    frame: Frame,
    found: Vec<Remembered>,
    alive: usize,
    now: i64,
}

fn tone(standing: &str) -> &'static str {
    match standing {
        "running" => "ok",
        "lost" => "bad",
        "stopped" => "",
        _ => "warn",
    }
}

fn keys(worker: &workers::Model) -> String {
    worker.loaded().iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Query(done): Query<Done>,
) -> Result<Response, Problem> {
    let db = app.ledger().db();
    let mut found = presence::remembered(db).await.map_err(problem)?;
    let now = now_ms(db).await.map_err(|e| problem(e.into()))?;
    let alive = found.iter().filter(|worker| !worker.has_ended()).count();
    found.sort_by_key(Remembered::has_ended);
    let frame = Frame::new(&caller, "/workers", "/workers".to_owned()).done(&done);
    Ok(page(&Page { frame, found, alive, now }, None))
}

pub(super) async fn drain(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let txn = steering::begin(&app).await?;
    presence::ask_to_drain(&txn, &caller.actor, Some(&name)).await.map_err(problem)?;
    steering::commit(txn).await?;
    Ok(to("/workers", "drain"))
}
