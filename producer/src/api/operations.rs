//! Work that is asked for and then followed.

use super::states::{OperationKind, OperationState};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a rotation would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({"keyset": "default"})))]
#[serde(deny_unknown_fields)]
pub struct NewDryRun {
    /// The keyset.
    #[cfg_attr(feature = "server", schema(min_length = 1, max_length = 64, example = "default"))]
    pub keyset: String,
    /// As in a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "reseal_http::whole")]
    pub to_key_id: Option<u32>,
}

/// What to count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({"column": "messages.encrypted_content"})))]
#[serde(deny_unknown_fields)]
pub struct NewCensus {
    /// `source:schema.table.column` or `table.column`; none: every registered column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(example = "messages.encrypted_content"))]
    pub column: Option<String>,
    /// Only cells under this key.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "reseal_http::whole")]
    pub key_id: Option<u32>,
}

/// Which failed batches to do again: those to which everything given applies; nothing given: all of the rotation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({"code": "source_statement_timeout", "table": "app:public.messages"})))]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// These.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "reseal_http::whole_list")]
    pub batch_ids: Option<Vec<i64>>,
    /// Those that failed with this code, or have rows quarantined for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Those of this table: `source:schema.table`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Also quarantined rows and the batches that they stand in; true unless it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<bool>,
}

/// Which failed batches to split: those to which everything given applies; nothing given: all of the rotation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({"code": "source_statement_timeout", "table": "app:public.messages"})))]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// These.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "reseal_http::whole_list")]
    pub batch_ids: Option<Vec<i64>>,
    /// Those that failed with this code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Those of this table: `source:schema.table`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
}

/// What a retry or a split did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Retried {
    /// Batches that the filter named.
    pub matched: i64,
    /// Batches that are pending again.
    pub applied: i64,
    /// Batches that were no longer failed; of a split also those of one row.
    pub skipped: i64,
}

/// Work that is asked for and then followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({
    "id": 7, "kind": "census", "state": "requested", "summary": "requested; waits for a worker, and none is alive",
    "params": {"column": "messages.encrypted_content"}, "requested_by": "token billing",
    "requested_at": "2026-11-24T09:00:00.000Z", "workers": 0
})))]
pub struct Operation {
    /// Its id.
    pub id: i64,
    /// What was asked for.
    pub kind: OperationKind,
    /// Where it stands.
    pub state: OperationState,
    /// One sentence: what is going on and what it waits for.
    pub summary: String,
    /// What it was given.
    #[cfg_attr(feature = "server", schema(value_type = std::collections::BTreeMap<String, Value>))]
    pub params: Value,
    /// Who asked.
    pub requested_by: String,
    /// When.
    pub requested_at: String,
    /// When a worker began.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// The worker that has it, or had it.
    pub worker: Option<String>,
    /// Workers alive: with none, it waits.
    pub workers: usize,
    /// Why it failed, or what it waits for; stable.
    pub code: Option<String>,
    /// The same for people.
    pub detail: Option<String>,
    /// Of a retry or a split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried: Option<Retried>,
    /// What came of it; its shape depends on the kind.
    #[cfg_attr(feature = "server", schema(value_type = Option<std::collections::BTreeMap<String, Value>>))]
    pub result: Option<Value>,
}
