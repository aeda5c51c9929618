//! A chunk: read, decrypt, encrypt, check, compare-and-swap, look again.
//!
//! Every row ends as re-encrypted, already current, changed underneath (looked at again), gone, or
//! quarantined; never assumed done. A process that dies anywhere in here has written nothing or a
//! whole chunk, and the next one finds those rows current.

use crate::{
    blame::{FIRST_ROWS, Ignored},
    engine::Target,
    error::EngineError,
    keys::Keyring,
    retry,
    source::{CellColumn, Header, Prover, Range, Row, SourceError, SourceErrorKind, Swap, Tried},
};
use reseal_entities::ledger::quarantine::Finding;
use reseal_keyring::{Keyset, cell};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// At most so many bytes of cells in a chunk, or one row.
const CHUNK_BYTES: i64 = 8 * 1024 * 1024;
/// A row that an application keeps changing is left to the sweep after so many looks.
const LOOKS_MAX: usize = 4;

/// One table worked on under one keyset.
pub(crate) struct Work<'a> {
    pub target: &'a Target,
    pub keyring: &'a Keyring,
    pub keyset: Arc<Keyset>,
    pub active: Header,
}

/// What came of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub reencrypted: i64,
    pub changed_underneath: i64,
    pub findings: Vec<Finding>,
    /// The database's time for the writing.
    pub took: Duration,
    /// A statement was too large or too slow and went through in parts.
    pub halved: bool,
}

/// What came of a chunk that was taken back.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// What it changed, and cost.
    pub tried: Tried,
    /// Rows that were sent.
    pub sent: u64,
    /// Rows that could not be re-encrypted.
    pub unreadable: u64,
    /// Rows that the source refuses while others pass.
    pub refused: u64,
    /// The database's time.
    pub took: Duration,
}

/// A page of rows, and whether the range may have more.
pub(crate) struct Page {
    pub rows: Vec<Row>,
    pub more: bool,
}

impl Page {
    fn new(rows: Vec<Row>, limit: u32) -> Self {
        let bytes: usize = rows.iter().flat_map(|r| r.cells.iter().flatten()).map(Vec::len).sum();
        let more = rows.len() as u32 >= limit || bytes as i64 >= CHUNK_BYTES;
        Self { rows, more }
    }
}

impl<'a> Work<'a> {
    pub(crate) fn new(target: &'a Target, keyring: &'a Keyring, keyset: Arc<Keyset>) -> Self {
        let active = cell::header(keyset.active());
        Self { target, keyring, keyset, active }
    }

    /// Reads the next rows of a batch that are not under the active key.
    pub(crate) async fn read(&self, range: &Range, rows: u32) -> Result<Page, SourceError> {
        let Target { source, shape, .. } = self.target;
        let found = patiently(|| source.read(shape, range, &self.active, rows, CHUNK_BYTES)).await?;
        Ok(Page::new(found, rows))
    }

    /// The same through a session without the everyday statement limit: a sweep finds little in much.
    pub(crate) async fn read_at_leisure(
        &self,
        prover: &mut dyn Prover,
        range: &Range,
        rows: u32,
    ) -> Result<Page, SourceError> {
        let found = prover.read(&self.target.shape, range, &self.active, rows, CHUNK_BYTES).await?;
        Ok(Page::new(found, rows))
    }

    /// Re-encrypts `rows`.
    pub(crate) async fn chunk(&self, rows: Vec<Row>) -> Result<Outcome, EngineError> {
        let (mut outcome, mut rows, mut ignored) = (Outcome::default(), rows, Ignored::default());
        for _ in 0..LOOKS_MAX {
            let (swaps, findings) = self.reencrypt(rows).await?;
            outcome.findings.extend(findings);
            if swaps.is_empty() {
                return Ok(outcome);
            }
            let began = Instant::now();
            let swapped = self.write(&swaps, &mut outcome).await?;
            outcome.took += began.elapsed();
            outcome.reencrypted += swapped.len() as i64;
            let refused: BTreeSet<&str> = outcome.findings.iter().map(|f| f.row_key.as_str()).collect();
            let left: Vec<Swap> =
                swaps.into_iter().filter(|s| !swapped.contains(&s.key) && !refused.contains(s.key.as_str())).collect();
            if left.is_empty() {
                return Ok(outcome);
            }
            let keys: Vec<String> = left.iter().map(|s| s.key.clone()).collect();
            let Target { source, shape, .. } = self.target;
            rows = patiently(|| source.read_again(shape, &keys, &self.active)).await?;
            let unchanged = ignored.note(left, &rows);
            outcome.changed_underneath += (keys.len() - unchanged) as i64;
        }
        outcome.findings.extend(self.settle_ignored(ignored.each_time(LOOKS_MAX)).await?);
        Ok(outcome)
    }

    /// Re-encrypts `rows` and takes it back.
    pub(crate) async fn try_chunk(&self, rows: Vec<Row>) -> Result<Trial, EngineError> {
        let Target { source, shape, .. } = self.target;
        let (swaps, findings) = self.reencrypt(rows).await?;
        let mut trial = Trial { sent: swaps.len() as u64, unreadable: findings.len() as u64, ..Trial::default() };
        let began = Instant::now();
        match swaps.is_empty() {
            true => {}
            false => match source.try_swap(shape, &swaps).await {
                Err(e) if e.is(SourceErrorKind::Row) => trial = self.try_each(&swaps, trial, e).await?,
                tried => trial.tried = tried?,
            },
        }
        trial.took = began.elapsed();
        Ok(trial)
    }

    /// The first rows of a chunk that was refused, one by one. The error when none of them passes: it is not the rows.
    async fn try_each(&self, swaps: &[Swap], trial: Trial, error: SourceError) -> Result<Trial, EngineError> {
        let Target { source, shape, .. } = self.target;
        let mut trial = Trial { sent: 0, ..trial };
        for one in swaps.iter().take(FIRST_ROWS) {
            match source.try_swap(shape, std::slice::from_ref(one)).await {
                Err(e) if e.is(SourceErrorKind::Row) => trial.refused += 1,
                tried => {
                    trial.sent += 1;
                    trial.tried.rows += tried?.rows;
                }
            }
        }
        if trial.tried.rows == 0 { Err(error.into()) } else { Ok(trial) }
    }

    /// Bytes that begin like a cell under a key of which this keyset has not heard are a value in a column that is
    /// to be adopted; or this worker slept, and they are cells under a key that is newer than its keyset. Any
    /// cell that was read has its key in ledger or backup by now.
    async fn refuse_newer_cells(&self, rows: &[Row]) -> Result<(), EngineError> {
        let columns = &self.target.shape.columns;
        let cells = rows.iter().flat_map(|row| row.cells.iter().zip(columns));
        let strangers = cells.filter_map(|(cell, column)| self.keyset.stranger(column.layout, cell.as_ref()?));
        let strangers: BTreeSet<_> = strangers.collect();
        if strangers.is_empty() {
            return Ok(());
        }
        let known = self.keyring.known_ids().await?;
        match strangers.iter().find(|id| known.contains(id)) {
            None => Ok(()),
            Some(id) => Err(EngineError::refused(
                "keyset_stale",
                format!(
                    "a cell under key {id} was met, which is newer than this worker's keyset: the batch is given back"
                ),
            )),
        }
    }

    /// Decrypts and encrypts, off the async threads.
    async fn reencrypt(&self, rows: Vec<Row>) -> Result<(Vec<Swap>, Vec<Finding>), EngineError> {
        self.refuse_newer_cells(&rows).await?;
        let keyset = self.keyset.clone();
        let (shape, templates) = (self.target.shape.clone(), self.target.templates.clone());
        let work = move || {
            let (mut swaps, mut findings) = (Vec::with_capacity(rows.len()), Vec::new());
            for row in rows {
                let key = shape.split_key(&row.key)?;
                let mut cells = Vec::with_capacity(row.cells.len());
                for ((old, template), column) in row.cells.into_iter().zip(&templates).zip(&shape.columns) {
                    let Some(old) = old.filter(|c| !column.layout.is_under(keyset.active(), c)) else {
                        cells.push(None);
                        continue;
                    };
                    match keyset.reencrypt(column.layout, &old, &template.render(&key)) {
                        Ok(new) => cells.push(Some((old, new))),
                        Err(e) => {
                            findings.push(finding(&keyset, &row.key, column, e.code(), &old));
                            cells.push(None);
                        }
                    }
                }
                if cells.iter().any(Option::is_some) {
                    swaps.push(Swap { key: row.key, cells, version: row.version });
                }
            }
            Ok((swaps, findings))
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| {
            EngineError::refused("reencryption_panicked", "re-encrypting a chunk panicked; nothing of it was written")
        })?
    }

    /// One finding for each cell of a row that the source refused.
    pub(crate) fn refused(&self, swap: &Swap, code: &'static str) -> Vec<Finding> {
        let columns = swap.cells.iter().zip(&self.target.shape.columns);
        let written = columns.filter_map(|(cell, column)| Some((cell.as_ref()?, column)));
        written.map(|((old, _), column)| finding(&self.keyset, &swap.key, column, code, old)).collect()
    }
}

fn finding(keyset: &Keyset, key: &str, column: &CellColumn, code: &'static str, stored: &[u8]) -> Finding {
    Finding {
        row_key: key.to_owned(),
        column_name: column.name.clone(),
        code,
        found_key_id: keyset.key_named_by(column.layout, stored).map(|id| id.0.into()),
        cell_bytes: stored.len() as i64,
    }
}

/// Up to five more tries for what passes by itself.
pub(crate) async fn patiently<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, SourceError>
where
    F: Future<Output = Result<T, SourceError>>,
{
    for pause in retry::pauses(5) {
        match attempt().await {
            Err(e) if e.is(SourceErrorKind::Transient) => tokio::time::sleep(pause).await,
            done => return done,
        }
    }
    attempt().await
}
