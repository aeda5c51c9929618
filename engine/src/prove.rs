//! Prove: sweep, fence, sweep to zero, census under the fence; then the keys are suspended.

use crate::{
    blocked,
    census::Inquiry,
    engine::{Engine, Stop, Target},
    error::EngineError,
    fences::fence_of,
    memo::Memo,
    older,
    opened::Opener,
    owner,
    patience::Patience,
    ready,
    retry::backoff_ms,
    source::{Fence, FenceState, SourceError, SourceErrorKind},
    step::{self, Stepped},
    sweep,
};
use reseal_entities::{
    keys,
    ledger::{keys as ledger_keys, now_ms, plan, prove, scope, writers},
    planned_tables, rotations,
    state::RotationState,
};
use std::time::{Duration, Instant};

const SCOPE: &str = "every column of the source's tables and materialized views that can hold bytes or text, as of one \
                     moment, for cells that name a retired key: as bytes, hex, base64 in either alphabet, lists of numbers, \
                     with the usual escapes, and hex or base64 of hex or base64; not what is compressed, encrypted, cut \
                     up or encoded otherwise, nor large objects, foreign tables, temporary tables of other sessions, bit \
                     strings, numbers, the database's own tables, and other databases";

/// Does a rotation's proving, if it is due.
pub async fn prove(engine: &Engine, rotation_id: i64, stop: Stop<'_>) -> Result<Stepped, EngineError> {
    step::hold(engine, rotation_id, &[RotationState::Proving], stop, |rotation| work(engine, rotation)).await
}

async fn work(engine: &Engine, rotation: rotations::Model) -> Result<Stepped, EngineError> {
    engine.refuse_less_than(&scope::now(engine.ledger.db()).await?)?;
    if plan::is_outdated(engine.ledger.db(), &rotation).await? {
        let txn = engine.ledger.begin().await?;
        plan::reopen_if_held(&txn, &engine.worker, &rotation).await?;
        txn.commit().await?;
        return Ok(replanned(&rotation));
    }
    let mut memo = Memo::of(&rotation);
    if let Some(stuck) = blocked::still(engine, &memo).await? {
        return Ok(stuck);
    }
    // Whatever is waited for, tables are not read meanwhile.
    if memo.empty
        && let Some(waits) = others_are_done(engine, &rotation, &mut memo).await?
    {
        return Ok(waits);
    }
    let began = Instant::now();
    let tables = plan::tables(engine.ledger.db(), rotation.id).await?;
    let left = Duration::from_millis(writers_time_ms(engine, &rotation).await?.unsigned_abs());
    let until = Instant::now() + left;
    for table in tables.iter().filter(|_| !left.is_zero()) {
        match sweep::once(engine, &rotation, table, until).await {
            // A restored ledger meets a fence that another rotation left; ours replaces it below.
            Err(EngineError::Source(e)) if e.is(SourceErrorKind::Fenced) => {}
            swept => drop(swept?),
        }
    }
    if let Some(waits) = writers_have_time(engine, &rotation).await? {
        return Ok(waits);
    }
    let keys = ledger_keys::all(engine.ledger.db()).await?;
    put_up_fences(engine, &rotation, &tables, &keys, Stage::Sweeping).await?;
    let (mut quarantined, mut reencrypted) = (0, 0);
    for table in &tables {
        let swept = sweep::to_zero(engine, &rotation, table).await?;
        quarantined += swept.quarantined;
        reencrypted += swept.reencrypted;
    }
    if quarantined > 0 {
        return Err(EngineError::refused(
            "rows_quarantined",
            format!("{quarantined} rows could not be re-encrypted: see `reseal quarantine list`"),
        ));
    }
    put_up_fences(engine, &rotation, &tables, &keys, Stage::Empty).await?;
    // A count of whole databases comes last, after what costs little.
    prove::refuse_while_open(engine.ledger.db(), rotation.id).await?;
    // An earlier try has waited, unless an old cell turned up since.
    if !memo.empty || reencrypted > 0 {
        (memo.empty, memo.older) = (true, None);
        memo.keep(engine, &rotation).await?;
        if let Some(waits) = others_are_done(engine, &rotation, &mut memo).await? {
            return Ok(waits);
        }
    }
    let blocks = record(engine, &rotation).await?;
    if blocks.is_empty() {
        return Ok(Stepped::Done);
    }
    let took_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
    tracing::warn!(rotation = rotation.id, "the proof is blocked: {}", blocks.join("; "));
    blocked::note(engine, &rotation, &mut memo, (blocks, took_ms)).await
}

/// None: nobody can hold an old cell any more that the count would not see.
async fn others_are_done(
    engine: &Engine,
    rotation: &rotations::Model,
    memo: &mut Memo,
) -> Result<Option<Stepped>, EngineError> {
    match ready::writers_moved(engine, rotation).await? {
        Some(waits) => Ok(Some(waits)),
        None => older::ended(engine, rotation, memo).await,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Sweeping,
    Empty,
}

/// Puts fences up, and seals them once the columns are empty. One that stands as it should is left
/// alone: replacing it would take the table's lock for nothing.
async fn put_up_fences(
    engine: &Engine,
    rotation: &rotations::Model,
    tables: &[planned_tables::Model],
    keys: &[keys::Model],
    stage: Stage,
) -> Result<(), EngineError> {
    for table in tables {
        let target = engine.planned_target(table).await?;
        let mut prover = target.source.prover().await?;
        for column in &target.columns {
            let fence = fence_of(column, keys, None);
            if prover.fence_state(&target.shape, &fence).await?.complete {
                continue;
            }
            let mut patience = Patience::new(engine, rotation);
            while !patience.is_over(put_up(&target, &fence, stage).await).await? {}
        }
        prover.release().await?;
    }
    Ok(())
}

async fn put_up(target: &Target, fence: &Fence, stage: Stage) -> Result<(), SourceError> {
    match stage {
        Stage::Sweeping => target.source.fence(&target.shape, fence).await,
        Stage::Empty => target.source.seal(&target.shape, fence).await,
    }
}

/// Planning again is due at once; again and again, without a proof in between, it waits for longer and longer.
fn replanned(rotation: &rotations::Model) -> Stepped {
    let again_in_ms = if rotation.replans == 0 { 0 } else { backoff_ms(1_000, 60_000, rotation.replans) };
    let detail = "the registered columns are not those that were planned: they are planned again".to_owned();
    Stepped::Waits { again_in_ms, code: "replanned", detail }
}

/// How often the applications are looked at while they have time.
const WRITERS_LOOKED_AT_MS: i64 = 10_000;

/// How long applications may still write with an old keyset. A promotion that lies in the future is by a clock that was
/// wrong: the whole time is given from now.
async fn writers_time_ms(engine: &Engine, rotation: &rotations::Model) -> Result<i64, EngineError> {
    let promoted_at = plan::promoted_by_now(engine.ledger.db(), rotation).await?;
    // A writer that refreshes more seldom than the operator thought is given its own time.
    let slowest = writers::slowest_lagging(engine.ledger.db(), rotation).await?;
    let ttl_ms = slowest.map_or(0, |(_, refresh_ms)| refresh_ms).max(rotation.writer_ttl_ms);
    Ok((promoted_at + ttl_ms - now_ms(engine.ledger.db()).await?).max(0))
}

async fn writers_have_time(engine: &Engine, rotation: &rotations::Model) -> Result<Option<Stepped>, EngineError> {
    let left = writers_time_ms(engine, rotation).await?;
    Ok((left > 0).then(|| Stepped::Waits {
        // An application that moves, leaves or is excluded ends the wait earlier.
        again_in_ms: left.min(WRITERS_LOOKED_AT_MS),
        code: "writer_ttl",
        detail: format!(
            "applications may write with an old keyset for another {} s before the fence",
            (left + 999) / 1000
        ),
    }))
}

/// Counts every registered column of every keyset, and every other one, opens cells, and records the proof. What is in the
/// way of that, by name; empty: it is recorded.
async fn record(engine: &Engine, rotation: &rotations::Model) -> Result<Vec<String>, EngineError> {
    let inquiry = Inquiry::new(engine, rotation).await?;
    let opener = Opener::new(engine, rotation).await?;
    owner::change_all(engine, &inquiry.scope.sources).await?;
    let (mut found, mut blocks) = (Vec::new(), Vec::new());
    // The ledger's sources, not those of this process's file.
    for name in &inquiry.scope.sources {
        let mut prover = engine.source(name)?.prover().await?;
        owner::confirm(engine, name, &mut *prover).await?;
        let answers = inquiry.count(name, &mut *prover, &mut blocks).await?;
        inquiry.strays(engine, name, &mut *prover, &mut blocks).await?;
        let scope = in_words(&inquiry.scope.left_out(name), &inquiry);
        for (target, questions) in inquiry.tables.iter().filter(|(t, _)| t.columns[0].source == *name) {
            let own = target.columns.iter().any(|c| c.keyset == rotation.keyset);
            let opened = if own && blocks.is_empty() {
                opener.open(target, &mut *prover, &mut blocks).await?
            } else {
                Vec::new()
            };
            for (i, (column, question)) in target.columns.iter().zip(questions).enumerate() {
                let fence = if column.keyset == rotation.keyset {
                    prover.fence_state(&target.shape, &fence_of(column, &inquiry.keys, None)).await?
                } else {
                    FenceState { complete: true, ..FenceState::default() }
                };
                if !fence.complete {
                    blocks.push(format!("the fence of {} does not stand: {}", column.path(), fence.detail));
                }
                let answer = answers.iter().find(|(id, _)| *id == column.id).map(|(_, a)| *a).unwrap_or_default();
                let opened = opened.get(i).copied().filter(|_| column.keyset == rotation.keyset).unwrap_or(0);
                if column.keyset == rotation.keyset && answer.cells > 0 && opened == 0 && blocks.is_empty() {
                    blocks.push(format!("no cell of {} was opened under the keys that remain", column.path()));
                }
                found.push(prove::Found {
                    catalog_id: column.id,
                    cells: answer.cells,
                    nulls: answer.nulls,
                    predicate: predicate(question),
                    schema_fingerprint: target.shape.fingerprint.clone(),
                    fence_fingerprint: fence.fingerprint,
                    scope: scope.clone(),
                    opened,
                });
            }
        }
        prover.still_there().await?;
        prover.release().await?;
    }
    if !blocks.is_empty() {
        return Ok(blocks);
    }
    let txn = engine.ledger.begin().await?;
    prove::record_if_held(&txn, &engine.worker, rotation, &found, &inquiry.scope).await?;
    txn.commit().await?;
    tracing::info!(rotation = rotation.id, columns = found.len(), "proved");
    Ok(blocks)
}

fn in_words(left_out: &[String], inquiry: &Inquiry) -> String {
    let keys = inquiry.raw.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    if inquiry.retired.is_empty() {
        return format!(
            "registered columns; cells under key {keys} name no key, so no other column was looked at for them"
        );
    }
    let mut scope = SCOPE.to_owned();
    if !left_out.is_empty() {
        scope += &format!("; left out: {}", left_out.join(", "));
    }
    if !keys.is_empty() {
        scope += &format!(
            "; cells under key {keys} name no key and cannot be told in columns that are not registered, nor in those that \
             another keyset's rotation is to adopt"
        );
    }
    scope
}

fn predicate(question: &crate::source::Question) -> String {
    let list = |headers: &[crate::source::Header]| headers.iter().map(hex::encode).collect::<Vec<_>>().join(", ");
    let retired = format!("first five bytes in ({})", list(&question.retired));
    match &question.known {
        Some(known) => format!("{retired}; NULL or first five bytes in ({})", list(known)),
        None => format!("{retired}; not adopted yet, so what names no key was not asked for"),
    }
}
