//! What must hold before anything is counted, and costs a few rows of the ledger: a count reads whole databases.

use crate::{engine::Engine, error::EngineError, keys::id_of, step::Stepped};
use reseal_entities::{
    keys,
    ledger::{keys as ledger_keys, prove, writers},
    rotations,
    state::KeyState,
};

const AGAIN_MS: i64 = 2_000;

/// None: no application that is alive writes with another key than the new one, but for those that an operator has excluded.
/// What such a process encrypts need not have reached a database yet.
pub(crate) async fn writers_moved(
    engine: &Engine,
    rotation: &rotations::Model,
) -> Result<Option<Stepped>, EngineError> {
    let lagging = writers::lagging(engine.ledger.db(), rotation).await?;
    Ok(writers::told(&lagging).map(|told| Stepped::Waits {
        again_in_ms: AGAIN_MS,
        code: "writers_lag",
        detail: format!(
            "{told}; waits until they have moved to the new key or are gone; one that never will is excluded with \
             `reseal exclude {} --writer NAME --note …`",
            rotation.id
        ),
    }))
}

/// None: nothing of the ledger's is in the way of destroying the keys. What only a person can mend is an error.
pub(crate) async fn to_clear(engine: &Engine, rotation: &rotations::Model) -> Result<Option<Stepped>, EngineError> {
    if rotation.hold_at.is_some() {
        let detail = rotation.hold_detail.clone().unwrap_or_else(|| "a suspended key was used".to_owned());
        return Ok(Some(Stepped::Stuck { again_in_ms: 60_000, code: "key_used", detail }));
    }
    if let Some(waits) = writers_moved(engine, rotation).await? {
        return Ok(Some(waits));
    }
    prove::refuse_while_open(engine.ledger.db(), rotation.id).await?;
    let keys = ledger_keys::retired_by(engine.ledger.db(), rotation.id).await?;
    backups_are_in_sight(engine, &keys)?;
    // The keys that remain open, and the active one is the one that was promoted.
    engine.keyring.keyset_for(rotation).await?;
    Ok(None)
}

/// A backup on another machine's disk would outlive its key.
fn backups_are_in_sight(engine: &Engine, keys: &[keys::Model]) -> Result<(), EngineError> {
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
