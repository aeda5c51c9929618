//! What the queue carries: a kind and an id, never anything that is believed.
//!
//! A message is a doorbell. Whoever hears it looks into the ledger and does only what the ledger
//! says is due, so a lost, doubled, forged or stale message costs at most one look.

use serde::{Deserialize, Serialize};

/// The step that a message asks a worker to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Cut a rotation's tables into batches.
    Plan,
    /// Re-encrypt one batch.
    Batch,
    /// Fence, sweep and count a rotation's columns.
    Prove,
    /// Destroy a rotation's retired keys.
    Clear,
    /// Do what somebody asked for: a dry run, a census, a clearing to be followed. A worker of an older
    /// version takes it for unknown and drops it, and dispatch rings again.
    Operation,
    /// A message of another version or hand; acknowledged and counted, never acted on.
    #[default]
    #[serde(other)]
    Unknown,
}

/// One message. Every field has a default, so that no payload can stop a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Job {
    /// What to look at.
    pub kind: JobKind,
    /// The batch's id for [`JobKind::Batch`], the operation's for [`JobKind::Operation`], the rotation's for
    /// every other kind.
    pub id: i64,
}

impl std::fmt::Display for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letter = match self.kind {
            JobKind::Plan => 'p',
            JobKind::Batch => 'b',
            JobKind::Prove => 'v',
            JobKind::Clear => 'c',
            JobKind::Operation => 'o',
            JobKind::Unknown => 'u',
        };
        write!(f, "{letter}{}", self.id)
    }
}

/// Why a ring did not reach the queue. Nothing is lost by it: dispatch rings again.
#[derive(Debug, thiserror::Error)]
#[error("the queue did not take the message: {0}")]
pub struct RingError(pub String);

/// Where dispatch rings. If the process dies between the ledger's note of a ring and the ring
/// itself, the job is rung again when its `next_ring_at` has passed.
#[async_trait::async_trait]
pub trait Doorbell: Send + Sync {
    /// Puts `job` into the queue under `ring_id`, which is new for every ring: the queue silently
    /// drops an id that it has seen.
    async fn ring(&self, job: &Job, ring_id: &str) -> Result<(), RingError>;

    /// A mark that lives exactly as long as the queue's contents do. A flushed, replaced or
    /// restarted-empty queue has a new one, and then everything open is due at once.
    async fn incarnation(&self) -> Result<String, RingError>;
}
