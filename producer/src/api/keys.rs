//! Keys and the census.

use super::{rotations::Condition, states::KeyStateName};
use serde::{Deserialize, Serialize};

/// A key; what wraps it stays in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({
    "key_id": 3_018_265_591_u32, "keyset": "default", "version": 2, "state": "active", "algorithm": "aes256-gcm",
    "prefix": "tink", "kek_id": "file-2f9a", "encryptions": 310_000, "encryptions_max": 2_147_483_648_u32, "cryptoperiod_ms": 7_776_000_000_u64,
    "cryptoperiod_ends_at": "2027-02-22T09:00:01.000Z", "created_at": "2026-11-24T09:00:01.000Z",
    "activated_at": "2026-11-24T09:00:01.000Z"
})))]
pub struct Key {
    /// Its id, as cells name it.
    pub key_id: i64,
    /// Its keyset.
    pub keyset: String,
    /// Its version in the keyset.
    pub version: i32,
    /// Its state.
    pub state: KeyStateName,
    /// How its cells are encrypted.
    #[cfg_attr(feature = "server", schema(example = "aes256-gcm"))]
    pub algorithm: String,
    /// Whether its cells name it: `tink` or `raw`.
    pub prefix: String,
    /// Which key-encryption key wraps it.
    pub kek_id: String,
    /// Values encrypted with it, as workers and `storage` count.
    pub encryptions: i64,
    /// After so many it takes no further rotation; none: there is no limit.
    #[serde(default)]
    pub encryptions_max: Option<i64>,
    /// How long a key may be active, as the server is configured; none: no limit is set. It informs and rotates nothing.
    #[serde(default)]
    pub cryptoperiod_ms: Option<i64>,
    /// When an active key will have been active for its cryptoperiod.
    #[serde(default)]
    pub cryptoperiod_ends_at: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// When it first encrypted.
    pub activated_at: Option<String>,
    /// When it stopped encrypting.
    pub deactivated_at: Option<String>,
    /// When it was wiped.
    pub destroyed_at: Option<String>,
    /// When it was last exported.
    pub exported_at: Option<String>,
    /// Since when it counts as compromised.
    pub compromised_at: Option<String>,
    /// Why.
    pub compromised_reason: Option<String>,
}

/// A key, and what stands between it and its clearing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct KeyDetail {
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// The rotation that promoted it.
    pub promoted_by: Option<i64>,
    /// The rotation that retires it as it is.
    pub retired_by: Option<i64>,
    /// What must hold before that rotation clears it.
    pub gate: Vec<Condition>,
    /// Workers that have it in memory.
    pub loaded_by: Vec<String>,
}

/// One column's cells by key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct CensusColumn {
    /// `source:schema.table.column`.
    pub column: String,
    /// Its keyset.
    pub keyset: String,
    /// Cells per key.
    pub keys: Vec<CensusCount>,
}

/// Cells under one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct CensusCount {
    /// The key; none: cells that name none.
    pub key_id: Option<i64>,
    /// Its version.
    pub version: Option<i32>,
    /// Its state, or `unaccounted`.
    pub state: String,
    /// So many.
    pub cells: i64,
}
