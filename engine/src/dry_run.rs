//! Dry run: what a rotation would do, found by doing it in small and taking it back.
//!
//! The same walk that planning writes down, and chunks of every table read, re-encrypted under a key that is
//! thrown away, swapped in a transaction that is rolled back. Nothing is registered, made or kept; the price
//! are some thousand dead rows for the next vacuum.

mod sample;

use crate::{
    blame,
    census::{headers, places},
    check::{self, Findings},
    engine::{Engine, Target, by_table},
    error::EngineError,
    length::next_algorithm,
    source::{Answer, Question},
    walk::Walk,
};
use reseal_entities::{
    catalog as catalog_row,
    ledger::{keys as ledger_keys, scope, writers as ledger_writers},
    state::KeyState,
};
use sample::Sampled;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Each table is looked at for so long at most, for columns that are not registered.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tables with more rows are not counted; what a count takes is then reckoned from their rows.
const COUNTED_MAX: i64 = 5_000_000;
/// Seconds a row that a census takes where it was not measured.
const CENSUS_ROW: f64 = 0.5e-6;

/// What a rotation of one keyset would do.
#[derive(Clone, Debug, Serialize)]
pub struct DryRun {
    /// The keyset.
    pub keyset: String,
    /// The algorithm of the next key.
    pub algorithm: &'static str,
    /// Each table with a column of the keyset.
    pub tables: Vec<TableForecast>,
    /// Seconds from the request to the proof with one worker of the configuration's lanes: between these.
    pub seconds: [f64; 2],
    /// Of which applications' writers are waited for.
    pub writer_ttl_seconds: f64,
    /// After the proof the old key is kept for so long.
    pub clear_after_seconds: Option<f64>,
    /// Columns that are not registered and hold cells under a key of the keyset: each would block the proof.
    pub unregistered: Vec<Unregistered>,
    /// What the look at those took.
    pub scan: Scan,
    /// Applications that report the key they write with; others are not known.
    pub writers: Vec<Writer>,
    /// What is locked, how, and for how long.
    pub locks: Vec<String>,
    /// What would stop it.
    pub problems: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What fires or replicates at every row.
    pub notes: Vec<String>,
}

/// One table's.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TableForecast {
    /// `source:schema.table`.
    pub table: String,
    /// Rows by its primary key.
    pub rows: i64,
    /// Cells in the columns of the keyset; none: too many rows to count now.
    pub cells: Option<i64>,
    /// Batches that it would be cut into.
    pub batches: i64,
    /// Bytes on disk now, indexes included.
    pub bytes: i64,
    /// Rows that were re-encrypted and taken back.
    pub sampled_rows: u64,
    /// Rows that could not be re-encrypted among them.
    pub unreadable_rows: u64,
    /// Rows a second that were reached.
    pub rows_per_second: f64,
    /// Seconds for all of it, between these.
    pub seconds: [f64; 2],
    /// Bytes by which it grows until it is vacuumed, at most.
    pub growth_bytes: i64,
    /// Bytes of write-ahead log, where the database has one to tell.
    pub wal_bytes: Option<i64>,
    /// Seconds for each census of it.
    pub census_seconds: f64,
}

/// An application that writes encrypted values.
#[derive(Clone, Debug, Serialize)]
pub struct Writer {
    /// What it calls itself.
    pub name: String,
    /// The key that it writes with.
    pub key_id: i64,
    /// It lags behind: another key is active.
    pub straggles: bool,
}

/// A column that is not registered and holds cells.
#[derive(Clone, Debug, Serialize)]
pub struct Unregistered {
    /// `source:schema.table.column`.
    pub column: String,
    /// So many.
    pub cells: i64,
}

/// What looking at columns that are not registered took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scan {
    /// Columns that were looked at.
    pub columns: usize,
    /// Seconds for all of them: a proof takes as long, twice.
    pub seconds: f64,
    /// Columns that took longer than ten seconds and were given up.
    pub unfinished: Vec<String>,
}

impl DryRun {
    /// Nothing that was found would stop it.
    pub fn would_complete(&self) -> bool {
        self.problems.is_empty() && self.unregistered.is_empty()
    }
}

/// Tries a rotation of `keyset` to `to`, or to a key of its own, and writes nothing that stays.
pub async fn dry_run(engine: &Engine, keyset: &str, to: Option<i64>) -> Result<DryRun, EngineError> {
    let db = engine.ledger.db();
    let keys = ledger_keys::all(db).await?;
    let algorithm = next_algorithm(&keys, keyset, to);
    let (mut problems, mut warnings, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    let (found, columns) = match (check::look(engine).await, check::registered_and_declared(engine).await) {
        (Ok(found), Ok(columns)) => (found, columns),
        (Err(e), _) | (_, Err(e)) => {
            problems.push(e.told());
            (Findings::default(), Vec::new())
        }
    };
    for column in &found.columns {
        let lines = |texts: &[String]| texts.iter().map(|t| format!("{}: {t}", column.column)).collect::<Vec<_>>();
        problems.extend(lines(&column.problems));
        warnings.extend(lines(&column.warnings));
        warnings.extend(lines(&column.unreadable));
        notes.extend(lines(&column.notes));
    }
    let checked: Vec<String> = found.sources.into_iter().flat_map(|s| s.problems).collect();
    let own: Vec<_> = columns.iter().filter(|c| c.keyset == keyset).cloned().collect();
    if own.is_empty() && problems.is_empty() {
        problems.push(format!("no column uses keyset `{keyset}`: declare one with [[source]] and [[table]]"));
    }
    let mut tables = Vec::new();
    for table in by_table(own) {
        let path = format!("{}:{}.{}", table[0].source, table[0].schema_name, table[0].table_name);
        match engine.target(table).await {
            Ok(target) => match forecast(engine, &target, path.clone(), keyset, algorithm).await {
                Ok((forecast, sampled)) => {
                    problems.extend(all_unchanged(&target, &path, &sampled).await?);
                    warnings.extend(some_refused(&path, &sampled));
                    tables.push(forecast);
                }
                Err(EngineError::Source(e)) => problems.push(format!("{path}: {e}")),
                Err(e) => return Err(e),
            },
            Err(e) if problems.is_empty() => problems.push(format!("{path}: {}", e.told())),
            Err(_) => {} // the check has said so
        }
    }
    let active = keys.iter().find(|k| k.keyset == keyset && k.state == KeyState::Active).map(|k| k.key_id);
    let alive = ledger_writers::alive(db, keyset).await?.into_iter();
    let writers: Vec<_> =
        alive.map(|w| Writer { straggles: Some(w.key_id) != active, name: w.name, key_id: w.key_id }).collect();
    let straggling = writers.iter().filter(|w| w.straggles);
    warnings.extend(straggling.map(|w| format!("{} still writes with key {}, which is not active", w.name, w.key_id)));
    let (unregistered, unreadable, scan) = unregistered(engine, keyset, &columns).await?;
    let unreadable: Vec<_> = unreadable.into_iter().filter(|u| !checked.contains(u)).collect();
    problems.extend(checked.into_iter().chain(unreadable));
    let ttl_ms = i64::try_from(engine.config.rotation.writer_ttl.as_millis()).unwrap_or(i64::MAX);
    if let Some(problem) = ledger_writers::too_little_time(db, keyset, ttl_ms).await? {
        // The check has said so where a column uses the keyset.
        if !problems.iter().any(|p| p.ends_with(&problem)) {
            problems.push(problem);
        }
    }
    warnings.extend(scan.unfinished.iter().map(|c| format!("{c} was not looked at within {} s", PATIENCE.as_secs())));
    let writer_ttl = engine.config.rotation.writer_ttl.as_secs_f64();
    let work = |i: usize| tables.iter().map(|t| t.seconds[i]).sum::<f64>();
    let proof = tables.iter().map(|t| 2.0 * t.census_seconds).sum::<f64>() + scan.seconds;
    let seconds = [work(0).max(writer_ttl) + proof, work(1).max(writer_ttl) + 2.0 * proof + 2.0];
    Ok(DryRun {
        keyset: keyset.to_owned(),
        algorithm: algorithm.as_str(),
        seconds,
        writer_ttl_seconds: writer_ttl,
        clear_after_seconds: engine.config.rotation.clear_after.map(|d| d.as_secs_f64()),
        unregistered,
        scan,
        writers,
        locks: engine
            .sources()
            .flat_map(|(name, source)| source.locks().iter().map(move |l| format!("{name}: {l}")))
            .collect(),
        tables,
        problems,
        warnings,
        notes,
    })
}

async fn forecast(
    engine: &Engine,
    target: &Target,
    table: String,
    keyset: &str,
    algorithm: reseal_keyring::Algorithm,
) -> Result<(TableForecast, Sampled), EngineError> {
    let Target { source, shape, .. } = target;
    let mut it = TableForecast { table, bytes: source.size(shape).await?, ..TableForecast::default() };
    let mut starts = vec![None];
    if let Some(max_key) = source.max_key(shape).await? {
        let mut walk = Walk::new(target, None, max_key, engine.config.rotation.batch_rows.into());
        loop {
            let (bounds, last) = walk.stretch().await?;
            it.rows += bounds.iter().map(|b| b.rows).sum::<i64>();
            it.batches += bounds.len() as i64;
            starts.extend(bounds.into_iter().map(|b| Some(b.up_to_key)));
            if last {
                break;
            }
        }
    }
    let began = Instant::now();
    let counted = if it.rows <= COUNTED_MAX { Some(count(target).await?) } else { None };
    it.census_seconds = if counted.is_some() { began.elapsed().as_secs_f64() } else { it.rows as f64 * CENSUS_ROW };
    it.cells = counted.as_ref().map(|answers| answers.iter().map(|a| a.cells).sum());
    // A row is rewritten when any of its cells is; the fullest column says how many at least.
    let rewritten = counted.map_or(it.rows, |answers| answers.iter().map(|a| a.cells).max().unwrap_or(0));
    let sampled = sample::sample(engine, target, keyset, algorithm, &starts).await?;
    reckon(&mut it, rewritten, &sampled);
    Ok((it, sampled))
}

/// What a source does that takes updates and keeps rows as they are.
async fn all_unchanged(target: &Target, path: &str, sampled: &Sampled) -> Result<Option<String>, EngineError> {
    if sampled.rows > 0 || sampled.unchanged == 0 {
        return Ok(None);
    }
    Ok(Some(format!("{path}: {}", blame::ignored(&target.source.notes(&target.shape).await?))))
}

fn some_refused(path: &str, sampled: &Sampled) -> Vec<String> {
    let mut warnings = Vec::new();
    if sampled.refused > 0 {
        warnings.push(format!(
            "{path}: the source refuses {} of the sampled rows; they would be quarantined",
            sampled.refused
        ));
    }
    if sampled.unchanged > 0 && sampled.rows > 0 {
        warnings.push(format!(
            "{path}: {} of {} sampled rows were not changed: applications changed them meanwhile, or a trigger keeps them as they are",
            sampled.unchanged,
            sampled.unchanged + sampled.rows
        ));
    }
    warnings
}

fn reckon(it: &mut TableForecast, rewritten: i64, sampled: &Sampled) {
    it.sampled_rows = sampled.rows;
    it.unreadable_rows = sampled.unreadable;
    it.rows_per_second = sampled.rows_per_second;
    let seconds = if sampled.rows_per_second > 0.0 { rewritten as f64 / sampled.rows_per_second } else { 0.0 };
    it.seconds = [0.75 * seconds, 1.5 * seconds];
    let share = rewritten as f64 / it.rows.max(1) as f64;
    it.growth_bytes = (it.bytes as f64 * share) as i64;
    it.wal_bytes = sampled.wal_bytes_per_row.map(|bytes| (bytes * rewritten as f64) as i64);
}

async fn count(target: &Target) -> Result<Vec<Answer>, EngineError> {
    let question = |c: &catalog_row::Model| Question {
        column: c.column_name.clone(),
        text: c.encoding != "bytes",
        retired: Vec::new(),
        known: None,
    };
    let questions: Vec<_> = target.columns.iter().map(question).collect();
    let mut prover = target.source.prover().await?;
    let answers = prover.count(&target.shape, &questions).await?;
    prover.release().await?;
    Ok(answers)
}

/// Looks for cells under any key that the rotation would retire, in columns that nobody registered.
async fn unregistered(
    engine: &Engine,
    keyset: &str,
    columns: &[catalog_row::Model],
) -> Result<(Vec<Unregistered>, Vec<String>, Scan), EngineError> {
    let keys = ledger_keys::of_keyset(engine.ledger.db(), keyset).await?;
    let would_retire = keys.iter().filter(|k| matches!(k.state, KeyState::Active | KeyState::Deactivated));
    let headers = headers(would_retire);
    let (mut found, mut unreadable, mut scan) = (Vec::new(), Vec::new(), Scan::default());
    if headers.is_empty() {
        return Ok((found, unreadable, scan));
    }
    let scope = scope::now(engine.ledger.db()).await?;
    for (name, source) in engine.sources() {
        let began = Instant::now();
        let mut prover = source.prover().await?;
        let strays = prover.strays(&places(columns, name), &scope.left_out(name), &headers, Some(PATIENCE)).await?;
        prover.release().await?;
        scan.seconds += began.elapsed().as_secs_f64();
        scan.columns += strays.looked_at;
        unreadable.extend(strays.unreadable.iter().map(|u| format!("{name}:{}: {}", u.path, u.why)));
        scan.unfinished.extend(strays.unfinished.into_iter().map(|c| format!("{name}:{c}")));
        found.extend(
            strays.found.into_iter().map(|s| Unregistered { column: format!("{name}:{}", s.path), cells: s.cells }),
        );
    }
    Ok((found, unreadable, scan))
}
