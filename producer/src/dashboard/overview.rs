//! Overview: what runs, what needs a person, what is recent. To be understood within five seconds.

use super::{
    assets, drawn,
    due::{self, DueKey},
    frame::{Frame, page},
    numbers,
    ticked::ticked,
    tone::Tone,
};
use crate::http::{App, Caller, problem, queue_health};
use askama::Template;
use axum::{extract::State, response::Response};
use reseal_entities::{
    keys,
    ledger::{
        keys as ledger_keys, now_ms,
        pages::{self, Rotations},
        presence,
        read::{self, RotationStatus},
        samples,
    },
    rotations,
    state::KeyState,
};
use reseal_http::Problem;

/// What the sparkline looks back at.
const LOOKED_BACK_MS: i64 = 20 * 60_000;
const OPEN_MAX: u64 = 50;
const RECENT_MAX: u64 = 5;

struct Running {
    status: RotationStatus,
    speed: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
    running: Vec<Running>,
    recent: Vec<rotations::Model>,
    workers: usize,
    lanes: i32,
    queue: &'static str,
    waiting: Vec<keys::Model>,
    compromised: Vec<keys::Model>,
    due: Vec<DueKey>,
    keysets: usize,
}

impl Page {
    fn rotates(&self, keyset: &str) -> bool {
        self.running.iter().any(|r| r.status.keyset == keyset)
    }

    fn needs_a_person(&self) -> Vec<&RotationStatus> {
        self.running.iter().map(|r| &r.status).filter(|s| s.needs_attention).collect()
    }
}

pub(super) async fn show(State(app): State<App>, caller: Caller) -> Result<Response, Problem> {
    let db = app.ledger().db();
    let now = now_ms(db).await.map_err(|e| problem(e.into()))?;
    let (open, ended) = (
        Rotations { open: Some(true), ..Rotations::default() },
        Rotations { open: Some(false), ..Rotations::default() },
    );
    let mut running = Vec::new();
    for rotation in pages::rotations(db, &open, None, OPEN_MAX).await.map_err(problem)? {
        let samples = samples::of_rotation(db, rotation.id, now - LOOKED_BACK_MS..=now).await.map_err(problem)?;
        let speed = drawn::sparkline(&samples, now, now - LOOKED_BACK_MS..=now);
        running.push(Running { status: read::status(db, rotation.id).await.map_err(problem)?, speed });
    }
    let alive = presence::alive(db).await.map_err(problem)?;
    let keys = ledger_keys::all(db).await.map_err(problem)?;
    let mut keysets: Vec<&str> = keys.iter().map(|k| k.keyset.as_str()).collect();
    keysets.dedup();
    let open_key = |k: &&keys::Model| k.state != KeyState::Destroyed;
    let page_of = Page {
        frame: Frame::new(&caller, "/", "/".to_owned()),
        recent: pages::rotations(db, &ended, None, RECENT_MAX).await.map_err(problem)?,
        workers: alive.len(),
        lanes: alive.iter().map(|w| w.lanes).sum(),
        queue: queue_health(&app).await,
        waiting: keys.iter().filter(|k| k.state == KeyState::Suspended).cloned().collect(),
        compromised: keys.iter().filter(open_key).filter(|k| k.compromised_at.is_some()).cloned().collect(),
        due: keys.iter().filter_map(|k| due::due(k, app.settings().cryptoperiod, now)).collect(),
        keysets: keysets.len(),
        running,
    };
    Ok(page(&page_of, None))
}
