//! The in-process queue: a bounded channel.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reseal_entities::job::{Doorbell, Job, RingError};
use tokio::sync::{Mutex, mpsc};

use crate::{QueueError, random_mark};

/// Messages that may wait. Dispatch keeps at most 2,000 outstanding.
const CAPACITY: usize = 4_096;

/// What a worker reads the in-process queue through.
pub type LocalBackend = BoxStream<'static, Result<Job, Infallible>>;

/// Carries messages inside one process and forgets them with it: whatever was waiting is rung
/// again after the restart. Clones share one queue.
#[derive(Clone)]
pub struct LocalQueue(Arc<Inner>);

struct Inner {
    sender: mpsc::Sender<Job>,
    receiver: Mutex<mpsc::Receiver<Job>>,
    incarnation: String,
}

impl LocalQueue {
    /// An empty queue. Fails only without random bytes for its incarnation.
    pub fn new() -> Result<Self, QueueError> {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let receiver = Mutex::new(receiver);
        let incarnation = random_mark()?;
        Ok(Self(Arc::new(Inner { sender, receiver, incarnation })))
    }

    /// The messages, as a ready-made apalis backend. Every message goes to one of the backends
    /// that are being polled; a new one may be taken at each restart of a worker.
    pub fn backend(&self) -> LocalBackend {
        stream::unfold(self.0.clone(), |queue| async move {
            let job = queue.receiver.lock().await.recv().await?;
            Some((Ok(job), queue))
        })
        .boxed()
    }
}

#[async_trait::async_trait]
impl Doorbell for LocalQueue {
    /// Never waits: a full queue is an error, and dispatch rings again.
    async fn ring(&self, job: &Job, _ring_id: &str) -> Result<(), RingError> {
        self.0.sender.try_send(job.clone()).map_err(|_| RingError(format!("{CAPACITY} messages already wait")))
    }

    async fn incarnation(&self) -> Result<String, RingError> {
        Ok(self.0.incarnation.clone())
    }
}

impl fmt::Debug for LocalQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalQueue").finish_non_exhaustive()
    }
}
