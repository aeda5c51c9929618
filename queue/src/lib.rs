//! The doorbell: apalis over Redis, or in process.
//!
//! A message carries a kind and an id and is believed by nobody, so everything here may be lost,
//! doubled, replayed or forged at the price of one look into the ledger.
//!
//! - [`RedisQueue`] lets several processes share the work. It survives its server being flushed,
//!   restarted or replaced: dispatch notices by the [incarnation](Doorbell::incarnation).
//! - [`LocalQueue`] is for one process with no server beside it. It ends with the process.

mod error;
mod local;
mod redis;

pub use error::QueueError;
pub use local::{LocalBackend, LocalQueue};
pub use redis::{JobCodec, RedisBackend, RedisQueue};

use reseal_entities::job::{Doorbell, Job, RingError};

/// Either queue, chosen by its address.
#[derive(Clone, Debug)]
pub enum Queue {
    /// Shared by every process that has the same server and namespace.
    Redis(RedisQueue),
    /// Inside this process.
    Local(LocalQueue),
}

impl Queue {
    /// Opens the queue at `url`: `memory:`, or whatever [`RedisQueue::connect`] takes.
    /// `namespace` keeps the queues of several ledgers on one server apart.
    pub async fn open(url: &str, namespace: &str) -> Result<Self, QueueError> {
        if url == "memory:" {
            return Ok(Self::Local(LocalQueue::new()?));
        }
        Ok(Self::Redis(RedisQueue::connect(url, namespace).await?))
    }

    /// Removes some finished messages, see [`RedisQueue::tidy`]; returns how many. The in-process
    /// queue keeps none.
    pub async fn tidy(&self) -> Result<usize, RingError> {
        match self {
            Self::Redis(queue) => queue.tidy().await,
            Self::Local(_) => Ok(0),
        }
    }
}

#[async_trait::async_trait]
impl Doorbell for Queue {
    async fn ring(&self, job: &Job, ring_id: &str) -> Result<(), RingError> {
        match self {
            Self::Redis(queue) => queue.ring(job, ring_id).await,
            Self::Local(queue) => queue.ring(job, ring_id).await,
        }
    }

    async fn incarnation(&self) -> Result<String, RingError> {
        match self {
            Self::Redis(queue) => queue.incarnation().await,
            Self::Local(queue) => queue.incarnation().await,
        }
    }
}

/// 128 random bits from the operating system, as hex.
fn random_mark() -> Result<String, QueueError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| QueueError::Randomness(e.to_string()))?;
    Ok(hex::encode(bytes))
}
