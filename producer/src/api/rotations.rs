//! Rotations.

use super::states::{KeyStateName, RotationState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What to rotate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({"keyset": "default", "reason": "cryptoperiod over", "clear_after": "7d"})))]
#[serde(deny_unknown_fields)]
pub struct NewRotation {
    /// The keyset.
    #[cfg_attr(feature = "server", schema(min_length = 1, max_length = 64, example = "default"))]
    pub keyset: String,
    /// A published pre_active key to promote; none: a worker makes one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "reseal_http::whole")]
    pub to_key_id: Option<u32>,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(max_length = 1000, example = "cryptoperiod over"))]
    pub reason: Option<String>,
    /// The wait between proof and clearing, a number and one of s, m, h, d, w: e.g. `30d`; at least what the server is configured with, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(example = "7d", pattern = "^[0-9]{1,5}[smhdw]$"))]
    pub clear_after: Option<String>,
    /// What it is allowed, from its first row on; none: no limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// Why, for the audit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({"reason": "maintenance window"})))]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// In a person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(max_length = 1000, example = "maintenance window"))]
    pub reason: Option<String>,
}

/// What a clearing waits for until it has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExclusionKind {
    /// A standby or a replication slot, by `source:name`.
    Replica,
    /// An application, by the name under which it reports itself.
    Writer,
}

/// A replica or an application that a clearing need not wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({
    "kind": "replica", "name": "app:standby1", "note": "is being rebuilt from a new base backup",
})))]
#[serde(deny_unknown_fields)]
pub struct Exclusion {
    /// What it is.
    pub kind: ExclusionKind,
    /// As the rotation's status names it.
    #[cfg_attr(feature = "server", schema(min_length = 1, max_length = 255, example = "app:standby1"))]
    pub name: String,
    /// Why, for the audit.
    #[cfg_attr(feature = "server", schema(min_length = 1, max_length = 1000, example = "is being rebuilt"))]
    pub note: String,
}

/// A rotation in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({
    "id": 3, "keyset": "default", "state": "reencrypting", "summary": "re-encrypting, 62 % of 500,000 rows",
    "needs_attention": false, "requested_by": "token billing", "reason": "cryptoperiod over",
    "to_key_id": 3_018_265_591_u32, "from_key_id": 1_540_500_288, "requested_at": "2026-11-24T09:00:00.000Z"
})))]
pub struct Rotation {
    /// Its id.
    pub id: i64,
    /// Its keyset.
    pub keyset: String,
    /// Where it stands.
    pub state: RotationState,
    /// One sentence: what is going on and what it waits for.
    #[cfg_attr(feature = "server", schema(example = "re-encrypting, 62 % of 500,000 rows"))]
    pub summary: String,
    /// Nothing can go on without a person.
    pub needs_attention: bool,
    /// Who asked for it.
    pub requested_by: String,
    /// Why.
    pub reason: Option<String>,
    /// The key that it promotes; none until a worker has made it.
    pub to_key_id: Option<i64>,
    /// The key that gave way to it.
    pub from_key_id: Option<i64>,
    /// The rotation that it turns round.
    pub reverses: Option<i64>,
    /// By whom it is paused.
    pub paused_by: Option<String>,
    /// When it was asked for.
    pub requested_at: String,
    /// When it ended.
    pub completed_at: Option<String>,
}

/// A rotation in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({
    "id": 3, "keyset": "default", "state": "reencrypting", "summary": "re-encrypting, 62 % of 500,000 rows",
    "needs_attention": false, "requested_by": "token billing", "reason": "cryptoperiod over",
    "to_key_id": 3_018_265_591_u32, "from_key_id": 1_540_500_288, "requested_at": "2026-11-24T09:00:00.000Z",
    "rows": 500_000, "rows_done": 310_000, "reencrypted": 309_998, "quarantined": 0,
    "batches": {"pending": 18, "leased": 1, "done": 31},
    "tables": [{
        "table": "app:public.messages", "rows": 500_000, "rows_done": 310_000, "reencrypted": 309_998,
        "changed_underneath": 2, "quarantined": 0
    }],
    "rows_per_second": 5_200.0, "eta": {"from_ms": 30_000, "to_ms": 55_000},
    "limits": {"rows_per_second": null, "lanes": 4, "batches": null}, "throttled_ms": 0,
    "new_key": {"key_id": 3_018_265_591_u32, "version": 2, "state": "active"},
    "old_keys": [{"key_id": 1_540_500_288, "version": 1, "state": "deactivated"}],
    "gate": [{"what": "every batch is done", "met": false, "detail": "19 open"}],
    "needs_approval": false, "workers": 2, "writers": [], "stragglers": []
})))]
pub struct RotationDetail {
    /// The rotation.
    #[serde(flatten)]
    pub rotation: Rotation,
    /// The rotation that turned it round.
    #[serde(default)]
    pub rolled_back_by: Option<i64>,
    /// What stops its step, or what it waits for; stable.
    pub code: Option<String>,
    /// The same for people.
    pub detail: Option<String>,
    /// Rows in its batches.
    pub rows: i64,
    /// Rows that were looked at.
    pub rows_done: i64,
    /// Rows that the database said were changed.
    pub reencrypted: i64,
    /// Rows that need a person.
    pub quarantined: i64,
    /// Batches by state.
    pub batches: BTreeMap<String, i64>,
    /// Per table.
    pub tables: Vec<TableProgress>,
    /// Rows a second lately, while it re-encrypts.
    pub rows_per_second: Option<f64>,
    /// Time left of re-encrypting; none where it cannot be told.
    pub time_left: Option<TimeLeft>,
    /// What an operator allows it.
    pub limits: Limits,
    /// Why it does not go at full speed.
    pub throttle: Option<Throttle>,
    /// So long it has been stopped by its throttle altogether, milliseconds.
    pub throttled_ms: i64,
    /// The key that it promotes.
    pub new_key: Option<KeyState>,
    /// The keys that it retires.
    pub old_keys: Vec<KeyState>,
    /// What must hold before they are cleared.
    pub gate: Vec<Condition>,
    /// Somebody other than the requester must approve the clearing.
    pub needs_approval: bool,
    /// Who did.
    pub approved_by: Option<String>,
    /// Waiting time left, milliseconds, once it is proved.
    pub waiting_left_ms: Option<i64>,
    /// Workers alive.
    pub workers: usize,
    /// Applications alive that say what they write with.
    pub writers: Vec<Writer>,
    /// Those of them that still write with another key than the promoted one.
    pub stragglers: Vec<Writer>,
}

/// One table's progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct TableProgress {
    /// `source:schema.table`.
    pub table: String,
    /// Rows in its batches.
    pub rows: i64,
    /// Rows that were looked at.
    pub rows_done: i64,
    /// Rows that the database said were changed.
    pub reencrypted: i64,
    /// Rows that an application changed or deleted meanwhile; each was looked at again.
    pub changed_underneath: i64,
    /// Rows that need a person.
    pub quarantined: i64,
}

/// Time left, between these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct TimeLeft {
    /// Milliseconds, at the best rate of late.
    pub from_ms: i64,
    /// Milliseconds, at the worst.
    pub to_ms: i64,
}

/// What an operator allows; none is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({"rows_per_second": 5_000, "lanes": 4, "batches": null})))]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Rows re-encrypted per second, over all workers.
    #[cfg_attr(feature = "server", schema(minimum = 1, maximum = 1_000_000_000))]
    #[serde(default, deserialize_with = "reseal_http::whole")]
    pub rows_per_second: Option<i64>,
    /// Batches in hand at once, over all workers.
    #[cfg_attr(feature = "server", schema(minimum = 1, maximum = 100_000))]
    #[serde(default, deserialize_with = "reseal_http::whole")]
    pub lanes: Option<i32>,
    /// Batches in the queue or in hand.
    #[cfg_attr(feature = "server", schema(minimum = 1, maximum = 100_000))]
    #[serde(default, deserialize_with = "reseal_http::whole")]
    pub batches: Option<i32>,
}

/// Why a rotation does not go at full speed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Throttle {
    /// Stable.
    pub code: String,
    /// For people.
    pub reason: String,
    /// It stands still.
    pub stopped: bool,
    /// For so long, milliseconds.
    pub for_ms: i64,
}

/// A key and its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct KeyState {
    /// The key.
    pub key_id: i64,
    /// Its version in the keyset.
    pub version: i32,
    /// Its state.
    pub state: KeyStateName,
}

/// One condition of the gate before clearing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Condition {
    /// What is demanded.
    #[cfg_attr(feature = "server", schema(example = "no row is quarantined"))]
    pub what: String,
    /// Whether it is so.
    pub met: bool,
    /// What is in the way.
    pub detail: String,
}

/// An application that writes encrypted values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Writer {
    /// What it calls itself.
    pub name: String,
    /// The key that it writes with.
    pub key_id: i64,
    /// When it last said so.
    pub seen_at: String,
}
