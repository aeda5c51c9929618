//! The shapes of the HTTP API, as the server sends and the client reads them.
//!
//! Times are RFC 3339 in UTC with milliseconds, by the clock of the ledger's database. A client must bear
//! fields that it does not know, and states that it does not know read as `Unknown`.

mod batches;
mod events;
mod keys;
mod operations;
mod people;
mod rotations;
mod states;

pub use batches::{Attempt, Attempts, Batch, Failure, QuarantinedRow};
pub use events::{Change, Event};
pub use keys::{CensusColumn, CensusCount, Key, KeyDetail};
pub use operations::{NewCensus, NewDryRun, Operation, Retried, Retry, Split};
pub use people::{AuditEntry, AuditVerdict, Worker};
pub use reseal_http::{FieldError, Problem};
pub use rotations::{
    Condition, Exclusion, ExclusionKind, KeyState, Limits, NewRotation, Reason, Rotation, RotationDetail,
    TableProgress, Throttle, TimeLeft, Writer,
};
pub use states::{
    AttemptOutcome, BatchState, KeyStateName, OperationKind, OperationState, QuarantineState, RotationState,
};

use serde::{Deserialize, Serialize};

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// At most as many as `limit` asked for.
    pub items: Vec<T>,
    /// Give it as `cursor` for the next page; none: this is the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
