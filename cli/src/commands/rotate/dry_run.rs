//! `reseal rotate --dry-run`: what it would do, tried in small and taken back.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Output, Table, count, grouped, seconds},
};
use reseal_config::Config;
use reseal_engine::dry_run::{self, DryRun, TableForecast};
use std::time::Duration;

/// Lines of a kind that people are shown; `--json` has all.
const SHOWN: usize = 5;

pub(super) async fn run(config: Config, keyset: &str, to: Option<u32>, context: &Context) -> Result<Exit, Failure> {
    let output = &context.output;
    let engine = ground::engine_only(config, output).await?;
    output.note(&format!("trying chunks of every column of keyset `{keyset}`, each taken back …"));
    let found = dry_run::dry_run(&engine, keyset, to.map(i64::from)).await?;
    output.show(&found, || text(&found, output));
    Ok(if found.would_complete() { Exit::Done } else { Exit::Failed })
}

fn text(found: &DryRun, output: &Output) -> String {
    let mut table = Table::new(&["table", "rows#", "batches#", "size#", "grows by#", "log#", "time#"]);
    for t in &found.tables {
        table.row([
            t.table.clone(),
            grouped(t.rows),
            grouped(t.batches),
            bytes(t.bytes),
            bytes(t.growth_bytes),
            t.wal_bytes.map_or_else(|| "-".to_owned(), bytes),
            between(t.seconds),
        ]);
    }
    let mut text = table.to_string();
    text.extend(found.tables.iter().filter(|t| t.rows > 0).map(rate));
    text += &format!("next key: {}\n", found.algorithm);
    text += &format!(
        "until proved: {} with one worker, of which {} are left to writers that have not reloaded\n",
        between(found.seconds),
        seconds(Duration::from_secs_f64(found.writer_ttl_seconds))
    );
    if let Some(after) = found.clear_after_seconds {
        text += &format!("the old key is then kept for {}\n", seconds(Duration::from_secs_f64(after)));
    }
    text += &format!(
        "other columns: {} looked at for cells in {}; each proof looks twice\n",
        grouped(found.scan.columns as i64),
        seconds(Duration::from_secs_f64(found.scan.seconds))
    );
    if !found.writers.is_empty() {
        let names: Vec<_> = found.writers.iter().map(|w| format!("{} (key {})", w.name, w.key_id)).collect();
        text += &format!("applications seen: {}\n", names.join(", "));
    }
    let strays: Vec<_> = found
        .unregistered
        .iter()
        .map(|u| format!("{} holds {} and is not registered", u.column, count(u.cells.unsigned_abs(), "cell")))
        .collect();
    for (what, lines) in [
        ("lock", &found.locks),
        ("note", &found.notes),
        ("warning", &found.warnings),
        ("would stop it", &strays),
        ("would stop it", &found.problems),
    ] {
        text.extend(lines.iter().take(SHOWN).map(|line| format!("{what}: {line}\n")));
        if lines.len() > SHOWN {
            text += &format!("{what}: and {} more, see --json\n", lines.len() - SHOWN);
        }
    }
    let verdict = if found.would_complete() { "nothing would stop it" } else { "it would not complete" };
    text + &output.verdict(found.would_complete(), verdict) + "\n"
}

fn rate(t: &TableForecast) -> String {
    let unreadable = match t.unreadable_rows {
        0 => String::new(),
        n => format!(", {} of them could not be and would be quarantined", grouped(n as i64)),
    };
    let tried = grouped(t.sampled_rows as i64);
    format!("{}: {tried} rows tried, {} rows/s{unreadable}\n", t.table, grouped(t.rows_per_second as i64))
}

fn between([low, high]: [f64; 2]) -> String {
    if high < 1.0 {
        return "under 1 s".to_owned();
    }
    let [low, high] = [low, high].map(|s| seconds(Duration::from_secs_f64(s.round())));
    if low == high { low } else { format!("{low} to {high}") }
}

fn bytes(n: i64) -> String {
    let (mut n, mut unit) = (n as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if n < 1024.0 {
            break;
        }
        (n, unit) = (n / 1024.0, next);
    }
    if unit == "B" { format!("{n:.0} B") } else { format!("{n:.1} {unit}") }
}
