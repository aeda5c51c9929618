//! A rotation: how far it is, what it waits for, and what may be done about it.

use super::{
    assets, drawn,
    form::fresh_key,
    frame::{Done, Frame, page},
    numbers,
    ticked::ticked,
    tone::Tone,
};
use crate::http::{App, Caller, problem};
use askama::Template;
use axum::{extract::State, response::Response};
use reseal_entities::{
    audit,
    ledger::{
        now_ms,
        pages::{self, Audit},
        read::{self, RotationStatus},
        samples, strip,
    },
    rotations,
    state::{KeyState, RotationState},
};
use reseal_http::{Path, Problem, Query};

/// What the chart of the speed looks back at, at most.
const LOOKED_BACK_MS: i64 = 60 * 60_000;
/// Bins of the strip for each table.
const BINS: i64 = 100;
const EVENTS_MAX: u64 = 6;

/// What is said above it.
pub(super) enum Said {
    Done(Done),
    Refused(Problem),
}

/// One of the four steps.
struct Step {
    name: &'static str,
    class: &'static str,
    says: String,
}

#[derive(Template)]
#[template(path = "rotation.html")]
struct Page {
    frame: Frame,
    rotation: rotations::Model,
    status: RotationStatus,
    steps: [Step; 4],
    speed: String,
    bars: String,
    strip: String,
    events: Vec<audit::Model>,
    failed: i64,
    key: String,
    now: i64,
}

impl Page {
    fn is_open(&self) -> bool {
        self.rotation.completed_at.is_none()
    }

    /// A rotation whose keys are there may be turned round, also when it was cancelled.
    fn can_turn(&self) -> bool {
        self.status.new_key.is_some()
            && self.is_open()
            && self.status.old_keys.iter().all(|k| k.state != KeyState::Destroyed)
    }

    /// The keys that clearing would destroy.
    fn to_clear(&self) -> impl Iterator<Item = &read::KeyStatus> {
        self.status.old_keys.iter().filter(|k| k.state != KeyState::Destroyed)
    }

    /// What has failed, batches and rows.
    fn exceptions(&self) -> i64 {
        self.failed + self.status.quarantined
    }

    fn told_exceptions(&self) -> String {
        let told = [
            (self.failed, numbers::counted(self.failed, "failed batch", "failed batches")),
            (self.status.quarantined, numbers::counted(self.status.quarantined, "quarantined row", "quarantined rows")),
        ];
        told.into_iter().filter(|(n, _)| *n > 0).map(|(_, told)| told).collect::<Vec<_>>().join(", ")
    }
}

pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    Query(done): Query<Done>,
) -> Result<Response, Problem> {
    render(&app, &caller, id, Said::Done(done)).await
}

/// The page, after something was done or refused.
pub(super) async fn render(app: &App, caller: &Caller, id: i64, said: Said) -> Result<Response, Problem> {
    let db = app.ledger().db();
    let rotation = read::rotation(db, id).await.map_err(problem)?;
    let status = read::status(db, id).await.map_err(problem)?;
    let now = now_ms(db).await.map_err(|e| problem(e.into()))?;
    let until = rotation.completed_at.unwrap_or(now);
    let from = (until - LOOKED_BACK_MS).max(rotation.promoted_at.unwrap_or(rotation.requested_at));
    let samples = samples::of_rotation(db, id, until - LOOKED_BACK_MS..=until).await.map_err(problem)?;
    let strip = strip::of_rotation(db, id, BINS).await.map_err(problem)?;
    let subject = Audit { subject: Some(format!("rotation {id}")), ..Audit::default() };
    let events = pages::audit(db, &subject, None, EVENTS_MAX).await.map_err(problem)?;
    let frame = Frame::new(caller, "/rotations", format!("/rotations/{id}"));
    let (frame, refused) = match said {
        Said::Done(done) => (frame.done(&done), None),
        Said::Refused(problem) => (frame.refusing(Some(&problem)), Some(problem)),
    };
    let page_of = Page {
        frame,
        steps: steps(&rotation, &status),
        speed: drawn::speed(&samples, now, from..=until),
        bars: drawn::bars(&status.tables),
        strip: drawn::strip(&strip),
        failed: status.batches.get("failed").copied().unwrap_or(0),
        key: fresh_key(),
        rotation,
        status,
        events,
        now,
    };
    Ok(page(&page_of, refused.as_ref()))
}

fn steps(r: &rotations::Model, s: &RotationStatus) -> [Step; 4] {
    use RotationState::{
        Cancelled, Clearing, Completed, Planning, Proving, Reencrypting, Requested, RolledBack, Waiting,
    };
    let at = match r.state {
        Requested | Planning => 0,
        Reencrypting => 1,
        Proving => 2,
        Waiting | Clearing => 3,
        Completed => 4,
        Cancelled | RolledBack if r.proved_at.is_some() => 3,
        Cancelled | RolledBack if r.promoted_at.is_some() => 1,
        Cancelled | RolledBack => 0,
    };
    let ended = r.completed_at.is_some();
    let class = |n: usize| match () {
        () if n < at => "done",
        () if n == at && !ended && (s.needs_attention || r.paused_at.is_some()) => "now stuck",
        () if n == at && !ended => "now",
        () => "",
    };
    let says = [
        if r.planning_done { "all batches are cut" } else { "cuts tables into batches" }.to_owned(),
        format!("{} of {} rows", numbers::count(s.rows_done), numbers::count(s.rows)),
        "fence, sweep, count of zero".to_owned(),
        s.waiting_left_ms.map_or_else(
            || "destroys the old key".to_owned(),
            |left| match left {
                0 => "the wait is over".to_owned(),
                left => format!("in {}", numbers::duration(left)),
            },
        ),
    ];
    let mut says = says.into_iter();
    let mut n = 0;
    ["Plan", "Re-encrypt", "Prove", "Clear"].map(|name| {
        let step = Step { name, class: class(n), says: says.next().unwrap_or_default() };
        n += 1;
        step
    })
}
