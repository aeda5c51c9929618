//! Clear: the old keys' wrapped bytes and their backups go, for good.
//!
//! Ledger and sources are different databases, so there is no one transaction; the order makes it
//! safe. Intent committed; transactions that are older ended; everything counted again, on disk, and replayed by every copy;
//! fences and definitions held on every source, for moments, and seen not to have changed since the count; the wipe committed
//! in the ledger while all is held; only then released, and the backups removed.
//! A process that dies before the wipe has cleared nothing; after it, the next one goes on from there.

use crate::{
    engine::{Engine, Stop},
    error::EngineError,
    keys::id_of,
    memo::Memo,
    ready,
    step::{self, Stepped},
    wipe::{Wiped, wipe},
};
use reseal_entities::{
    ledger::{audit, clear, keys as ledger_keys, prove, scope},
    rotations,
    state::{KeyState, RotationState},
};
use serde_json::json;

/// Does a rotation's clearing, if it is due.
pub async fn clear(engine: &Engine, rotation_id: i64, stop: Stop<'_>) -> Result<Stepped, EngineError> {
    let states = [RotationState::Waiting, RotationState::Clearing];
    step::hold(engine, rotation_id, &states, stop, |rotation| work(engine, rotation)).await
}

async fn work(engine: &Engine, mut rotation: rotations::Model) -> Result<Stepped, EngineError> {
    if rotation.state == RotationState::Waiting {
        if !clear::may_intend(engine.ledger.db(), &rotation).await? {
            return Ok(not_yet(&rotation));
        }
        if let Some(waits) = ready::to_clear(engine, &rotation).await? {
            return Ok(waits);
        }
        let txn = engine.ledger.begin().await?;
        if !clear::intend_if_waited(&txn, &engine.worker, &rotation).await? {
            txn.rollback().await?;
            return Ok(not_yet(&rotation));
        }
        txn.commit().await?;
        rotation.state = RotationState::Clearing;
        rotation.step_memo = None;
    }
    let keys = ledger_keys::retired_by(engine.ledger.db(), rotation.id).await?;
    if keys.iter().any(|k| k.state != KeyState::Destroyed) {
        engine.refuse_less_than(&scope::now(engine.ledger.db()).await?)?;
        if let Some(waits) = ready::to_clear(engine, &rotation).await? {
            return Ok(waits);
        }
        match wipe(engine, &rotation, &mut Memo::of(&rotation)).await? {
            Wiped::Done => {}
            Wiped::Not(waits) => return Ok(waits),
            Wiped::Void(blocks) => {
                let txn = engine.ledger.begin().await?;
                prove::void_if_held(&txn, &engine.worker, &rotation).await?;
                txn.commit().await?;
                tracing::warn!(rotation = rotation.id, "the proof no longer stands: {blocks}");
                return Ok(Stepped::Waits { again_in_ms: 0, code: "proof_void", detail: blocks });
            }
        }
    }
    engine.keyring.forget();
    let mut removed = Vec::new();
    for key in &keys {
        let removed_here = engine.keyring.backup().remove(id_of(key))?;
        removed.push(json!({"key": key.key_id, "removed": removed_here}));
    }
    let txn = engine.ledger.begin().await?;
    let entry = audit::Entry {
        actor: &engine.worker,
        action: "key.backup_removed",
        subject: format!("rotation {}", rotation.id),
        before: json!(null),
        after: json!(removed),
    };
    audit::record(&txn, entry).await?;
    clear::complete_if_held(&txn, &engine.worker, &rotation).await?;
    txn.commit().await?;
    tracing::info!(rotation = rotation.id, "completed: the old key is destroyed");
    Ok(Stepped::Done)
}

/// What a rotation still waits for. Approving makes the step due at once; a minute is for whoever approves in
/// this very moment.
fn not_yet(rotation: &rotations::Model) -> Stepped {
    let left = rotation.clear_after_ms - rotation.waited_ms;
    if left <= 0 && rotation.needs_approval && rotation.approved_at.is_none() {
        let detail = format!(
            "somebody other than {} has to approve the clearing: `reseal approve {}`",
            rotation.requested_by, rotation.id
        );
        return Stepped::Waits { again_in_ms: 60_000, code: "approval", detail };
    }
    Stepped::Waits {
        again_in_ms: left.clamp(1_000, 60_000),
        code: "clear_after",
        detail: "the waiting time is not over".to_owned(),
    }
}
