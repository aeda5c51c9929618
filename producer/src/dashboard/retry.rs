//! Doing what failed again: how much that would be, then doing it. The server does it, in one transaction with the
//! operation that says what became of it; a closed tab changes nothing.

use super::{
    assets,
    form::{fresh_key, parsed, some},
    frame::{Frame, page},
    numbers,
};
use crate::{
    api::{Retry, Split},
    http::{App, Caller, operations_asker, problem, retry_filter, retry_matching, split_matching},
};
use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use reseal_entities::ledger::{
    read::{self, RotationStatus},
    retry, split,
};
use reseal_http::{Form, Path, Problem, Query, RequestId};
use serde::Deserialize;

/// What to do again, as a form says it; nothing said is everything.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default, deserialize_with = "some")]
    code: Option<String>,
    #[serde(default, deserialize_with = "some")]
    table: Option<String>,
    #[serde(default, deserialize_with = "parsed")]
    batch: Option<i64>,
    /// `no`: only batches that failed.
    #[serde(default, deserialize_with = "some")]
    quarantined: Option<String>,
    /// Sent twice, it is done once.
    #[serde(default, deserialize_with = "some")]
    key: Option<String>,
}

impl Which {
    fn with_rows(&self) -> bool {
        self.quarantined.as_deref() != Some("no")
    }

    fn into_asked(self) -> Retry {
        let quarantined = Some(self.with_rows());
        Retry { batch_ids: self.batch.map(|id| vec![id]), code: self.code, table: self.table, quarantined }
    }

    fn into_split(self) -> Split {
        Split { batch_ids: self.batch.map(|id| vec![id]), code: self.code, table: self.table }
    }
}

#[derive(Template)]
#[template(path = "retry.html")]
struct Page {
    frame: Frame,
    status: RotationStatus,
    which: Which,
    batches: i64,
    rows: i64,
    /// Batches that would be split.
    parted: i64,
    key: String,
}

/// How much would be done again.
pub(super) async fn count(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let db = app.ledger().db();
    let status = read::status(db, id).await.map_err(problem)?;
    let filter = retry_filter(which.clone().into_asked());
    // Of one that has ended nothing is done again.
    let would = match status.completed_at {
        Some(_) => retry::Matching::default(),
        None => retry::count_matching(db, id, &filter).await.map_err(problem)?,
    };
    let parted = split::count_matching(db, id, &filter).await.map_err(problem)?;
    let [batches, rows, parted] = [would.batches, would.rows, parted].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let frame = Frame::new(&caller, "/rotations", String::new()).still();
    Ok(page(&Page { frame, status, which, batches, rows, parted, key: fresh_key() }, None))
}

pub(super) async fn retry(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    Path(id): Path<i64>,
    Form(which): Form<Which>,
) -> Result<Response, Problem> {
    let asker = operations_asker(&caller, request_id, which.key.clone());
    let (operation, _) = retry_matching(&app, &asker, id, which.into_asked()).await?;
    Ok(Redirect::to(&format!("/operations/{}", operation.id)).into_response())
}

pub(super) async fn split(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    Path(id): Path<i64>,
    Form(which): Form<Which>,
) -> Result<Response, Problem> {
    let asker = operations_asker(&caller, request_id, which.key.clone());
    let (operation, _) = split_matching(&app, &asker, id, which.into_split()).await?;
    Ok(Redirect::to(&format!("/operations/{}", operation.id)).into_response())
}
