//! One batch: claim, chunks, report.

use crate::{
    chunk::{Outcome, Page, Work},
    chunk_size::ChunkSize,
    engine::{Engine, Stop},
    error::EngineError,
    fences,
    heard::heard,
    pace::Pacer,
    retry::backoff_ms,
    source::{Range, SourceErrorKind},
    split, step,
};
use reseal_entities::{
    batches,
    ledger::{
        LedgerError,
        claim::{self, BARREN_CLAIMS_MAX, Claimed},
        close,
        faults::{self, Fault},
        keys as ledger_keys, quarantine,
        report::{self, Delta, Hold},
    },
    state::KeyState,
};
use std::time::{Duration, Instant};

/// Cursor and lease are written at most so often, and after a claim's first chunk: a batch that kills
/// its workers is told from one whose workers are killed by its progress.
const CHECKPOINT: Duration = Duration::from_secs(1);
/// After so many failures a batch waits for a person.
const ATTEMPTS_MAX: i32 = 8;
/// A fault of the source pauses a table for so long at first, and at most.
const PAUSE_MS: i64 = 1_000;
const PAUSE_MAX_MS: i64 = 60_000;
const SLOTS: i64 = 16;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was not ours to do: done, held by another, not due, paused.
    NotOurs,
    /// Every row of it was looked at.
    Done,
    /// Given back: drained, paused or to be tried again.
    Released,
    /// Somebody else has it now; nothing was reported.
    Lost,
    /// Two smaller ones took its place.
    Split,
    /// Given up for a person.
    Failed,
}

enum End {
    Finished(Delta),
    Stopped,
    Lost,
}

/// Does one batch, if it is due. Its failure is recorded in the ledger.
pub async fn batch(engine: &Engine, batch_id: i64, stop: Stop<'_>) -> Result<Fate, EngineError> {
    engine.ledger.refuse_replaced()?;
    let Some(claimed) = heard(claim::claim_if_due(engine.ledger.db(), batch_id, &engine.worker)).await? else {
        return Ok(Fate::NotOurs);
    };
    let batch = &claimed.batch;
    if batch.split_asked || batch.barren_claims > BARREN_CLAIMS_MAX {
        match split::in_two(engine, &claimed).await {
            Ok(Some(fate)) => return Ok(fate),
            Ok(None) => {}
            Err(e) => return give_back(engine, &claimed, &e, Was::ToBeSplit).await,
        }
    }
    let worked = tokio::select! {
        worked = work(engine, &claimed, stop) => worked,
        () = lost(engine, batch) => Ok(End::Lost),
    };
    match worked {
        Ok(End::Finished(delta)) => heard(finish(engine, batch, delta)).await,
        Ok(End::Stopped) => {
            let txn = engine.ledger.begin().await?;
            report::release_if_held(&txn, batch, 0, None).await?;
            txn.commit().await?;
            Ok(Fate::Released)
        }
        Ok(End::Lost) | Err(EngineError::Ledger(LedgerError::LeaseLost)) => Ok(Fate::Lost),
        Err(e) => give_back(engine, &claimed, &e, Was::AtWork).await,
    }
}

async fn finish(engine: &Engine, batch: &batches::Model, delta: Delta) -> Result<Fate, EngineError> {
    let txn = engine.ledger.begin().await?;
    if !report::report_if_held(&txn, batch, delta, slot(batch.id)).await? {
        txn.rollback().await?;
        return Ok(Fate::Lost);
    }
    txn.commit().await?;
    close::close_if_nothing_is_open(&engine.ledger, &engine.worker, batch.rotation_id).await?;
    Ok(Fate::Done)
}

/// What a batch failed at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Was {
    AtWork,
    ToBeSplit,
}

async fn give_back(engine: &Engine, claimed: &Claimed, error: &EngineError, was: Was) -> Result<Fate, EngineError> {
    let (batch, detail) = (&claimed.batch, error.to_string());
    if error.code() == "keyset_stale" {
        engine.keyring.forget();
    }
    if matches!(error, EngineError::Source(e) if e.is(SourceErrorKind::Fenced)) {
        engine.keyring.forget(); // the keyset in memory is stale
        // or a fence is, put up late by a worker that slept through a cancel or a rollback
        if let Some(to) = claimed.rotation.to_key_id
            && let Err(e) = admit_if_active(engine, &claimed.rotation.keyset, to).await
        {
            tracing::warn!(batch = batch.id, "a fence that refuses the active key could not be opened: {e}");
        }
    }
    tracing::warn!(batch = batch.id, code = error.code(), "a batch failed: {detail}");
    if error.is_outage() {
        return pause(engine, claimed, (error.code(), &detail), was).await;
    }
    if batch.attempts + 1 >= ATTEMPTS_MAX {
        fail(engine, batch, error.code(), &detail).await?;
        return Ok(Fate::Failed);
    }
    let again_in_ms = backoff_ms(15_000, 900_000, batch.attempts + 1);
    let txn = engine.ledger.begin().await?;
    let failure = (error.code(), &*detail);
    match was {
        Was::AtWork => report::release_if_held(&txn, batch, again_in_ms, Some(failure)).await?,
        Was::ToBeSplit => report::release_unsplit_if_held(&txn, batch, again_in_ms, failure).await?,
    };
    txn.commit().await?;
    Ok(Fate::Released)
}

/// The source or the keys are at fault: the table's batches pause until that has changed, however long that takes.
async fn pause(engine: &Engine, claimed: &Claimed, failure: (&str, &str), was: Was) -> Result<Fate, EngineError> {
    let Claimed { batch, table, .. } = claimed;
    let fault = Fault {
        code: failure.0,
        detail: failure.1,
        // Longer than the table's, so that another batch is the next to try: the fault may be this one's alone.
        batch_again_in_ms: backoff_ms(2 * PAUSE_MS, PAUSE_MAX_MS, batch.faults + 1),
        table_again_in_ms: backoff_ms(PAUSE_MS, PAUSE_MAX_MS, table.faults + 1),
    };
    // A batch that is to be split stays so: this claim is not one at which its worker died.
    let barren_claims = if was == Was::ToBeSplit { std::cmp::max(batch.barren_claims - 1, 0) } else { 0 };
    let txn = engine.ledger.begin().await?;
    faults::give_back_if_held(&txn, batch, table, fault, barren_claims).await?;
    txn.commit().await?;
    Ok(Fate::Released)
}

pub(crate) async fn fail(engine: &Engine, batch: &batches::Model, code: &str, detail: &str) -> Result<(), EngineError> {
    let txn = engine.ledger.begin().await?;
    report::fail_if_held(&txn, batch, code, detail).await?;
    txn.commit().await?;
    Ok(())
}

async fn admit_if_active(engine: &Engine, keyset: &str, to: i64) -> Result<(), EngineError> {
    let active =
        ledger_keys::of_keyset(engine.ledger.db(), keyset).await?.into_iter().find(|k| k.state == KeyState::Active);
    if active.is_some_and(|k| k.key_id == to) { fences::admit(engine, keyset, to).await } else { Ok(()) }
}

/// Resolves when another worker has the batch: whatever this one waits for, its lane is free again.
async fn lost(engine: &Engine, batch: &batches::Model) {
    loop {
        tokio::time::sleep(step::RENEW).await;
        // A ledger that does not answer for a moment says nothing of the lease.
        if let Ok(false) = claim::is_held(engine.ledger.db(), batch).await {
            return;
        }
    }
}

/// Chunks through the batch. While one is written the next is read, so that neither waits.
async fn work(engine: &Engine, claimed: &Claimed, stop: Stop<'_>) -> Result<End, EngineError> {
    let batch = &claimed.batch;
    let target = engine.planned_target(&claimed.table).await?;
    let keyset = engine.keyring.keyset_for(&claimed.rotation).await?;
    let work = Work::new(&target, &engine.keyring, keyset);
    let mut size = ChunkSize::new(&engine.config.rotation.chunk_rows, claimed.table.rows_per_second);
    let pacer = Pacer::new(claimed.pace, Instant::now());
    let (counted, cursor) = (batch.rows_counted, batch.cursor.clone());
    let mut desk = Desk { engine, claimed, pending: Delta::default(), counted, cursor, last: None, pacer };
    let mut range =
        Range { after: batch.cursor.clone().or_else(|| batch.after_key.clone()), up_to: Some(batch.up_to_key.clone()) };

    let mut page = work.read(&range, desk.pacer.rows(size.rows())).await?;
    while let Some(last) = page.rows.last() {
        if let Some(end) = desk.keep_pace(stop).await? {
            return Ok(end);
        }
        let cursor = last.key.clone();
        let looked_at = page.rows.len();
        range.after = Some(cursor.clone());
        let rows = desk.pacer.rows(size.rows());
        let next = async {
            if page.more {
                work.read(&range, rows).await.map_err(EngineError::from)
            } else {
                Ok(Page { rows: Vec::new(), more: false })
            }
        };
        let (outcome, next) = tokio::join!(work.chunk(page.rows), next);
        let outcome = outcome?;
        if outcome.halved {
            size.halve();
        } else {
            size.learn(outcome.reencrypted as usize, outcome.took);
        }
        if let Some(end) = desk.note(&outcome, looked_at, cursor, size.rate()).await? {
            return Ok(end);
        }
        page = next?;
    }
    // What the last chunk owes is paid here too: a small batch would otherwise never wait.
    if let Some(end) = desk.keep_pace(stop).await? {
        return Ok(end);
    }
    desk.rows_at_end();
    desk.count_encryptions().await?;
    Ok(End::Finished(desk.pending))
}

/// What is done and not yet written down.
struct Desk<'a> {
    engine: &'a Engine,
    claimed: &'a Claimed,
    pending: Delta,
    counted: i64,
    cursor: Option<String>,
    last: Option<Instant>,
    pacer: Pacer,
}

impl Desk<'_> {
    /// Takes a chunk in. Quarantined rows are written before the cursor passes them.
    async fn note(
        &mut self,
        outcome: &Outcome,
        looked_at: usize,
        cursor: String,
        rate: Option<f64>,
    ) -> Result<Option<End>, EngineError> {
        let (engine, batch) = (self.engine, &self.claimed.batch);
        if !outcome.findings.is_empty() {
            let (table, findings) = (batch.planned_table_id, &outcome.findings);
            heard(quarantine::found(engine.ledger.db(), batch.rotation_id, table, Some(batch.id), findings)).await?;
        }
        engine.add_reencrypted(outcome.reencrypted);
        let rows_done = (looked_at as i64).min(batch.rows - self.counted);
        self.counted += rows_done;
        self.pending.rows_done += rows_done;
        self.pending.reencrypted += outcome.reencrypted;
        self.pending.changed_underneath += outcome.changed_underneath;
        self.cursor = Some(cursor);
        self.pacer.changed(outcome.reencrypted, Instant::now());
        self.checkpoint_if_due(rate).await
    }

    /// Waits until the next chunk may be written, at the pace that is published meanwhile; the lease is renewed.
    async fn keep_pace(&mut self, stop: Stop<'_>) -> Result<Option<End>, EngineError> {
        loop {
            if stop() {
                return Ok(Some(End::Stopped));
            }
            let Some(wait) = self.pacer.wait(Instant::now()) else { return Ok(None) };
            tokio::time::sleep(wait).await;
            if let Some(end) = self.checkpoint_if_due(None).await? {
                return Ok(Some(end));
            }
        }
    }

    /// Once a second: what is done is written down, the lease renewed, and the pace read.
    async fn checkpoint_if_due(&mut self, rate: Option<f64>) -> Result<Option<End>, EngineError> {
        if self.last.is_some_and(|at| at.elapsed() < CHECKPOINT) {
            return Ok(None);
        }
        heard(self.checkpoint(rate)).await
    }

    async fn checkpoint(&mut self, rate: Option<f64>) -> Result<Option<End>, EngineError> {
        let (engine, batch) = (self.engine, &self.claimed.batch);
        let txn = engine.ledger.begin().await?;
        let (cursor, slot) = (self.cursor.as_deref(), slot(batch.id));
        let hold = report::checkpoint_if_held(&txn, batch, cursor, self.pending, slot).await?;
        if hold == Hold::Lost {
            txn.rollback().await?;
            return Ok(Some(End::Lost));
        }
        if let Some(rate) = rate {
            report::learn_rate(&txn, batch.planned_table_id, rate).await?;
        }
        txn.commit().await?;
        self.count_encryptions().await?;
        (self.pending, self.last) = (Delta::default(), Some(Instant::now()));
        match hold {
            Hold::Held(pace) => self.pacer.set(pace, Instant::now()),
            Hold::Paused => return Ok(Some(End::Stopped)),
            Hold::Lost => return Ok(Some(End::Lost)),
        }
        Ok(None)
    }

    /// Rows that never turned up were current, NULL or gone: looked at all the same.
    fn rows_at_end(&mut self) {
        self.pending.rows_done += self.claimed.batch.rows - self.counted;
        self.counted = self.claimed.batch.rows;
    }

    async fn count_encryptions(&self) -> Result<(), EngineError> {
        let more = self.pending.reencrypted * self.claimed.table.columns().len() as i64;
        if let (Some(key_id), 1..) = (self.claimed.rotation.to_key_id, more) {
            ledger_keys::count_encryptions(self.engine.ledger.db(), key_id, more).await?;
        }
        Ok(())
    }
}

fn slot(batch_id: i64) -> i32 {
    (batch_id % SLOTS) as i32
}
