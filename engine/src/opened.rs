//! Opening cells under the keys that remain, before the old ones go: a count only reads what a cell says of itself.

use crate::{
    engine::{Engine, Target},
    error::EngineError,
    source::{Header, Prover, Range, Row},
};
use reseal_config::OpenedCells;
use reseal_entities::{
    catalog,
    ledger::{keys as ledger_keys, plan},
    rotations,
};
use reseal_keyring::{Format, Keyset, Layout, cell::HEADER_LEN};
use std::{collections::BTreeSet, sync::Arc};

/// No cell begins so: every row that has one is read.
const NONE: Header = [0xff; HEADER_LEN];
/// At most so many bytes of cells at once, or one row.
const PAGE_BYTES: i64 = 8 * 1024 * 1024;
const PAGE_ROWS: u32 = 500;
/// The sample between the ends of a table is taken at so many places.
const PLACES: u32 = 50;
/// So many rows that do not open are named.
const NAMED_MAX: usize = 5;

/// Opens cells of a rotation's tables.
pub(crate) struct Opener<'a> {
    engine: &'a Engine,
    rotation: &'a rotations::Model,
    /// The keyset without the keys that are retired.
    keyset: Arc<Keyset>,
}

/// What came of one table.
#[derive(Default)]
struct Opened {
    /// By column.
    cells: Vec<i64>,
    /// `column of row: code`.
    failed: Vec<String>,
    /// Rows whose sample met them already.
    keys: BTreeSet<String>,
}

impl<'a> Opener<'a> {
    pub(crate) async fn new(engine: &'a Engine, rotation: &'a rotations::Model) -> Result<Self, EngineError> {
        let retired = ledger_keys::retired_by(engine.ledger.db(), rotation.id).await?;
        let retired: Vec<i64> = retired.iter().map(|key| key.key_id).collect();
        let keyset = Arc::new(engine.keyring.without(&rotation.keyset, &retired).await?);
        Ok(Self { engine, rotation, keyset })
    }

    /// So many cells of each column opened. A cell that does not is added to `blocks`, by column and row.
    pub(crate) async fn open(
        &self,
        target: &Target,
        prover: &mut dyn Prover,
        blocks: &mut Vec<String>,
    ) -> Result<Vec<i64>, EngineError> {
        let mut opened = Opened { cells: vec![0; target.columns.len()], ..Opened::default() };
        match self.engine.config.rotation.opened_cells {
            OpenedCells::All => self.range(target, prover, (None, None), &mut opened).await?,
            OpenedCells::Sample(rows) => {
                for (after, rows) in self.places(target, rows).await? {
                    self.range(target, prover, (after, Some(rows)), &mut opened).await?;
                }
            }
        }
        if !opened.failed.is_empty() {
            let more = opened.failed.len().saturating_sub(NAMED_MAX);
            let named = opened.failed[..opened.failed.len().min(NAMED_MAX)].join("; ");
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            blocks.push(format!("cells do not open under the keys that remain: {named}{more}"));
        }
        Ok(opened.cells)
    }

    /// Where a sample begins, and how many rows are read from there: both ends of the table, what came after it was planned,
    /// and places between them, each somewhere in a batch that is drawn at random.
    async fn places(&self, target: &Target, rows: u32) -> Result<Vec<(Option<String>, u32)>, EngineError> {
        let quarter = rows.div_ceil(4);
        let db = self.engine.ledger.db();
        let first = &target.columns[0];
        let tables = plan::tables(db, self.rotation.id).await?;
        let table = tables.iter().find(|t| {
            (&t.source, &t.schema_name, &t.table_name) == (&first.source, &first.schema_name, &first.table_name)
        });
        let mut places = vec![(None, quarter)];
        let Some(table) = table else { return Ok(places) };
        let batches = plan::drawn_batches(db, table, PLACES.min(quarter)).await?;
        let each = (2 * quarter).div_ceil(u32::try_from(batches.len()).unwrap_or(1).max(1));
        for batch in batches {
            let range = Range { after: batch.after_key.clone(), up_to: Some(batch.up_to_key) };
            let skipped = 1 + i64::from(drawn()) % batch.rows.max(1);
            let bound = target.source.bounds(&target.shape, &range, skipped, 1).await?;
            places.push((bound.into_iter().next().map(|b| b.up_to_key).or(batch.after_key), each));
        }
        if let Some(last) = plan::last_batch(db, table).await? {
            places.push((last.after_key, quarter));
        }
        places.push((table.max_key.clone(), quarter));
        Ok(places)
    }

    /// Opens what a range holds; all of it without a number of rows.
    async fn range(
        &self,
        target: &Target,
        prover: &mut dyn Prover,
        (after, rows): (Option<String>, Option<u32>),
        opened: &mut Opened,
    ) -> Result<(), EngineError> {
        let (mut range, mut left) = (Range { after, up_to: None }, rows);
        while left != Some(0) {
            let page = left.map_or(PAGE_ROWS, |left| left.min(PAGE_ROWS));
            let found = prover.read(&target.shape, &range, &NONE, page, PAGE_BYTES).await?;
            let Some(last) = found.last() else { break };
            range.after = Some(last.key.clone());
            left = left.map(|left| left.saturating_sub(u32::try_from(found.len()).unwrap_or(left)));
            let sampled = rows.is_some();
            let mut found = found;
            found.retain(|row| !sampled || opened.keys.insert(row.key.clone()));
            self.rows(target, found, opened).await?;
        }
        Ok(())
    }

    /// Off the async threads.
    async fn rows(&self, target: &Target, rows: Vec<Row>, opened: &mut Opened) -> Result<(), EngineError> {
        let (keyset, shape, templates) = (self.keyset.clone(), target.shape.clone(), target.templates.clone());
        // A column of another keyset needs none of its keys.
        let own = |c: &catalog::Model| (c.keyset == self.rotation.keyset).then(|| c.path());
        let paths: Vec<Option<String>> = target.columns.iter().map(own).collect();
        let work = move || {
            let (mut cells, mut failed) = (vec![0; paths.len()], Vec::new());
            for row in rows {
                let key = shape.split_key(&row.key)?;
                for (i, cell) in row.cells.into_iter().enumerate() {
                    let (Some(cell), Some(path)) = (cell, &paths[i]) else { continue };
                    // By now every cell must be native, also where they were not before.
                    let layout = Layout { format: Format::Tink, encoding: shape.columns[i].layout.encoding };
                    match keyset.decrypt_from(layout, &cell, &templates[i].render(&key)) {
                        Ok(_) => cells[i] += 1,
                        Err(e) => failed.push(format!("{path} of row {} ({})", row.key, e.code())),
                    }
                }
            }
            Ok::<_, EngineError>((cells, failed))
        };
        let done = tokio::task::spawn_blocking(work).await;
        let (cells, failed) =
            done.map_err(|_| EngineError::refused("opening_panicked", "opening cells panicked; nothing was changed"))??;
        opened.cells.iter_mut().zip(cells).for_each(|(all, some)| *all += some);
        opened.failed.extend(failed);
        Ok(())
    }
}

/// A number drawn at random; where the system has none, the first row does.
fn drawn() -> u32 {
    let mut random = [0u8; 4];
    getrandom::fill(&mut random).map_or(0, |()| u32::from_ne_bytes(random) >> 1)
}
