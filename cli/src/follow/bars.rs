//! Progress on a terminal.

use crate::output::{self, grouped};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use reseal_entities::ledger::read::RotationStatus;
use std::{collections::BTreeMap, fmt::Write, time::Duration};

const LINE: &str = "{spinner} {wide_msg}";
const TABLE: &str = "{prefix}  {wide_bar}  {percent:>3} %  {done}  {pace}";

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
            line.set_style(style(LINE));
            line.enable_steady_tick(Duration::from_millis(120));
            line
        });
        line.set_message(output::plain(&format!("rotation {}: {}", status.id, status.summary)));
        let width = status.tables.iter().map(|t| t.table.chars().count()).max().unwrap_or(0);
        for table in status.tables.iter().filter(|t| t.rows > 0) {
            let bar = self.tables.entry(table.table.clone()).or_insert_with(|| {
                let bar = output::bars().add(ProgressBar::new(0));
                bar.set_style(style(TABLE));
                bar
            });
            bar.set_prefix(output::plain(&format!("{:<width$}", table.table)));
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

impl Drop for Bars {
    fn drop(&mut self) {
        self.finish();
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.with_key("done", |state: &ProgressState, to: &mut dyn Write| {
        let _ = write!(to, "{}/{}", grouped(state.pos()), grouped(state.len().unwrap_or(0)));
    });
    style.with_key("pace", |state: &ProgressState, to: &mut dyn Write| {
        let _ = write!(to, "{}/s", grouped(state.per_sec() as i64));
    })
}
