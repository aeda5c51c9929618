//! What people and programs are told of an operation.

use crate::{
    operations::{self, OperationKind},
    state::OperationState,
};
use serde::Serialize;
use serde_json::Value;

/// An operation as people are told of it. Times are Unix milliseconds, database time.
#[derive(Clone, Debug, Serialize)]
pub struct OperationStatus {
    /// Its id.
    pub id: i64,
    /// What is to be done.
    pub kind: OperationKind,
    /// Where it stands.
    pub state: OperationState,
    /// One sentence: what is going on and what it waits for.
    pub summary: String,
    /// The keyset that it is about.
    pub keyset: Option<String>,
    /// The rotation that it is about.
    pub rotation_id: Option<i64>,
    /// The key that it is about.
    pub key_id: Option<i64>,
    /// What exactly was asked for.
    pub params: Value,
    /// Who asked for it.
    pub requested_by: String,
    /// The HTTP request that asked for it.
    pub request_id: Option<String>,
    /// When it was asked for.
    pub requested_at: i64,
    /// When a worker first took it.
    pub started_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// The worker that holds it, or held it last.
    pub worker: Option<String>,
    /// Claims that nobody brought to an end.
    pub attempts: i32,
    /// Why it failed, or what it waits for; stable.
    pub code: Option<String>,
    /// The same for people.
    pub detail: Option<String>,
    /// Batches that a retry's filter named.
    pub matched: Option<i64>,
    /// Those that are pending again.
    pub applied: Option<i64>,
    /// Those that were not failed any more.
    pub skipped: Option<i64>,
    /// What it found.
    pub result: Option<Value>,
}

impl OperationStatus {
    /// Of `operation`, while so many workers are alive.
    pub fn of(operation: operations::Model, workers: usize) -> Self {
        let parsed = |text: &str| serde_json::from_str(text).unwrap_or_default();
        Self {
            summary: summary(&operation, workers),
            params: parsed(&operation.params),
            result: operation.result.as_deref().map(parsed),
            id: operation.id,
            kind: operation.kind,
            state: operation.state,
            keyset: operation.keyset,
            rotation_id: operation.rotation_id,
            key_id: operation.key_id,
            requested_by: operation.requested_by,
            request_id: operation.request_id,
            requested_at: operation.requested_at,
            started_at: operation.started_at,
            ended_at: operation.ended_at,
            worker: operation.worker,
            attempts: operation.attempts,
            code: operation.code,
            detail: operation.detail,
            matched: operation.matched,
            applied: operation.applied,
            skipped: operation.skipped,
        }
    }
}

fn summary(operation: &operations::Model, workers: usize) -> String {
    let idle = if workers == 0 { "; no worker is alive" } else { "" };
    let detail = operation.detail.as_deref();
    match (operation.state, detail, operation.worker.as_deref()) {
        (OperationState::Requested, Some(waits), _) => format!("requested; {waits}{idle}"),
        (OperationState::Requested, None, _) if workers == 0 => {
            "requested; waits for a worker, and none is alive".to_owned()
        }
        (OperationState::Requested, None, _) => "requested; waits for a worker".to_owned(),
        (OperationState::Running, _, worker) => format!("running on {}{idle}", worker.unwrap_or("a worker")),
        (OperationState::Succeeded, ..) => match (operation.matched, operation.applied, operation.skipped) {
            (Some(matched), Some(applied), Some(skipped)) => {
                let are = if operation.kind == OperationKind::Split { "will be split" } else { "are done again" };
                format!("succeeded: {matched} batches matched, {applied} {are}, {skipped} were skipped")
            }
            _ => "succeeded".to_owned(),
        },
        (OperationState::Failed, detail, _) => {
            format!("failed: {}", detail.unwrap_or("for a reason that is not known"))
        }
    }
}
