//! Real chunks of a table, in as many lanes as a worker has, each taken back.

use crate::{
    chunk::{Trial, Work},
    chunk_size::ChunkSize,
    engine::{Engine, Target},
    error::EngineError,
    source::Range,
};
use futures::future::try_join_all;
use reseal_keyring::{Algorithm, KeyId};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// So long a table is tried, or so many chunks a lane.
const FOR: Duration = Duration::from_secs(2);
const CHUNKS_MAX: usize = 12;

/// What the chunks came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sampled {
    pub rows: u64,
    pub unreadable: u64,
    /// Rows that the source refuses while others pass.
    pub refused: u64,
    /// Rows that were sent and not changed.
    pub unchanged: u64,
    pub rows_per_second: f64,
    pub wal_bytes_per_row: Option<f64>,
}

/// Chunks from every part of a table: `starts` are the ends of its batches, the first before its first row.
pub(super) async fn sample(
    engine: &Engine,
    target: &Target,
    keyset: &str,
    algorithm: Algorithm,
    starts: &[Option<String>],
) -> Result<Sampled, EngineError> {
    let keyset = engine.keyring.keyset(keyset).await?;
    let thrown_away = KeyId::random();
    let trial = Arc::new(engine.keyring.trial(keyset.name(), thrown_away, algorithm).await?);
    let lanes = usize::from(engine.config.worker.lanes).min(starts.len().saturating_sub(1)).max(1);
    let lane = async |lane: usize| {
        let part = starts.len() * lane / lanes;
        one_lane(engine, &Work::new(target, &engine.keyring, Arc::clone(&trial)), starts[part].clone()).await
    };
    let done = try_join_all((0..lanes).map(lane)).await?;
    let rows: u64 = done.iter().map(|s| s.rows).sum();
    let wal: Vec<f64> = done.iter().filter_map(|s| s.wal_bytes_per_row).collect();
    Ok(Sampled {
        rows,
        unreadable: done.iter().map(|s| s.unreadable).sum(),
        refused: done.iter().map(|s| s.refused).sum(),
        unchanged: done.iter().map(|s| s.unchanged).sum(),
        rows_per_second: done.iter().map(|s| s.rows_per_second).sum(),
        // Lanes see each other's log: each is charged its share.
        wal_bytes_per_row: (!wal.is_empty()).then(|| wal.iter().sum::<f64>() / (wal.len() as f64).powi(2)),
    })
}

async fn one_lane(engine: &Engine, work: &Work<'_>, after: Option<String>) -> Result<Sampled, EngineError> {
    let mut size = ChunkSize::new(&engine.config.rotation.chunk_rows, None);
    let (mut range, began) = (Range { after, up_to: None }, Instant::now());
    let (mut it, mut steady_rows, mut steady, mut wal) = (Sampled::default(), 0, Duration::ZERO, None);
    let mut page = work.read(&range, size.rows()).await?;
    for n in 0..CHUNKS_MAX {
        let Some(last) = page.rows.last() else { break };
        range.after = Some(last.key.clone());
        let (more, chunk_began) = (page.more, Instant::now());
        let next = async {
            if more { work.read(&range, size.rows()).await.map_err(EngineError::from).map(Some) } else { Ok(None) }
        };
        let (tried, next) = tokio::join!(work.try_chunk(page.rows), next);
        let Trial { tried, sent, unreadable, refused, took } = tried?;
        size.learn(tried.rows as usize, took);
        it.rows += tried.rows;
        it.unreadable += unreadable;
        it.refused += refused;
        it.unchanged += sent.saturating_sub(tried.rows);
        wal = tried.wal_bytes.map(|bytes| wal.unwrap_or(0) + bytes);
        // The first chunk pays for cold caches and plans; it counts only when it is the only one.
        if n > 0 || !more {
            steady_rows += tried.rows;
            steady += chunk_began.elapsed();
        }
        match next? {
            Some(next) if began.elapsed() < FOR => page = next,
            _ => break,
        }
    }
    if steady_rows == 0 {
        (steady_rows, steady) = (it.rows, began.elapsed());
    }
    it.rows_per_second = if steady_rows > 0 { steady_rows as f64 / steady.as_secs_f64().max(1e-6) } else { 0.0 };
    it.wal_bytes_per_row = wal.filter(|_| it.rows > 0).map(|bytes| bytes as f64 / it.rows as f64);
    Ok(it)
}
