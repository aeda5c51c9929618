//! A batch: its range, what was tried, and trying again.

use super::{
    assets,
    form::{Once, fresh_key},
    frame::{Done, Frame, page, to},
    numbers,
    ticked::ticked,
    tone::Tone,
};
use crate::{
    api::Retry,
    http::{App, Caller, operations_asker, problem, retry_matching, steering},
};
use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use reseal_entities::{
    batches,
    ledger::{
        attempts::{self, Attempt, AttemptOutcome},
        now_ms, pages,
        read::{self, RotationStatus},
        split,
    },
    state::BatchState,
};
use reseal_http::{Form, Path, Problem, Query, RequestId};

#[derive(Template)]
#[template(path = "batch.html")]
struct Page {
    frame: Frame,
    batch: batches::Model,
    table: String,
    status: RotationStatus,
    attempts: Vec<Attempt>,
    /// Epochs of which nothing was heard.
    lost: Vec<i64>,
    /// Quarantined rows of it, resolved ones too.
    quarantined: i64,
    key: String,
    now: i64,
}

impl Page {
    fn can_retry(&self) -> bool {
        self.status.completed_at.is_none() && self.batch.state == BatchState::Failed
    }

    fn can_split(&self) -> bool {
        self.can_retry() && self.batch.rows > 1
    }
}

fn outcome(outcome: &AttemptOutcome) -> (&'static str, &'static str) {
    match outcome {
        AttemptOutcome::Released => ("warn", "given back"),
        AttemptOutcome::Failed => ("bad", "failed"),
        AttemptOutcome::Split => ("", "split"),
        AttemptOutcome::Done => ("ok", "done"),
    }
}

fn listed(epochs: &[i64]) -> String {
    epochs.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    Query(done): Query<Done>,
) -> Result<Response, Problem> {
    render(&app, &caller, id, Ok(done)).await
}

async fn render(app: &App, caller: &Caller, id: i64, said: Result<Done, Problem>) -> Result<Response, Problem> {
    let db = app.ledger().db();
    let (batch, table) = pages::batch(db, id).await.map_err(problem)?;
    let status = read::status(db, batch.rotation_id).await.map_err(problem)?;
    let attempts = attempts::of_batch(db, id).await.map_err(problem)?;
    let lost = attempts::lost(&batch, &attempts);
    let quarantined = pages::quarantined_of(db, id).await.map_err(problem)?;
    let now = now_ms(db).await.map_err(|e| problem(e.into()))?;
    let frame = Frame::new(caller, "/rotations", format!("/batches/{id}"));
    let (frame, refused) = match said {
        Ok(done) => (frame.done(&done), None),
        Err(problem) => (frame.refusing(Some(&problem)), Some(problem)),
    };
    Ok(page(
        &Page { frame, batch, table, status, attempts, lost, quarantined, key: fresh_key(), now },
        refused.as_ref(),
    ))
}

pub(super) async fn retry(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    Path(id): Path<i64>,
    Form(once): Form<Once>,
) -> Result<Response, Problem> {
    let (batch, _) = pages::batch(app.ledger().db(), id).await.map_err(problem)?;
    let only = Retry { batch_ids: Some(vec![id]), quarantined: Some(true), ..Retry::default() };
    let asker = operations_asker(&caller, request_id, once.key);
    match retry_matching(&app, &asker, batch.rotation_id, only).await {
        Ok((operation, _)) => Ok(Redirect::to(&format!("/operations/{}", operation.id)).into_response()),
        Err(problem) => render(&app, &caller, id, Err(problem)).await,
    }
}

pub(super) async fn split(State(app): State<App>, caller: Caller, Path(id): Path<i64>) -> Result<Response, Problem> {
    let done = async {
        let txn = steering::begin(&app).await?;
        split::ask(&txn, &caller.actor, id).await.map_err(problem)?;
        steering::commit(txn).await
    };
    match done.await {
        Ok(()) => Ok(to(&format!("/batches/{id}"), "split")),
        Err(problem) if problem.status == 404 => Err(problem),
        Err(problem) => render(&app, &caller, id, Err(problem)).await,
    }
}
