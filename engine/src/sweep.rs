//! Sweep: every row of a table that is not under the active key, by predicate, not by plan: what grew
//! meanwhile, what stale writers left, what changed too often under a batch.

use crate::{
    chunk::Work,
    chunk_size::ChunkSize,
    engine::{Engine, Target},
    error::EngineError,
    pace::Pacer,
    source::Range,
};
use reseal_entities::{
    ledger::{
        keys as ledger_keys, quarantine,
        report::{self, Delta},
        throttle,
    },
    planned_tables, rotations,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A change of pace is seen within this time.
const LOOK: Duration = Duration::from_secs(1);

/// What passes over one table left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    pub reencrypted: i64,
    pub quarantined: i64,
}

/// One pass. Before the fence stands a stale writer may go on for ever, so more would not end.
pub(crate) async fn once(
    engine: &Engine,
    rotation: &rotations::Model,
    table: &planned_tables::Model,
) -> Result<Swept, EngineError> {
    pass(engine, rotation, table, &engine.planned_target(table).await?).await
}

/// Passes over a table until one changes nothing; the fence must stand. What is left then is
/// quarantined: the sweep does not spin on it.
pub(crate) async fn to_zero(
    engine: &Engine,
    rotation: &rotations::Model,
    table: &planned_tables::Model,
) -> Result<Swept, EngineError> {
    let target = engine.planned_target(table).await?;
    quarantine::look_again(engine.ledger.db(), table.id).await?;
    let mut swept = Swept::default();
    loop {
        let pass = pass(engine, rotation, table, &target).await?;
        swept.reencrypted += pass.reencrypted;
        swept.quarantined = pass.quarantined;
        if pass.reencrypted == 0 {
            // What was bad before and was not found again.
            quarantine::settle_table(engine.ledger.db(), table.id).await?;
            return Ok(swept);
        }
    }
}

async fn pass(
    engine: &Engine,
    rotation: &rotations::Model,
    table: &planned_tables::Model,
    target: &Target,
) -> Result<Swept, EngineError> {
    let db = engine.ledger.db();
    let keyset = engine.keyring.keyset_for(rotation).await?;
    let work = Work::new(target, &engine.keyring, Arc::clone(&keyset));
    let mut size = ChunkSize::new(&engine.config.rotation.chunk_rows, table.rows_per_second);
    let mut pacer = Pacer::new(throttle::pace(db, rotation.id).await?, Instant::now());
    let mut looked = Instant::now();
    let (mut swept, mut range) = (Swept::default(), Range::default());
    let mut prover = target.source.prover().await?;
    loop {
        // The step's lease is renewed meanwhile, and a pause ends this.
        loop {
            let wait = pacer.wait(Instant::now());
            tokio::time::sleep(wait.unwrap_or_default()).await;
            if looked.elapsed() >= LOOK {
                pacer.set(throttle::pace(db, rotation.id).await?, Instant::now());
                looked = Instant::now();
            } else if wait.is_none() {
                break;
            }
        }
        let page = work.read_at_leisure(&mut *prover, &range, pacer.rows(size.rows())).await?;
        let Some(last) = page.rows.last() else { break };
        range.after = Some(last.key.clone());
        let outcome = work.chunk(page.rows).await?;
        if !outcome.findings.is_empty() {
            quarantine::found(db, rotation.id, table.id, None, &outcome.findings).await?;
        }
        size.learn(outcome.reencrypted as usize, outcome.took);
        engine.add_reencrypted(outcome.reencrypted);
        pacer.changed(outcome.reencrypted, Instant::now());
        swept.reencrypted += outcome.reencrypted;
        swept.quarantined += outcome.findings.len() as i64;
        let delta =
            Delta { rows_done: 0, reencrypted: outcome.reencrypted, changed_underneath: outcome.changed_underneath };
        report::add_progress(db, table.id, 0, delta).await?;
        ledger_keys::count_encryptions(db, keyset.active().0.into(), outcome.reencrypted * target.columns.len() as i64)
            .await?;
        if !page.more {
            break;
        }
    }
    prover.release().await?;
    Ok(swept)
}
