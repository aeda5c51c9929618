//! The engine's steps, as the worker performs them.

use crate::{Asked, Drain, Presence, State, Steps, pace::Pace};
use reseal_engine::{Engine, EngineError, clear, dispatch::Dispatcher, operation, plan, prove, reencrypt};
use reseal_entities::{
    job::{Doorbell, Job, JobKind},
    ledger::{dispatch, presence},
};
use std::{sync::Arc, time::Instant};

/// Performs jobs with an engine. The engine carries the worker's name, so that leases, audit and
/// presence speak of the same worker.
#[derive(Clone)]
pub struct EngineSteps {
    engine: Arc<Engine>,
    dispatcher: Arc<Dispatcher>,
    pace: Arc<Pace>,
}

impl EngineSteps {
    /// For `engine`, whose `worker` must be the name that [`crate::run`] is given.
    #[must_use]
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine, dispatcher: Arc::default(), pace: Arc::default() }
    }

    async fn step(&self, job: &Job, drain: &Drain) -> Result<(), EngineError> {
        let (engine, stop) = (&*self.engine, &|| drain.is_draining());
        match job.kind {
            JobKind::Plan => plan::plan(engine, job.id, stop).await.map(|_| ()),
            JobKind::Batch => reencrypt::batch(engine, job.id, stop).await.map(|_| ()),
            JobKind::Prove => prove::prove(engine, job.id, stop).await.map(|_| ()),
            JobKind::Clear => clear::clear(engine, job.id, stop).await.map(|_| ()),
            JobKind::Operation => operation::perform(engine, job.id, stop).await.map(|_| ()),
            JobKind::Unknown => Ok(()),
        }
    }

    async fn sign(&self, seen: &Presence, state: &'static str) -> Result<Asked, String> {
        let reencrypted = self.engine.reencrypted();
        let sign = presence::Sign {
            name: seen.name.clone(),
            version: seen.version.to_owned(),
            state,
            lanes: i32::try_from(seen.lanes).unwrap_or(i32::MAX),
            jobs_running: i32::try_from(seen.jobs_running).unwrap_or(i32::MAX),
            reencrypted,
            rows_per_second: self.pace.note(Instant::now(), reencrypted),
            keys_loaded: format!("{:?}", self.engine.keyring.loaded()),
        };
        let drain = presence::beat(self.engine.ledger.db(), &sign).await.map_err(|e| e.to_string())?;
        Ok(if drain { Asked::ToDrain } else { Asked::Nothing })
    }
}

#[async_trait::async_trait]
impl Steps for EngineSteps {
    async fn perform(&self, job: &Job, drain: &Drain) -> Result<(), String> {
        self.step(job, drain).await.map_err(|e| format!("{}: {e}", e.code()))
    }

    async fn dispatch(&self, bell: &dyn Doorbell) -> Result<(), String> {
        self.dispatcher.round(&self.engine, bell).await.map(|_| ()).map_err(|e| format!("{}: {e}", e.code()))
    }

    async fn heartbeat(&self, seen: &Presence) -> Result<Asked, String> {
        let state = if seen.state == State::Draining { "draining" } else { "running" };
        self.sign(seen, state).await
    }

    async fn goodbye(&self, seen: &Presence) -> Result<(), String> {
        self.engine.keyring.forget();
        let db = self.engine.ledger.db();
        dispatch::resign(db, &seen.name).await.map_err(|e| e.to_string())?;
        presence::forget_the_long_gone(db).await.map_err(|e| e.to_string())?;
        self.sign(seen, "stopped").await.map(|_| ())
    }
}
