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

/// One pass before the fence stands, over the keys that there are when it begins, and no longer than `until`: a stale writer
/// that inserts faster than a limit lets the sweep go would else keep it busy for ever. What is left is swept under the fence.
pub(crate) async fn once(
    engine: &Engine,
    rotation: &rotations::Model,
    table: &planned_tables::Model,
    until: Instant,
) -> Result<Swept, EngineError> {
    let target = engine.planned_target(table).await?;
    let Some(up_to) = target.source.max_key(&target.shape).await? else { return Ok(Swept::default()) };
    let range = Range { after: None, up_to: Some(up_to) };
    pass(engine, rotation, table, &target, Bounds { range, until: Some(until) }).await
}

/// Where a pass ends.
#[derive(Default)]
struct Bounds {
    range: Range,
    until: Option<Instant>,
}

impl Bounds {
    fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
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
        let pass = pass(engine, rotation, table, &target, Bounds::default()).await?;
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
    mut bounds: Bounds,
) -> Result<Swept, EngineError> {
    let db = engine.ledger.db();
    let keyset = engine.keyring.keyset_for(rotation).await?;
    let work = Work::new(target, &engine.keyring, Arc::clone(&keyset));
    let mut size = ChunkSize::new(&engine.config.rotation.chunk_rows, table.rows_per_second);
    let mut pacer = Pacer::new(throttle::pace(db, rotation.id).await?, Instant::now());
    let mut looked = Instant::now();
    let mut swept = Swept::default();
    let mut prover = target.source.prover().await?;
    loop {
        // The step's lease is renewed meanwhile, and a pause ends this.
        while !bounds.is_late() {
            let wait = pacer.wait(Instant::now());
            tokio::time::sleep(wait.unwrap_or_default()).await;
            if looked.elapsed() >= LOOK {
                pacer.set(throttle::pace(db, rotation.id).await?, Instant::now());
                looked = Instant::now();
            } else if wait.is_none() {
                break;
            }
        }
        if bounds.is_late() {
            break;
        }
        let page = work.read_at_leisure(&mut *prover, &bounds.range, pacer.rows(size.rows())).await?;
        let Some(last) = page.rows.last() else { break };
        bounds.range.after = Some(last.key.clone());
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
