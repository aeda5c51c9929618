//! Clear: the old keys' wrapped bytes and their backups go, for good.
//!
//! Ledger and sources are different databases, so there is no one transaction; the order makes it
//! safe. Intent committed; fences and definitions held on every source; everything counted again;
//! the wipe committed in the ledger while all is held; only then released, and the backups removed.
//! A process that dies before the wipe has cleared nothing; after it, the next one goes on from there.

use crate::{
    census::Inquiry,
    engine::{Engine, Stop},
    error::EngineError,
    fences::fence_of,
    keys::id_of,
    source::Prover,
    step::{self, Stepped},
};
use reseal_entities::{
    ledger::{LedgerError, audit, clear, keys as ledger_keys, prove},
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
        let txn = engine.ledger.begin().await?;
        if !clear::intend_if_waited(&txn, &engine.worker, &rotation).await? {
            txn.rollback().await?;
            return Ok(not_yet(&rotation));
        }
        txn.commit().await?;
        rotation.state = RotationState::Clearing;
    }
    let keys = ledger_keys::retired_by(engine.ledger.db(), rotation.id).await?;
    if keys.iter().any(|k| k.state != KeyState::Destroyed) {
        backups_are_in_sight(engine, &keys)?;
        if let Some(blocks) = wipe(engine, &rotation).await? {
            let txn = engine.ledger.begin().await?;
            prove::void_if_held(&txn, &engine.worker, &rotation).await?;
            txn.commit().await?;
            tracing::warn!(rotation = rotation.id, "the proof no longer stands: {blocks}");
            return Ok(Stepped::Waits { again_in_ms: 0, code: "proof_void", detail: blocks });
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

/// A backup on another machine's disk would outlive its key.
fn backups_are_in_sight(engine: &Engine, keys: &[reseal_entities::keys::Model]) -> Result<(), EngineError> {
    for key in keys.iter().filter(|k| k.state != KeyState::Destroyed) {
        if engine.keyring.backup().read(id_of(key))?.is_none() {
            return Err(EngineError::refused(
                "key_backup_missing",
                format!(
                    "this worker does not see the backup of key {} in ledger.key_backup, so it could not remove it: let a worker run \
                     that does, or, if that copy is lost, run `reseal check`, which writes a missing one",
                    key.key_id
                ),
            ));
        }
    }
    Ok(())
}

/// Wipes the keys under held sources. Some: the proof no longer stands, for this reason, and nothing
/// was wiped.
async fn wipe(engine: &Engine, rotation: &rotations::Model) -> Result<Option<String>, EngineError> {
    let inquiry = Inquiry::new(engine, rotation).await?;
    let proofs = prove::current(engine.ledger.db(), rotation.id).await?;
    // Where ledger and source are one SQLite file, the ledger's IMMEDIATE transaction is what keeps
    // writers away, so it begins before the counting; else a long count would lock the ledger.
    let beside = engine.sources().any(|(_, source)| source.is_beside_ledger());
    let early = if beside { Some(engine.ledger.begin().await?) } else { None };
    let mut held: Vec<Box<dyn Prover>> = Vec::new();
    let mut blocks = Vec::new();
    for (name, source) in engine.sources() {
        let of_source = inquiry.tables.iter().filter(|(t, _)| t.columns[0].source == *name);
        let shapes: Vec<_> = of_source.map(|(t, _)| t.shape.clone()).collect();
        let mut prover = source.hold(&shapes).await?;
        inquiry.count(name, &mut *prover, &mut blocks).await?;
        inquiry.strays(engine, name, &mut *prover, &mut blocks).await?;
        standing(&inquiry, rotation, name, &mut *prover, &proofs, &mut blocks).await?;
        held.push(prover);
    }
    if !blocks.is_empty() {
        return Ok(Some(blocks.join("; ")));
    }
    let txn = match early {
        Some(txn) => txn,
        None => engine.ledger.begin().await?,
    };
    clear::wipe_if_held(&txn, &engine.worker, rotation).await?;
    for prover in &mut held {
        prover.still_there().await?;
    }
    txn.commit().await.map_err(LedgerError::from)?;
    for prover in held {
        // The wipe is committed; a session that breaks now has nothing left to protect.
        if let Err(e) = prover.release().await {
            tracing::debug!("a held session broke after the wipe: {e}");
        }
    }
    Ok(None)
}

/// The fence and the definition that were proved still stand.
async fn standing(
    inquiry: &Inquiry,
    rotation: &rotations::Model,
    source: &str,
    prover: &mut dyn Prover,
    proofs: &[reseal_entities::proofs::Model],
    blocks: &mut Vec<String>,
) -> Result<(), EngineError> {
    for (target, _) in inquiry.tables.iter().filter(|(t, _)| t.columns[0].source == source) {
        for column in &target.columns {
            let Some(proof) = proofs.iter().find(|p| p.catalog_id == column.id) else {
                blocks.push(format!("{} has no current proof", column.path()));
                continue;
            };
            if proof.schema_fingerprint != target.shape.fingerprint {
                blocks.push(format!("{} changed its definition since its proof", column.path()));
            }
            if column.keyset == rotation.keyset {
                let fence = prover.fence_state(&target.shape, &fence_of(column, &inquiry.keys, None)).await?;
                if !fence.complete || fence.fingerprint != proof.fence_fingerprint {
                    blocks.push(format!("the fence of {} is not the proved one: {}", column.path(), fence.detail));
                }
            }
        }
    }
    Ok(())
}
