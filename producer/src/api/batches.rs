//! Batches, failures by cause, quarantined rows.

use super::states::{AttemptOutcome, BatchState, QuarantineState};
use serde::{Deserialize, Serialize};

/// A batch: a range of a table's primary keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({
    "id": 41, "rotation_id": 3, "table": "app:public.messages", "after_key": "10000", "up_to_key": "20000",
    "rows": 10_000, "state": "failed", "epoch": 3, "attempts": 3, "worker": "w-5f0c",
    "code": "source_statement_timeout", "detail": "the source ended a statement that took too long"
})))]
pub struct Batch {
    /// Its id.
    pub id: i64,
    /// Its rotation.
    pub rotation_id: i64,
    /// `source:schema.table`.
    pub table: String,
    /// Begins after this primary key; none: at the first.
    pub after_key: Option<String>,
    /// Ends with this one.
    pub up_to_key: String,
    /// Rows when it was planned.
    pub rows: i64,
    /// Where it stands.
    pub state: BatchState,
    /// Rises with each claim.
    pub epoch: i64,
    /// Claims since it last got on.
    pub attempts: i32,
    /// Who had it last.
    pub worker: Option<String>,
    /// Why it failed; stable.
    pub code: Option<String>,
    /// The same for people.
    pub detail: Option<String>,
    /// When it was done.
    pub done_at: Option<String>,
}

/// How the tries at a batch ended. One that is done at the first try has none to tell of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({
    "ended": [{
        "epoch": 1, "worker": "w-5f0c", "began_at": "2026-11-24T09:02:11.000Z", "ended_at": "2026-11-24T09:02:41.000Z",
        "outcome": "released", "code": "source_statement_timeout",
        "detail": "the source ended a statement that took too long", "rows_done": 4_000
    }],
    "lost": [2]
})))]
pub struct Attempts {
    /// The last hundred that ended, oldest first.
    pub ended: Vec<Attempt>,
    /// Epochs of which none tells: the worker died or lost its lease.
    pub lost: Vec<i64>,
}

/// One try at a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Attempt {
    /// The claim's number.
    pub epoch: i64,
    /// Who made it.
    pub worker: Option<String>,
    /// When the batch was claimed; unknown of one that was done at the first try and then done again.
    pub began_at: Option<String>,
    /// When it ended.
    pub ended_at: String,
    /// How.
    pub outcome: AttemptOutcome,
    /// Why, when something failed; stable.
    pub code: Option<String>,
    /// The same for people.
    pub detail: Option<String>,
    /// Planned rows that it was the first to look at.
    pub rows_done: i64,
}

/// What failed for one cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({
    "failed": "batches", "code": "source_statement_timeout", "table": "app:public.messages", "batches": 2,
    "rows": 20_000, "sample": "the source ended a statement that took too long", "nature": "size",
    "advice": "raise the role's statement_timeout in the source, or lower rotation.chunk_rows, then retry",
    "first_at": "2026-11-24T09:02:11.000Z", "last_at": "2026-11-24T09:04:40.000Z"
})))]
pub struct Failure {
    /// `batches` that failed, or `rows` that are quarantined.
    pub failed: String,
    /// Stable.
    pub code: String,
    /// `source:schema.table`.
    pub table: String,
    /// Failed batches; of quarantined rows, batches that they stand in.
    pub batches: i64,
    /// Rows; of failed batches, those that were not looked at yet.
    pub rows: i64,
    /// One of them, for people; never a value.
    pub sample: String,
    /// `transient`, `size`, `poison` or `setup`.
    pub nature: String,
    /// What a person does about it.
    pub advice: String,
    /// When it happened first, of what is still so.
    pub first_at: Option<String>,
    /// When it happened last.
    pub last_at: Option<String>,
}

/// A row that could not be re-encrypted. Never its plaintext; of the cell only its length and the key that it names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(example = json!({
    "id": 5, "rotation_id": 3, "batch_id": 41, "table": "app:public.messages", "column": "encrypted_content",
    "row_key": "10042", "code": "not_authentic", "found_key_id": 1_540_500_288, "cell_bytes": 61,
    "state": "open", "found_at": "2026-11-24T09:02:11.000Z"
})))]
pub struct QuarantinedRow {
    /// Its id.
    pub id: i64,
    /// The rotation that found it.
    pub rotation_id: i64,
    /// The batch; none: a sweep found it.
    pub batch_id: Option<i64>,
    /// `source:schema.table`.
    pub table: String,
    /// The column.
    pub column: String,
    /// The row's primary key.
    pub row_key: String,
    /// Why; stable.
    pub code: String,
    /// The key that the cell names.
    pub found_key_id: Option<i64>,
    /// Bytes of the cell.
    pub cell_bytes: i64,
    /// Where it stands.
    pub state: QuarantineState,
    /// When it was found.
    pub found_at: String,
    /// When it was resolved.
    pub resolved_at: Option<String>,
    /// By whom.
    pub resolved_by: Option<String>,
    /// What they said.
    pub note: Option<String>,
}
