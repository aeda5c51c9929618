//! Asking for a key to be cleared: whether it can be, and what is in the way. Decides nothing that the gate and
//! the guards do not; only a worker clears, on the proof.

use super::{
    LedgerError,
    read::{self, Condition},
    time::{LEASE_MS, is_over, now},
};
use crate::{
    rotations,
    state::{KeyState, RotationState},
};
use sea_orm::{
    ColumnTrait, Condition as Where, ConnectionTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait},
};
use serde::Serialize;

/// What stands between a key and its clearing.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "clearing", rename_all = "snake_case")]
pub enum Clearing {
    /// It is destroyed.
    Destroyed {
        /// Since when, Unix milliseconds.
        at: Option<i64>,
    },
    /// Every condition is met: a worker clears it.
    Ready(Ready),
    /// It is needed.
    InUse(InUse),
}

/// A key that a worker clears next.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// The key's state.
    pub state: KeyState,
    /// The rotation that retires it.
    pub rotation_id: i64,
    /// Every condition, met.
    pub gate: Vec<Condition>,
    /// Workers alive.
    pub workers: usize,
    /// What stopped the last try; none while nothing has.
    pub code: Option<String>,
    /// The same for people.
    pub detail: Option<String>,
}

/// Why a key is not cleared.
#[derive(Clone, Debug, Serialize)]
pub struct InUse {
    /// The key.
    pub key_id: i64,
    /// Its state.
    pub state: KeyState,
    /// The rotation that retires it; none: nothing does.
    pub rotation_id: Option<i64>,
    /// The conditions that are not met. Empty when no rotation retires it, or when one does that is neither waiting
    /// nor clearing.
    pub unmet: Vec<Condition>,
    /// All of it in one sentence, and what to do.
    pub message: String,
}

impl From<InUse> for LedgerError {
    fn from(in_use: InUse) -> Self {
        Self::refused("key_in_use", in_use.message)
    }
}

/// Looks whether a key can be cleared now. Changes nothing.
pub async fn ask(db: &impl ConnectionTrait, key_id: i64) -> Result<Clearing, LedgerError> {
    let key = read::key(db, key_id).await?;
    if key.state == KeyState::Destroyed {
        return Ok(Clearing::Destroyed { at: key.destroyed_at });
    }
    let state = key.state;
    let Some(rotation_id) = read::retiring(db, &key).await? else {
        let message = format!(
            "key {key_id} is {state} and no rotation retires it: only a rotation with its proof clears a key, see `reseal rotate {}`",
            key.keyset
        );
        return Ok(Clearing::InUse(InUse { key_id, state, rotation_id: None, unmet: Vec::new(), message }));
    };
    let status = read::status(db, rotation_id).await?;
    let ready = matches!(status.state, RotationState::Waiting | RotationState::Clearing);
    let unmet: Vec<_> = status.gate.iter().filter(|c| !c.met).cloned().collect();
    if ready && unmet.is_empty() {
        let waits = status.code.as_deref() != Some("clear_after");
        let (code, detail) = (status.code.filter(|_| waits), status.detail.filter(|_| waits));
        let (gate, workers) = (status.gate, status.workers);
        return Ok(Clearing::Ready(Ready { state, rotation_id, gate, workers, code, detail }));
    }
    let told: Vec<_> = unmet.iter().map(|c| format!("{} ({})", c.what, c.detail)).collect();
    let conditions = if told.is_empty() { status.summary } else { told.join("; ") };
    let message =
        format!("key {key_id} is {state} and is not cleared; not met for rotation {rotation_id}: {conditions}");
    Ok(Clearing::InUse(InUse { key_id, state, rotation_id: Some(rotation_id), unmet, message }))
}

/// Makes a rotation's clearing due at once, when its waiting time is over, nothing holds it and nobody is at it. A
/// step that failed keeps its own pace: else a source that is away would be asked without a pause. Clears nothing
/// by itself.
pub async fn hurry_if_waited(db: &impl ConnectionTrait, rotation_id: i64) -> Result<bool, LedgerError> {
    let free = Where::any().add(rotations::Column::StepLeaseUntil.is_null()).add(is_over(
        db,
        rotations::Column::StepLeaseUntil,
        LEASE_MS,
    ));
    let hurried = rotations::Entity::update_many()
        .col_expr(rotations::Column::StepDueAt, now(db))
        .col_expr(rotations::Column::NextRingAt, Expr::value(0))
        .filter(rotations::Column::Id.eq(rotation_id))
        .filter(rotations::Column::State.is_in([RotationState::Waiting, RotationState::Clearing]))
        .filter(Expr::col(rotations::Column::WaitedMs).gte(Expr::col(rotations::Column::ClearAfterMs)))
        .filter(rotations::Column::HoldAt.is_null())
        .filter(rotations::Column::PausedAt.is_null())
        .filter(rotations::Column::StepFailures.eq(0))
        .filter(free)
        .exec(db)
        .await?;
    Ok(hurried.rows_affected == 1)
}
