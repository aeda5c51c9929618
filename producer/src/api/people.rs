//! Workers and the audit.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({
    "name": "w-5f0c", "host": "db-tools-1", "version": "0.1.0", "state": "running", "lanes": 2, "jobs_running": 1,
    "reencrypted": 310_000, "rows_per_second": 12_400, "batches": [412], "keys_loaded": [1_540_500_288, 3_018_265_591_u32],
    "started_at": "2026-11-24T08:59:00.000Z", "seen_at": "2026-11-24T09:01:00.000Z"
})))]
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
    /// The same a second over about the last 30 s; none when it is not alive, or has just started.
    #[serde(default)]
    pub rows_per_second: Option<i64>,
    /// The ids of the batches that it holds.
    #[serde(default)]
    pub batches: Vec<i64>,
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
#[cfg_attr(feature = "server", schema(example = json!({
    "seq": 118, "at": "2026-11-24T09:00:01.000Z", "actor": "token billing", "action": "rotation.requested",
    "subject": "rotation 3", "request_id": "8f14e45f-ceea-467f-a0e6-000000000003", "before": null,
    "after": {"keyset": "default"}, "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
})))]
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
    #[cfg_attr(feature = "server", schema(value_type = Option<std::collections::BTreeMap<String, Value>>))]
    pub before: Value,
    /// How it is.
    #[cfg_attr(feature = "server", schema(value_type = Option<std::collections::BTreeMap<String, Value>>))]
    pub after: Value,
    /// SHA-256 over the entry and the one before it.
    pub hash: String,
}

/// Whether the audit's chain holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({"holds": true, "entries": 118, "broken": null})))]
pub struct AuditVerdict {
    /// It does.
    pub holds: bool,
    /// Entries read.
    pub entries: i64,
    /// The first thing that is wrong.
    pub broken: Option<String>,
}
