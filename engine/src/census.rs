//! Census: counting cells by key id, reading no plaintext; and what a proof asks of a column.

mod told;

pub use told::{Census, Counted, CountedColumn, told};

use crate::{
    engine::{Engine, Target, by_table},
    error::EngineError,
    keys::id_of,
    source::{Answer, Header, KeyCount, Place, Prover, Question},
};
use reseal_entities::{
    catalog as catalog_row, keys,
    ledger::{
        catalog, keys as ledger_keys,
        scope::{self, Scope},
    },
    rotations,
    state::KeyState,
};
use reseal_keyring::cell;
use serde::Serialize;

/// One column's cells by key.
#[derive(Clone, Debug, Serialize)]
pub struct ColumnCensus {
    /// `source:schema.table.column`.
    pub column: String,
    /// Its keyset.
    pub keyset: String,
    /// Cells per key id.
    pub keys: Vec<KeyCount>,
}

/// Counts every registered column now.
pub async fn census(engine: &Engine) -> Result<Vec<ColumnCensus>, EngineError> {
    census_of(engine, catalog::registered(engine.ledger.db()).await?).await
}

/// Counts these registered columns now.
pub async fn census_of(engine: &Engine, columns: Vec<catalog_row::Model>) -> Result<Vec<ColumnCensus>, EngineError> {
    let mut found = Vec::new();
    let known = headers(&ledger_keys::all(engine.ledger.db()).await?);
    for table in by_table(columns) {
        let target = engine.target(table).await?;
        for column in &target.columns {
            let keys = target.source.census(&target.shape, &column.column_name, &known).await?;
            found.push(ColumnCensus { column: column.path(), keyset: column.keyset.clone(), keys });
        }
    }
    Ok(found)
}

/// The headers of those keys whose cells have one.
pub(crate) fn headers<'a>(keys: impl IntoIterator<Item = &'a keys::Model>) -> Vec<Header> {
    keys.into_iter().filter(|k| k.names_its_cells()).map(|k| cell::header(id_of(k))).collect()
}

/// Every registered table and what a proof asks of its columns.
pub(crate) struct Inquiry {
    /// Tables with the questions to their columns, in the same order.
    pub tables: Vec<(Target, Vec<Question>)>,
    /// All keys of the ledger.
    pub keys: Vec<keys::Model>,
    /// Headers of the keys that the rotation retires.
    pub retired: Vec<Header>,
    /// Those of them whose cells have no header.
    pub raw: Vec<i64>,
    /// Every registered column.
    pub columns: Vec<catalog_row::Model>,
    /// What is counted and scanned.
    pub scope: Scope,
    /// The keyset that is rotated.
    keyset: String,
}

impl Inquiry {
    pub(crate) async fn new(engine: &Engine, rotation: &rotations::Model) -> Result<Self, EngineError> {
        let db = engine.ledger.db();
        let keys = ledger_keys::all(db).await?;
        let pinned = ledger_keys::retired_by(db, rotation.id).await?;
        let retired = headers(&pinned);
        // Before the columns: a source that comes later is missed by the count, and then its columns are refused.
        let scope = scope::now(db).await?;
        engine.refuse_less_than(&scope)?;
        let columns = catalog::registered(db).await?;
        let mut tables = Vec::new();
        for table in by_table(columns.clone()) {
            let target = engine.target(table).await?;
            let question = |column: &catalog_row::Model| {
                let known = keys.iter().filter(|k| k.keyset == column.keyset && k.state != KeyState::Destroyed);
                let known = known.filter(|k| pinned.iter().all(|p| p.key_id != k.key_id));
                // Another keyset's column that nobody has adopted yet may hold what names no key.
                let asked = column.keyset == rotation.keyset || !column.is_to_be_adopted();
                Question {
                    column: column.column_name.clone(),
                    text: column.encoding != "bytes",
                    retired: retired.clone(),
                    known: asked.then(|| headers(known)),
                }
            };
            let questions = target.columns.iter().map(question).collect();
            tables.push((target, questions));
        }
        let raw = pinned.iter().filter(|k| !k.names_its_cells()).map(|k| k.key_id).collect();
        Ok(Self { tables, keys, retired, raw, columns, scope, keyset: rotation.keyset.clone() })
    }

    /// Counts the tables of one source. What is in the way is added to `blocks`, by name.
    pub(crate) async fn count(
        &self,
        source: &str,
        prover: &mut dyn Prover,
        blocks: &mut Vec<String>,
    ) -> Result<Vec<(i64, Answer)>, EngineError> {
        let mut answers = Vec::new();
        for (target, questions) in self.tables.iter().filter(|(t, _)| t.columns[0].source == source) {
            if prover.fingerprint(&target.shape).await? != target.shape.fingerprint {
                blocks.push(format!("{} changed its definition while it was counted", target.columns[0].path()));
            }
            for (column, answer) in target.columns.iter().zip(prover.count(&target.shape, questions).await?) {
                if answer.under_retired > 0 {
                    blocks.push(format!(
                        "{} holds {} cells under the retired key",
                        column.path(),
                        answer.under_retired
                    ));
                }
                if answer.unaccounted > 0 {
                    blocks.push(format!(
                        "{} holds {} cells that no known key explains",
                        column.path(),
                        answer.unaccounted
                    ));
                }
                answers.push((column.id, answer));
            }
        }
        Ok(answers)
    }

    /// Looks for cells under a retired key in columns that are not registered.
    pub(crate) async fn strays(
        &self,
        engine: &Engine,
        source: &str,
        prover: &mut dyn Prover,
        blocks: &mut Vec<String>,
    ) -> Result<(), EngineError> {
        if self.retired.is_empty() {
            return Ok(()); // raw keys only: cells that name no key cannot be told, as the proof's scope says
        }
        // A value that is to be adopted under another keyset can hold a cell anywhere, like any other column's.
        let looked_at = |c: &&catalog_row::Model| c.keyset == self.keyset || !c.is_to_be_adopted();
        let registered = places(self.columns.iter().filter(looked_at), source);
        let left_out = self.scope.left_out(source);
        let unsaid = declared(engine, source).iter().filter(|pattern| !left_out.contains(pattern)).count();
        let strays = prover.strays(&registered, &left_out, &self.retired, None).await?;
        blocks.extend(strays.unreadable.iter().map(|u| format!("{source}:{} cannot be looked at: {}", u.path, u.why)));
        for stray in strays.found {
            let path = format!("{source}:{}", stray.path);
            blocks.push(if self.columns.iter().any(|c| c.path() == path) {
                format!(
                    "{path} is to be adopted and holds {} cells under the retired key in its values: take them out",
                    stray.cells
                )
            } else {
                format!(
                    "{path} is not registered and holds {} cells under the retired key (register it with [[table]] and \
                     `reseal check`, or empty it{})",
                    stray.cells,
                    if unsaid > 0 {
                        "; `ignore_columns` has more than the ledger: `reseal check` registers exclusions"
                    } else {
                        ""
                    }
                )
            });
        }
        Ok(())
    }
}

/// Where a source's registered columns are.
pub(crate) fn places<'a>(columns: impl IntoIterator<Item = &'a catalog_row::Model>, source: &str) -> Vec<Place> {
    let of_source = columns.into_iter().filter(|c| c.source == source);
    of_source.map(|c| (c.schema_name.clone(), c.table_name.clone(), c.column_name.clone())).collect()
}

/// What this process's configuration leaves out. It counts once a person has registered it.
pub(crate) fn declared<'a>(engine: &'a Engine, source: &str) -> &'a [String] {
    engine.config.sources.iter().find(|s| s.name == source).map_or(&[], |s| &s.ignore_columns)
}
