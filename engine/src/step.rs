//! Holding a rotation's step while it is worked on, and leaving it.

use crate::{
    engine::{Engine, Stop},
    error::EngineError,
    retry::backoff_ms,
};
use reseal_entities::{
    ledger::{LedgerError, claim, steps},
    rotations,
    state::RotationState,
};
use std::time::{Duration, Instant};

/// How a step ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// It was not ours to do: done, held by another, not due, paused.
    NotOurs,
    /// The rotation moved on, or this step of it is done.
    Done,
    /// Nothing to be done before then; the text says what is waited for.
    Waits {
        /// From now.
        again_in_ms: i64,
        /// Stable.
        code: &'static str,
        /// For people.
        detail: String,
    },
    /// The same, and a person has to see to it.
    Stuck {
        /// From now.
        again_in_ms: i64,
        /// Stable.
        code: &'static str,
        /// For people.
        detail: String,
    },
}

pub(crate) const RENEW: Duration = Duration::from_secs(5);
/// When a step is due again that this worker cannot do and another one may.
const LEFT_TO_ANOTHER_MS: i64 = 5_000;
const LOOK_FOR_STOP: Duration = Duration::from_millis(250);

/// Claims a rotation's step, runs `work` while renewing the lease, and writes down how it ended.
/// `work` may be dropped at any await: everything in it is written so that it can be done again.
pub(crate) async fn hold<F>(
    engine: &Engine,
    rotation_id: i64,
    states: &[RotationState],
    stop: Stop<'_>,
    work: impl FnOnce(rotations::Model) -> F,
) -> Result<Stepped, EngineError>
where
    F: Future<Output = Result<Stepped, EngineError>>,
{
    engine.ledger.refuse_replaced()?;
    let db = engine.ledger.db();
    let Some(rotation) = steps::claim_if_due(db, rotation_id, &engine.worker, states).await? else {
        return Ok(Stepped::NotOurs);
    };
    let (epoch, failures) = (rotation.step_epoch, rotation.step_failures);
    let result = tokio::select! {
        done = work(rotation) => done,
        lost = keep(engine, rotation_id, epoch) => Err(lost),
        () = stopped(stop) => Ok(Stepped::Done),
    };
    let left = match &result {
        Ok(Stepped::NotOurs | Stepped::Done) => steps::Left { again_in_ms: 0, code: None, detail: None, failed: false },
        Ok(Stepped::Waits { again_in_ms, code, detail }) => steps::Left {
            again_in_ms: *again_in_ms,
            code: Some((*code).to_owned()),
            detail: Some(detail.clone()),
            failed: false,
        },
        Ok(Stepped::Stuck { again_in_ms, code, detail }) => steps::Left {
            again_in_ms: *again_in_ms,
            code: Some((*code).to_owned()),
            detail: Some(detail.clone()),
            failed: true,
        },
        // Also of a step that was paused: it is left, so that resuming need not wait for the lease to run out. Another one's
        // epoch differs, and nothing of it changes.
        Err(EngineError::Ledger(LedgerError::LeaseLost)) => {
            steps::let_go_if_held(db, rotation_id, epoch).await?;
            return Ok(Stepped::NotOurs);
        }
        Err(e) if steps::OF_ONE_WORKER.contains(&e.code()) => {
            tracing::warn!(rotation = rotation_id, code = e.code(), "this worker cannot do a step: {e}");
            let (code, detail) = (Some(e.code().to_owned()), Some(e.to_string()));
            steps::Left { again_in_ms: LEFT_TO_ANOTHER_MS, code, detail, failed: false }
        }
        Err(e) => {
            tracing::warn!(rotation = rotation_id, code = e.code(), "a step failed: {e}");
            let again_in_ms = backoff_ms(2_000, 60_000, failures + 1);
            steps::Left { again_in_ms, code: Some(e.code().to_owned()), detail: Some(e.to_string()), failed: true }
        }
    };
    steps::leave_if_held(db, rotation_id, epoch, left).await?;
    result
}

/// Renews the lease until it is lost. A ledger that answers with an error is not yet a lost lease: the epoch decides. One
/// that has said nothing for as long as the lease lasts has let it go to others, and `work` may wait on a connection that
/// never answers again: so it ends here.
async fn keep(engine: &Engine, rotation_id: i64, epoch: i64) -> EngineError {
    let lease = Duration::from_millis(claim::LEASE_MS as u64);
    let mut heard = Instant::now();
    while heard.elapsed() < lease {
        tokio::time::sleep(RENEW).await;
        let left = lease.saturating_sub(heard.elapsed());
        match tokio::time::timeout(left, steps::renew_if_held(engine.ledger.db(), rotation_id, epoch)).await {
            Ok(Ok(false)) => return LedgerError::LeaseLost.into(),
            Ok(Ok(true) | Err(_)) => heard = Instant::now(),
            Err(_) => {}
        }
    }
    LedgerError::LeaseLost.into()
}

/// Resolves when the worker is asked to stop.
pub(crate) async fn stopped(stop: Stop<'_>) {
    while !stop() {
        tokio::time::sleep(LOOK_FOR_STOP).await;
    }
}
