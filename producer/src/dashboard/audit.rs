//! Audit: who did what when, before and after, and whether the chain holds.

use super::{
    assets,
    frame::{Frame, page},
    numbers,
};
use crate::http::{App, Caller, Paging, page as cut, problem};
use askama::Template;
use axum::{extract::State, response::Response};
use reseal_entities::{
    audit,
    ledger::{
        audit::{Verdict, verify},
        pages::{self, Audit},
    },
};
use reseal_http::{Problem, Query};
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    actor: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    subject: String,
    /// Reads the whole chain, which takes its time.
    #[serde(default)]
    verify: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    which: Which,
    found: Vec<audit::Model>,
    verdict: Option<Verdict>,
    next: Option<String>,
}

pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
) -> Result<Response, Problem> {
    let db = app.ledger().db();
    let (limit, before) = paging.read()?;
    let wanted = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = Audit { actor: wanted(&which.actor), action: wanted(&which.action), subject: wanted(&which.subject) };
    let found = pages::audit(db, &filter, before, limit + 1).await.map_err(problem)?;
    let found = cut(found, limit, |e| e.seq, |e| e);
    let verdict = match which.verify.is_empty() {
        true => None,
        false => Some(verify(db).await.map_err(problem)?),
    };
    let frame = Frame::new(&caller, "/audit", String::new()).still();
    Ok(page(&Page { frame, which, found: found.items, verdict, next: found.next_cursor }, None))
}
