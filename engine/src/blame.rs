//! Whose fault it is when a source refuses rows, or leaves them as they are: the rows' or the source's.
//!
//! A row is at fault only while rows beside it pass. So before a row is quarantined for what the source says, a row
//! that is current already is re-encrypted beside it and taken back, and then the row itself is tried once more.

use crate::{
    chunk::{Outcome, Work, patiently},
    engine::Target,
    error::EngineError,
    source::{Row, SourceError, SourceErrorKind, Swap},
};
use reseal_entities::ledger::quarantine::Finding;
use reseal_keyring::{Format, Keyset, Layout};
use std::{collections::BTreeMap, slice};

/// When so many rows were refused and none passed, rows beside them are tried at once: bisecting a whole chunk, and a
/// table after that, would take long to find out that it is not the rows.
pub(crate) const FIRST_ROWS: usize = 8;
/// So many rows are looked at on each side.
const NEIGHBOURS: u32 = 8;

impl Work<'_> {
    /// Writes swaps, and says which rows were changed; what the source refuses for one row's sake is bisected down to
    /// that row. An error means that the source is at fault, and no row.
    pub(crate) async fn write(&self, swaps: &[Swap], outcome: &mut Outcome) -> Result<Vec<String>, EngineError> {
        let Target { source, shape, .. } = self.target;
        let (mut swapped, mut parts) = (Vec::with_capacity(swaps.len()), vec![swaps]);
        let (mut suspects, mut others_pass) = (Vec::new(), false);
        while let Some(part) = parts.pop() {
            let refusal = match patiently(|| source.swap(shape, part)).await {
                Ok(keys) => {
                    swapped.extend(keys);
                    continue;
                }
                Err(e) if matches!(e.kind, SourceErrorKind::Size | SourceErrorKind::Row) => e,
                Err(e) => return Err(e.into()),
            };
            outcome.halved |= refusal.is(SourceErrorKind::Size);
            match part {
                [_] if refusal.is(SourceErrorKind::Size) => return Err(refusal.into()),
                [one] => {
                    suspects.push((one, refusal));
                    if swapped.is_empty() && suspects.len() == FIRST_ROWS {
                        self.refuse_unless_others_pass(&suspects, &swapped).await?;
                        others_pass = true;
                    }
                }
                _ => {
                    let (front, back) = part.split_at(part.len() / 2);
                    parts.extend([back, front]);
                }
            }
        }
        if !suspects.is_empty() && !others_pass {
            self.refuse_unless_others_pass(&suspects, &swapped).await?;
        }
        // Once more, now that others were seen to pass: what refused them can have ended.
        for (one, _) in suspects {
            match patiently(|| source.swap(shape, slice::from_ref(one))).await {
                Ok(keys) => swapped.extend(keys),
                Err(e) if e.is(SourceErrorKind::Row) => outcome.findings.extend(self.refused(one, e.code)),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(swapped)
    }

    /// Rows that were sent at every look, are as they were, and were not changed: a trigger returns NULL for them, or
    /// ignores them.
    pub(crate) async fn settle_ignored(&self, swaps: Vec<Swap>) -> Result<Vec<Finding>, EngineError> {
        let (Some(first), Some(last)) = (swaps.first(), swaps.last()) else { return Ok(Vec::new()) };
        if self.others_pass(&[&first.key, &last.key]).await? {
            return Ok(swaps.iter().flat_map(|swap| self.refused(swap, "write_ignored")).collect());
        }
        let Target { source, shape, .. } = self.target;
        Err(ignored(&source.notes(shape).await?).into())
    }

    async fn refuse_unless_others_pass(
        &self,
        suspects: &[(&Swap, SourceError)],
        swapped: &[String],
    ) -> Result<(), EngineError> {
        let keys = [swapped.last(), suspects.first().map(|s| &s.0.key), suspects.last().map(|s| &s.0.key)];
        let near: Vec<&str> = keys.into_iter().flatten().map(String::as_str).collect();
        match suspects.first() {
            Some((_, error)) if !self.others_pass(&near).await? => Err(not_the_rows(error).into()),
            _ => Ok(()),
        }
    }

    /// Whether rows beside these keys pass that are current already.
    async fn others_pass(&self, near: &[&str]) -> Result<bool, EngineError> {
        let Target { source, shape, .. } = self.target;
        for key in near {
            for row in patiently(|| source.neighbours(shape, key, NEIGHBOURS)).await? {
                let keysets = vec![&*self.keyset; shape.columns.len()];
                let Some(swap) = self.target.again(row, &keysets)? else { continue };
                match source.try_swap(shape, slice::from_ref(&swap)).await {
                    Ok(tried) if tried.rows == 1 => return Ok(true),
                    Ok(_) => {}
                    Err(e) if e.is(SourceErrorKind::Row) => {}
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(false)
    }
}

impl Target {
    /// A row's cells that are under the active key, encrypted under it again; none when it has none of these. Each
    /// column has its keyset.
    pub(crate) fn again(&self, row: Row, keysets: &[&Keyset]) -> Result<Option<Swap>, EngineError> {
        let key = self.shape.split_key(&row.key)?;
        let columns = self.shape.columns.iter().zip(&self.templates).zip(keysets);
        let cells = row.cells.into_iter().zip(columns).map(|(cell, ((column, template), keyset))| {
            let old = cell.filter(|cell| column.layout.is_under(keyset.active(), cell))?;
            let native = Layout { format: Format::Tink, ..column.layout };
            let new = keyset.reencrypt(native, &old, &template.render(&key)).ok()?;
            Some((old, new))
        });
        let cells: Vec<_> = cells.collect();
        let any = cells.iter().any(Option::is_some);
        Ok(any.then_some(Swap { key: row.key, cells, version: row.version }))
    }
}

/// A refusal of a row, when rows that were fine before are refused, too.
fn not_the_rows(error: &SourceError) -> SourceError {
    SourceError::refused(
        error.code,
        format!(
            "{error}; rows beside those fail in the same way, or none is re-encrypted yet to compare with, so no row is to blame"
        ),
    )
}

/// The source takes updates and changes nothing.
pub(crate) fn ignored(notes: &[String]) -> SourceError {
    let triggers: Vec<&str> = notes.iter().map(String::as_str).filter(|note| note.starts_with("trigger ")).collect();
    let named = if triggers.is_empty() { String::new() } else { format!(" ({})", triggers.join("; ")) };
    SourceError::refused(
        "write_ignored",
        format!(
            "the source takes an UPDATE and changes no row, without an error: a trigger returns NULL or ignores the row{named}; \
             let it pass changes of encrypted columns"
        ),
    )
}

/// Rows that were not changed although their values are as they were read, and how often.
#[derive(Debug, Default)]
pub(crate) struct Ignored(BTreeMap<String, (usize, Swap)>);

impl Ignored {
    /// Takes in one look: `left` was sent and not changed, `now` is there. How many of them are as they were.
    pub(crate) fn note(&mut self, left: Vec<Swap>, now: &[Row]) -> usize {
        let now: BTreeMap<&str, &Row> = now.iter().map(|row| (row.key.as_str(), row)).collect();
        let same = |swap: &Swap| {
            now.get(swap.key.as_str()).is_some_and(|row| {
                let mut cells = swap.cells.iter().zip(&row.cells);
                row.version == swap.version
                    && cells.all(|(sent, now)| sent.as_ref().is_none_or(|(old, _)| now.as_ref() == Some(old)))
            })
        };
        let mut unchanged = 0;
        for swap in left.into_iter().filter(|s| same(s)) {
            unchanged += 1;
            self.0.entry(swap.key.clone()).and_modify(|(times, _)| *times += 1).or_insert((1, swap));
        }
        unchanged
    }

    /// Those that were ignored so many times.
    pub(crate) fn each_time(self, times: usize) -> Vec<Swap> {
        self.0.into_values().filter(|(seen, _)| *seen >= times).map(|(_, swap)| swap).collect()
    }
}
