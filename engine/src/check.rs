//! Check: configuration, rights, schema, backups, and a sample of every column opened for real.

use crate::{
    engine::{Engine, by_table},
    error::EngineError,
    plan,
};
use reseal_entities::ledger::catalog;
use serde::Serialize;

/// So many cells of a column are opened from each end of its table.
pub const SAMPLE_ROWS: u32 = 50;

/// What was found of one column.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ColumnCheck {
    /// `source:schema.table.column`.
    pub column: String,
    /// Cells that were opened.
    pub opened: usize,
    /// Cells that did not open, by code.
    pub unreadable: Vec<String>,
    /// What stops a rotation of it.
    pub problems: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// Every registered column.
    pub columns: Vec<ColumnCheck>,
    /// Backups of wrapped keys that were missing and are written now.
    pub backups_written: usize,
}

impl Findings {
    /// Nothing stops a rotation and every sampled cell opened.
    pub fn good(&self) -> bool {
        self.columns.iter().all(|c| c.problems.is_empty() && c.unreadable.is_empty())
    }
}

/// Registers what the configuration declares and looks at every registered column.
pub async fn check(engine: &Engine) -> Result<Findings, EngineError> {
    plan::register(engine).await?;
    let columns = catalog::registered(engine.ledger.db()).await?;
    let mut findings = Findings::default();
    let mut keysets: Vec<String> = columns.iter().map(|c| c.keyset.clone()).collect();
    keysets.sort();
    keysets.dedup();
    for keyset in &keysets {
        findings.backups_written += engine.keyring.back_up(keyset).await?;
    }
    for table in by_table(columns) {
        let mut checks: Vec<_> =
            table.iter().map(|c| ColumnCheck { column: c.path(), ..ColumnCheck::default() }).collect();
        let target = match engine.target(table).await {
            Ok(target) => target,
            Err(e) => {
                checks.iter_mut().for_each(|c| c.problems.push(e.to_string()));
                findings.columns.extend(checks);
                continue;
            }
        };
        let missing = target.source.missing_rights(&target.shape).await?;
        for ((check, column), template) in checks.iter_mut().zip(&target.columns).zip(&target.templates) {
            check.problems.extend(missing.clone());
            if !template.binds_to_row() {
                check.warnings.push(
                    "its associated data does not name the row, so a cell copied into another row still opens"
                        .to_owned(),
                );
            }
            let keyset = engine.keyring.keyset(&column.keyset, None).await?;
            let mut sample = target.source.sample(&target.shape, &column.column_name, true, SAMPLE_ROWS).await?;
            sample.extend(target.source.sample(&target.shape, &column.column_name, false, SAMPLE_ROWS).await?);
            sample.sort_unstable();
            sample.dedup();
            for (key, cell) in sample {
                match keyset.decrypt(&cell, &template.render(std::slice::from_ref(&key))) {
                    Ok(_) => check.opened += 1,
                    Err(e) => check.unreadable.push(format!("row {key}: {} ({e})", e.code())),
                }
            }
        }
        findings.columns.extend(checks);
    }
    Ok(findings)
}
