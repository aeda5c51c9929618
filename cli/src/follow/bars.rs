//! Progress on a terminal.

use crate::output;
use indicatif::{ProgressBar, ProgressStyle};
use reseal_entities::ledger::read::RotationStatus;
use std::{collections::BTreeMap, time::Duration};

const TABLE: &str = "{prefix}  {bar:24}  {percent:>3} %  {human_pos}/{human_len} rows  {per_sec}  {eta}";

/// A line with the state, and one bar a table that has rows.
#[derive(Default)]
pub(crate) struct Bars {
    line: Option<ProgressBar>,
    tables: BTreeMap<String, ProgressBar>,
}

impl Bars {
    pub(crate) fn show(&mut self, status: &RotationStatus) {
        let line = self.line.get_or_insert_with(|| {
            let line = output::bars().add(ProgressBar::new_spinner());
            line.enable_steady_tick(Duration::from_millis(120));
            line
        });
        line.set_message(format!("rotation {}: {}", status.id, status.summary));
        let width = status.tables.iter().map(|t| t.table.chars().count()).max().unwrap_or(0);
        for table in status.tables.iter().filter(|t| t.rows > 0) {
            let bar = self.tables.entry(table.table.clone()).or_insert_with(|| {
                let bar = output::bars().add(ProgressBar::new(0));
                bar.set_style(ProgressStyle::with_template(TABLE).unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar
            });
            bar.set_prefix(format!("{:<width$}", table.table));
            // The plan grows while the first batches are worked off.
            bar.set_length(u64::try_from(table.rows).unwrap_or(0));
            bar.set_position(u64::try_from(table.rows_done).unwrap_or(0));
        }
    }

    pub(crate) fn finish(&mut self) {
        for bar in self.tables.values().chain(&self.line) {
            bar.finish_and_clear();
        }
    }
}
