//! Housekeeping that apalis leaves undone, in small steps off the hot path.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::{RedisResult, Script};
use reseal_entities::job::RingError;
use tracing::warn;

use super::RedisQueue;

/// Finished messages that may stay, and for how long: about 5 MB, for whoever looks into Redis.
const KEPT: usize = 10_000;
const KEPT_SECONDS: u64 = 86_400;

/// Ids looked at in one call.
const DONE_STEP: usize = 400;
const DEAD_STEP: usize = 100;

static TRIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("trim.lua")));
static MEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("mend.lua")));

/// Where the walks over the finished ids go on.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    done: AtomicU64,
    dead: AtomicU64,
}

impl RedisQueue {
    /// Removes finished messages that are older than a day or more than 10,000, and returns how
    /// many. Takes a few milliseconds: it looks at no more than 500 ids a call, so call it again
    /// soon while it finds something. Messages that wait, run or are scheduled are never removed.
    ///
    /// It also mends messages in the hands of a worker that lost their payload or their
    /// metadata (forged, or half lost with the server): such a one ends whichever worker fetches
    /// it, again every half minute. Mended, it is delivered as a job of an unknown kind.
    pub async fn tidy(&self) -> Result<usize, RingError> {
        self.within(async {
            self.mend().await?;
            let config = self.0.storage.get_config();
            let done = self.trim(&config.done_jobs_set(), &self.0.cursors.done, DONE_STEP).await?;
            let dead = self.trim(&config.dead_jobs_set(), &self.0.cursors.dead, DEAD_STEP).await?;
            RedisResult::Ok(done + dead)
        })
        .await
    }

    async fn trim(&self, set: &str, cursor: &AtomicU64, step: usize) -> RedisResult<usize> {
        let mut connection = self.0.connection.clone();
        let (next, mut ids): (u64, Vec<Vec<u8>>) = redis::cmd("SSCAN")
            .arg(set)
            .arg(cursor.load(Ordering::Relaxed))
            .arg("COUNT")
            .arg(step)
            .query_async(&mut connection)
            .await?;
        cursor.store(next, Ordering::Relaxed);
        // A scan may return a few more than asked for; they are met again in the next round.
        ids.truncate(step);
        if ids.is_empty() {
            return Ok(0);
        }
        let config = self.0.storage.get_config();
        let mut call = TRIM.key(set);
        call.key(config.job_data_hash()).key(config.job_meta_hash()).arg(KEPT).arg(KEPT_SECONDS);
        for id in ids {
            call.arg(id);
        }
        call.invoke_async(&mut connection).await
    }

    async fn mend(&self) -> RedisResult<()> {
        let config = self.0.storage.get_config();
        let mended: usize = MEND
            .key(config.workers_set())
            .key(config.job_data_hash())
            .key(config.job_meta_hash())
            .key(config.inflight_jobs_set())
            .arg(KEPT_SECONDS)
            .invoke_async(&mut self.0.connection.clone())
            .await?;
        if mended > 0 {
            warn!(mended, "messages without a payload or metadata were found in the queue");
        }
        Ok(())
    }
}
