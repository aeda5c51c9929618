//! The queue in Redis, through apalis.

mod codec;
mod connect;
mod pace;
mod tidy;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::{BackendExt, PollWith, TaskBuilder, TaskId, TaskSink};
use apalis_core::backend::ext::lifecycle::BeforeStart;
use apalis_core::backend::ext::with_codec::WithCodec;
use apalis_redis::{Config, RedisStorage};
use redis::aio::ConnectionManager;
use reseal_entities::job::{Doorbell, Job, RingError};

pub use codec::JobCodec;
use pace::Pace;

use crate::{QueueError, random_mark};

/// The longest that a ring or a question may take, reconnecting included.
const PATIENCE: Duration = Duration::from_secs(10);

/// An idle worker looks this often; apalis alone would wake it at its heartbeat only.
const POLL: Duration = Duration::from_millis(150);

/// apalis restarts a failed worker without a pause. Where every command is refused (out of memory,
/// a replica) that would spin a core; so a restarted worker first waits this long.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

type Polled = PollWith<WithCodec<RedisStorage<Job>, JobCodec>, Pace>;

/// What a worker reads the queue in Redis through.
pub type RedisBackend = BeforeStart<Polled, apalis_redis::Error>;

/// Delivers at least once. After a worker's death its messages come back within about 30 s; after
/// the server's loss they do not, and dispatch rings again. Clones share one connection, which
/// reconnects by itself for as long as it takes.
#[derive(Clone)]
pub struct RedisQueue(Arc<Inner>);

struct Inner {
    storage: RedisStorage<Job>,
    connection: ConnectionManager,
    incarnation_key: String,
    cursors: tidy::Cursors,
    host: String,
}

impl RedisQueue {
    /// Connects and checks that the server can be relied upon: it answers, lets us write, evicts
    /// nothing, and is neither older than 6.2 nor a cluster. Answers within a few seconds.
    pub async fn connect(url: &str, namespace: &str) -> Result<Self, QueueError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if namespace.is_empty() || namespace.len() > 64 || !namespace.chars().all(allowed) {
            return Err(QueueError::Namespace);
        }
        // The braces keep all keys of one queue in one slot, should a proxy shard them.
        let prefix = format!("{{reseal:{namespace}}}");
        let incarnation_key = format!("{prefix}:incarnation");
        let server = connect::connect(url, &incarnation_key).await?;
        let config = Config::default()
            .queue(format!("{prefix}:jobs"))
            // Fetched messages that wait in a local buffer get neither heartbeat nor ack.
            .batch_size(1)
            .lock_tasks(false)
            .heartbeat_interval(Duration::from_secs(5))
            .missed_heartbeats(6)
            // Without results apalis never acknowledges; without a ttl it deletes keys at once.
            .persist_results(true)
            .idempotency_ttl(Some(Duration::from_secs(86_400)))
            .emit_events(false);
        Ok(Self(Arc::new(Inner {
            storage: RedisStorage::new(server.connection.clone()).with_config(config),
            connection: server.connection,
            incarnation_key,
            cursors: tidy::Cursors::default(),
            host: server.host,
        })))
    }

    /// A fresh backend for a worker that has been restarted `restarts` times. A restarted one
    /// waits a second before it registers.
    pub fn backend(&self, restarts: usize) -> RedisBackend {
        let pause = if restarts == 0 { Duration::ZERO } else { RESTART_PAUSE };
        let storage = self.0.storage.clone().with_codec(JobCodec);
        storage.poll_with_strategy(Pace::new(POLL)).before_start(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok(())
        })
    }

    async fn within<T, E: fmt::Display>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, RingError> {
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(done) => done.map_err(|e| RingError(e.to_string())),
            Err(_) => Err(RingError(format!("the Redis at {} did not answer within {PATIENCE:?}", self.0.host))),
        }
    }
}

#[async_trait::async_trait]
impl Doorbell for RedisQueue {
    async fn ring(&self, job: &Job, ring_id: &str) -> Result<(), RingError> {
        let task = TaskBuilder::new(job.clone()).task_id(TaskId::from_string(ring_id)).build();
        let mut storage = self.0.storage.clone();
        self.within(storage.push_task(task)).await
    }

    /// A random mark beside the queue; whoever first finds it missing sets a new one.
    async fn incarnation(&self) -> Result<String, RingError> {
        let fresh = random_mark().map_err(|e| RingError(e.to_string()))?;
        let mut connection = self.0.connection.clone();
        self.within(connect::mark(&mut connection, &self.0.incarnation_key, &fresh)).await
    }
}

impl fmt::Debug for RedisQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.0.storage.get_config().queue.to_string();
        f.debug_struct("RedisQueue").field("host", &self.0.host).field("queue", &queue).finish_non_exhaustive()
    }
}
