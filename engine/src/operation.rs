//! An operation: claim, do what was asked, write its end.
//!
//! None of them changes what it looks at: a dry run takes back what it tries, a census counts, and a clearing is
//! rung for and followed, never done here. Whoever dies in between leaves nothing; another does it again.

use crate::{
    census, dry_run,
    engine::{Engine, Stop},
    error::EngineError,
    retry::backoff_ms,
    step,
};
use reseal_entities::{
    ledger::{
        LedgerError, audit,
        clearing::{self, Clearing},
        now_ms,
        operations::{
            Ask,
            work::{self, ATTEMPTS_MAX, Back, End},
        },
    },
    operations,
    state::KeyState,
};
use serde_json::json;

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was not ours to do: ended, held by another, not due.
    NotOurs,
    /// Done; its result stands in the ledger.
    Succeeded,
    /// Given up; its code stands in the ledger.
    Failed,
    /// Given back: drained, waiting, or to be tried again.
    Released,
    /// Somebody else has it now; nothing was written.
    Lost,
}

enum Outcome {
    Ended(End),
    Waits { again_in_ms: i64, code: String, detail: String },
}

/// Does one operation, if it is due. Its failure is recorded in the ledger.
pub async fn perform(engine: &Engine, id: i64, stop: Stop<'_>) -> Result<Fate, EngineError> {
    let db = engine.ledger.db();
    let Some(operation) = work::claim_if_due(db, id, &engine.worker).await? else { return Ok(Fate::NotOurs) };
    let done = claimed(engine, &operation, stop);
    // What comes of a request is found by its id, also when a worker did it.
    match operation.request_id.clone() {
        Some(request) => audit::under_request(request, done).await,
        None => done.await,
    }
}

async fn claimed(engine: &Engine, operation: &operations::Model, stop: Stop<'_>) -> Result<Fate, EngineError> {
    let outcome = tokio::select! {
        done = run(engine, operation) => done,
        () = lost(engine, operation) => return Ok(Fate::Lost),
        () = step::stopped(stop) => return give_back(engine, operation, 0, Back::Drained).await,
    };
    match outcome {
        Ok(Outcome::Ended(end)) => write_end(engine, operation, end).await,
        Ok(Outcome::Waits { again_in_ms, code, detail }) => {
            give_back(engine, operation, again_in_ms, Back::Waits(code, detail)).await
        }
        Err(e) => {
            tracing::warn!(operation = operation.id, code = e.code(), "an operation failed: {e}");
            let (code, detail) = (e.code().to_owned(), e.told());
            if is_final(&e) || operation.attempts >= ATTEMPTS_MAX {
                return write_end(engine, operation, End::Failed { code, detail, result: None }).await;
            }
            let again_in_ms = backoff_ms(2_000, 60_000, operation.attempts);
            give_back(engine, operation, again_in_ms, Back::Failed(code, detail)).await
        }
    }
}

/// What the ledger refuses, it refuses every worker.
fn is_final(error: &EngineError) -> bool {
    matches!(error, EngineError::Ledger(LedgerError::Refused { .. }))
}

async fn run(engine: &Engine, operation: &operations::Model) -> Result<Outcome, EngineError> {
    let Some(ask) = Ask::of(operation) else {
        return Err(EngineError::refused(
            "unknown_ask",
            "this worker does not understand what was asked for: let one of the newest version run",
        ));
    };
    match ask {
        Ask::DryRun { keyset, to_key_id } => {
            let found = dry_run::dry_run(engine, &keyset, to_key_id).await?;
            Ok(Outcome::Ended(End::Succeeded(json!(found))))
        }
        Ask::Census { column, key_id } => {
            let found = census::told(engine, column.as_deref(), key_id).await?;
            Ok(Outcome::Ended(End::Succeeded(json!(found))))
        }
        Ask::Clear { key_id } => follow_clearing(engine, operation, key_id).await,
    }
}

/// One look at a clearing. Between two looks no lane is held, however long it takes.
async fn follow_clearing(engine: &Engine, operation: &operations::Model, key_id: i64) -> Result<Outcome, EngineError> {
    let db = engine.ledger.db();
    let ready = match clearing::ask(db, key_id).await? {
        Clearing::Destroyed { at } => {
            let result = json!({"key_id": key_id, "state": KeyState::Destroyed, "destroyed_at": at});
            return Ok(Outcome::Ended(End::Succeeded(result)));
        }
        Clearing::InUse(in_use) => {
            let (result, detail) = (Some(json!(in_use)), in_use.message);
            return Ok(Outcome::Ended(End::Failed { code: "key_in_use".to_owned(), detail, result }));
        }
        Clearing::Ready(ready) => ready,
    };
    clearing::hurry_if_waited(db, ready.rotation_id).await?;
    let age_ms = now_ms(db).await? - operation.started_at.unwrap_or(operation.requested_at);
    let met = "every condition is met; a worker clears the key next";
    Ok(Outcome::Waits {
        again_in_ms: (age_ms / 4).clamp(1_000, 60_000),
        code: ready.code.unwrap_or_else(|| "clears_next".to_owned()),
        detail: ready.detail.unwrap_or_else(|| met.to_owned()),
    })
}

async fn write_end(engine: &Engine, operation: &operations::Model, end: End) -> Result<Fate, EngineError> {
    let fate = if matches!(end, End::Succeeded(_)) { Fate::Succeeded } else { Fate::Failed };
    let txn = engine.ledger.begin().await?;
    if !work::end_if_held(&txn, &engine.worker, operation, end).await? {
        txn.rollback().await?;
        return Ok(Fate::Lost);
    }
    txn.commit().await?;
    Ok(fate)
}

async fn give_back(
    engine: &Engine,
    operation: &operations::Model,
    again_in_ms: i64,
    back: Back,
) -> Result<Fate, EngineError> {
    let released = work::release_if_held(engine.ledger.db(), operation, again_in_ms, back).await?;
    Ok(if released { Fate::Released } else { Fate::Lost })
}

/// Renews the lease until it is lost.
async fn lost(engine: &Engine, operation: &operations::Model) {
    loop {
        tokio::time::sleep(step::RENEW).await;
        // A ledger that does not answer for a moment is not yet a lost lease: the epoch decides.
        if let Ok(false) = work::renew_if_held(engine.ledger.db(), operation).await {
            return;
        }
    }
}
