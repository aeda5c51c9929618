//! Workers and the audit.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Worker {
    /// New at each start.
    pub name: String,
    /// Its machine.
    pub host: String,
    /// Its version of Reseal.
    pub version: String,
    /// `running`, `asked_to_drain`, `draining`, `stopped` or `lost`.
    pub state: String,
    /// Batches at once.
    pub lanes: i32,
    /// Batches in hand.
    pub jobs_running: i32,
    /// Rows that it changed.
    pub reencrypted: i64,
    /// Keys in its memory.
    pub keys_loaded: Vec<i64>,
    /// When it started.
    pub started_at: String,
    /// When it was last seen.
    pub seen_at: String,
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Its place in the chain.
    pub seq: i64,
    /// When.
    pub at: String,
    /// The person or worker.
    pub actor: String,
    /// What.
    #[cfg_attr(feature = "server", schema(example = "key.promoted"))]
    pub action: String,
    /// To what.
    #[cfg_attr(feature = "server", schema(example = "key 3018265591"))]
    pub subject: String,
    /// The request that it was part of.
    pub request_id: Option<String>,
    /// How it was.
    #[cfg_attr(feature = "server", schema(value_type = Option<Object>))]
    pub before: Value,
    /// How it is.
    #[cfg_attr(feature = "server", schema(value_type = Option<Object>))]
    pub after: Value,
    /// SHA-256 over the entry and the one before it.
    pub hash: String,
}

/// Whether the audit's chain holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct AuditVerdict {
    /// It does.
    pub holds: bool,
    /// Entries read.
    pub entries: i64,
    /// The first thing that is wrong.
    pub broken: Option<String>,
}
