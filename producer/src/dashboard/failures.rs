//! Failures: what failed in a rotation, by its cause, and doing it again.

use super::{
    assets,
    form::fresh_key,
    frame::{Frame, page},
    numbers,
    ticked::ticked,
};
use crate::http::{App, Caller, problem};
use askama::Template;
use axum::{extract::State, response::Response};
use reseal_entities::{
    ledger::{
        failures::{self, Failed, Failures, Nature},
        read::{self, RotationStatus},
    },
    state::RotationState,
};
use reseal_http::{Path, Problem};

#[derive(Template)]
#[template(path = "failures.html")]
struct Page {
    frame: Frame,
    status: RotationStatus,
    found: Vec<Failures>,
}

impl Page {
    fn is_open(&self) -> bool {
        self.status.completed_at.is_none()
    }

    /// Later nobody claims its batches any more.
    fn may_split(&self) -> bool {
        matches!(self.status.state, RotationState::Planning | RotationState::Reencrypting)
    }

    /// Each once, for the filter.
    fn codes(&self) -> Vec<&str> {
        let mut codes: Vec<&str> = self.found.iter().map(|f| f.code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }
}

/// What a nature means to who has to do something.
fn nature(nature: &Nature) -> &'static str {
    match nature {
        Nature::Transient => "passes: retry",
        Nature::Size => "too large or too slow",
        Nature::Poison => "the row itself",
        Nature::Setup => "to be set right first",
    }
}

fn rows_alone(failure: &Failures) -> bool {
    failure.failed == Failed::Rows
}

pub(super) async fn show(State(app): State<App>, caller: Caller, Path(id): Path<i64>) -> Result<Response, Problem> {
    let db = app.ledger().db();
    let status = read::status(db, id).await.map_err(problem)?;
    let found = failures::failures(db, id).await.map_err(problem)?;
    let frame = Frame::new(&caller, "/rotations", format!("/rotations/{id}/failures"));
    Ok(page(&Page { frame, status, found }, None))
}
