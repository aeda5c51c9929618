//! The wipe itself: everything is counted and durable first; then the sources are held for moments, in which nothing is
//! counted that takes long.

use crate::{
    census::Inquiry,
    durable,
    engine::Engine,
    error::EngineError,
    fences::fence_of,
    memo::Memo,
    older, owner,
    retry::backoff_ms,
    source::{Prover, Shape},
    step::Stepped,
};
use reseal_entities::{
    ledger::{LedgerError, clear, prove, scope::Scope},
    proofs, rotations,
};
use sea_orm::DatabaseTransaction;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Sources are held for so long at most: whoever wants to alter a table waits for it, and every reader behind that.
const HOLD_MAX: Duration = Duration::from_secs(1);
/// Where rows are counted once more under the hold, it may grow to this with each try that was too short.
const HOLD_GROWN_MAX: Duration = Duration::from_secs(8);
const AGAIN_MAX_MS: i64 = 3_600_000;

/// How it ended.
pub(crate) enum Wiped {
    /// The keys are destroyed.
    Done,
    /// Not yet.
    Not(Stepped),
    /// The proof no longer stands, for this reason.
    Void(String),
}

/// A source whose tables were counted, in the session that counted them.
struct Counted {
    prover: Box<dyn Prover>,
    name: String,
    shapes: Vec<Shape>,
    mark: String,
}

/// Counts, waits until what was counted is durable, and wipes under held sources.
pub(crate) async fn wipe(engine: &Engine, rotation: &rotations::Model, memo: &mut Memo) -> Result<Wiped, EngineError> {
    // A copy that is a day behind takes a day: an earlier count has come to its end by now, and is not awaited again.
    let counted_before = !memo.counted.is_empty();
    if counted_before && let Some(waits) = durable::replayed(engine, rotation, memo).await? {
        return Ok(Wiped::Not(waits));
    }
    if let Some(waits) = older::ended(engine, rotation, memo).await? {
        return Ok(Wiped::Not(waits));
    }
    let began = Instant::now();
    let inquiry = Inquiry::new(engine, rotation).await?;
    // What was copied from a source before now is told from it by its mark.
    owner::change_all(engine, &inquiry.scope.sources).await?;
    let (counted, blocks) = count(engine, rotation, &inquiry).await?;
    if !blocks.is_empty() {
        return Ok(Wiped::Void(blocks.join("; ")));
    }
    let positions = durable::flush(engine).await?;
    if !counted_before {
        memo.counted = positions;
        if let Some(waits) = durable::replayed(engine, rotation, memo).await? {
            return Ok(Wiped::Not(waits));
        }
    }
    let took_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
    let mut wiped = under_hold(engine, rotation, &inquiry, counted, memo.let_go).await?;
    if let Wiped::Not(Stepped::Waits { again_in_ms, .. }) = &mut wiped {
        // Counting takes up a tenth of the time at most.
        *again_in_ms = took_ms.saturating_mul(10).clamp(*again_in_ms, AGAIN_MAX_MS);
        memo.let_go += 1;
        memo.keep(engine, rotation).await?;
    }
    Ok(wiped)
}

/// Everything that was proved, again, without a lock.
async fn count(
    engine: &Engine,
    rotation: &rotations::Model,
    inquiry: &Inquiry,
) -> Result<(Vec<Counted>, Vec<String>), EngineError> {
    let proofs = prove::current(engine.ledger.db(), rotation.id).await?;
    let (mut counted, mut blocks) = (Vec::new(), Vec::new());
    // What narrows the scope since the proof sends the rotation back, and so does what widens it: the guard in the
    // ledger would refuse the one, and nobody has proved the other.
    let changed: BTreeSet<_> = proofs.iter().filter_map(|p| Scope::of(p).changed(&inquiry.scope)).collect();
    blocks.extend(
        changed.into_iter().map(|changed| format!("what a proof must cover changed since it was made: {changed}")),
    );
    // The ledger's sources, not those of this process's file.
    for name in &inquiry.scope.sources {
        let of_source = inquiry.tables.iter().filter(|(t, _)| t.columns[0].source == *name);
        let shapes: Vec<_> = of_source.map(|(t, _)| t.shape.clone()).collect();
        let mut prover = engine.source(name)?.prover().await?;
        owner::confirm(engine, name, &mut *prover).await?;
        // Before anything is looked at: what changes from here on is seen under the hold.
        let mark = prover.mark(&shapes).await?;
        standing(inquiry, rotation, name, &mut *prover, &proofs, &mut blocks).await?;
        counted.push(Counted { prover, name: name.clone(), shapes, mark });
    }
    // What costs little first: a fence that is gone needs no count.
    if !blocks.is_empty() {
        return Ok((counted, blocks));
    }
    for source in &mut counted {
        inquiry.count(&source.name, &mut *source.prover, &mut blocks).await?;
    }
    if !blocks.is_empty() {
        return Ok((counted, blocks));
    }
    for source in &mut counted {
        inquiry.strays(engine, &source.name, &mut *source.prover, &mut blocks).await?;
        // Where nothing is scanned, a reader of ours would be in the way of what follows.
        source.prover.let_go_of_moment().await?;
    }
    Ok((counted, blocks))
}

/// The fence and the definition that were proved still stand.
async fn standing(
    inquiry: &Inquiry,
    rotation: &rotations::Model,
    source: &str,
    prover: &mut dyn Prover,
    proofs: &[proofs::Model],
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

/// How the held part went, before anything is committed.
enum Held {
    Ready(Box<DatabaseTransaction>),
    Changed(String),
    Void(String),
}

async fn under_hold(
    engine: &Engine,
    rotation: &rotations::Model,
    inquiry: &Inquiry,
    mut counted: Vec<Counted>,
    let_go: u32,
) -> Result<Wiped, EngineError> {
    let at_most = HOLD_MAX.saturating_mul(1 << let_go.min(3)).min(HOLD_GROWN_MAX);
    // Dropped at any await, it lets everything go: sessions end, and the ledger's transaction is rolled back.
    let held = tokio::time::timeout(at_most, hold(engine, rotation, inquiry, &mut counted, at_most)).await;
    let again_in_ms = backoff_ms(1_000, 60_000, i32::try_from(let_go).unwrap_or(i32::MAX).saturating_add(1));
    let not = |detail: String| Wiped::Not(Stepped::Waits { again_in_ms, code: "sources_not_held", detail });
    let txn = match held {
        Ok(Ok(Held::Ready(txn))) => txn,
        Ok(Ok(Held::Void(blocks))) => return Ok(Wiped::Void(blocks)),
        Ok(Ok(Held::Changed(detail))) => return Ok(not(detail)),
        Ok(Err(EngineError::Source(e))) if e.passes() => {
            return Ok(not(format!("a source could not be held just now ({e}): it is counted again")));
        }
        Ok(Err(e)) => return Err(e),
        Err(_) => {
            let detail = format!(
                "the sources were let go after {} s, since applications may wait for them: they are counted and held again",
                at_most.as_secs()
            );
            return Ok(not(detail));
        }
    };
    txn.commit().await.map_err(LedgerError::from)?;
    for source in counted {
        // The wipe is committed; a session that breaks now has nothing left to protect.
        if let Err(e) = source.prover.release().await {
            tracing::debug!("a held session broke after the wipe: {e}");
        }
    }
    Ok(Wiped::Done)
}

async fn hold(
    engine: &Engine,
    rotation: &rotations::Model,
    inquiry: &Inquiry,
    counted: &mut [Counted],
    at_most: Duration,
) -> Result<Held, EngineError> {
    // Where ledger and source are one SQLite file, the ledger's IMMEDIATE transaction is what keeps writers away.
    let beside = engine.sources().any(|(_, source)| source.is_beside_ledger());
    let early = if beside { Some(engine.ledger.begin().await?) } else { None };
    let mut blocks = Vec::new();
    for source in counted.iter_mut() {
        let moved = source.prover.hold(&source.shapes, at_most).await?;
        owner::confirm(engine, &source.name, &mut *source.prover).await?;
        if source.prover.mark(&source.shapes).await? != source.mark {
            let detail =
                format!("a definition in source `{}` changed while it was counted: it is counted again", source.name);
            return Ok(Held::Changed(detail));
        }
        if moved {
            inquiry.count(&source.name, &mut *source.prover, &mut blocks).await?;
        }
    }
    if !blocks.is_empty() {
        return Ok(Held::Void(blocks.join("; ")));
    }
    let txn = match early {
        Some(txn) => txn,
        None => engine.ledger.begin().await?,
    };
    clear::wipe_if_held(&txn, &engine.worker, rotation, &inquiry.scope).await?;
    for source in counted {
        source.prover.still_there().await?;
    }
    engine.ledger.refuse_replaced()?;
    Ok(Held::Ready(Box::new(txn)))
}
