//! The states that things are in; `docs/states.md` says which may follow which.

use serde::{Deserialize, Serialize};

#[cfg(feature = "server")]
use reseal_entities::{attempts, operations, quarantine, state};

/// Where a rotation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RotationState {
    /// Asked for.
    Requested,
    /// Its tables are cut into batches.
    Planning,
    /// Batches are re-encrypted.
    Reencrypting,
    /// It is fenced, swept and counted.
    Proving,
    /// Proved; the old key is kept for the waiting time.
    Waiting,
    /// The old key is being destroyed.
    Clearing,
    /// The old key is destroyed.
    Completed,
    /// Stopped; every value is readable.
    Cancelled,
    /// Turned round by another rotation.
    RolledBack,
    /// Of a newer server.
    #[serde(other)]
    Unknown,
}

#[cfg(feature = "server")]
impl From<state::RotationState> for RotationState {
    fn from(state: state::RotationState) -> Self {
        match state {
            state::RotationState::Requested => Self::Requested,
            state::RotationState::Planning => Self::Planning,
            state::RotationState::Reencrypting => Self::Reencrypting,
            state::RotationState::Proving => Self::Proving,
            state::RotationState::Waiting => Self::Waiting,
            state::RotationState::Clearing => Self::Clearing,
            state::RotationState::Completed => Self::Completed,
            state::RotationState::Cancelled => Self::Cancelled,
            state::RotationState::RolledBack => Self::RolledBack,
        }
    }
}

/// The state of a key (NIST SP 800-57).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeyStateName {
    /// Made; encrypts nothing yet.
    PreActive,
    /// Encrypts.
    Active,
    /// Decrypts only.
    Deactivated,
    /// Proved unused; a use of it is refused and reported.
    Suspended,
    /// Wiped.
    Destroyed,
    /// Of a newer server.
    #[serde(other)]
    Unknown,
}

#[cfg(feature = "server")]
impl From<state::KeyState> for KeyStateName {
    fn from(state: state::KeyState) -> Self {
        match state {
            state::KeyState::PreActive => Self::PreActive,
            state::KeyState::Active => Self::Active,
            state::KeyState::Deactivated => Self::Deactivated,
            state::KeyState::Suspended => Self::Suspended,
            state::KeyState::Destroyed => Self::Destroyed,
        }
    }
}

/// The state of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BatchState {
    /// To be done.
    Pending,
    /// In hand.
    Leased,
    /// Every row was looked at.
    Done,
    /// Waits for a person.
    Failed,
    /// Cut into smaller ones.
    Superseded,
    /// Of a newer server.
    #[serde(other)]
    Unknown,
}

#[cfg(feature = "server")]
impl From<state::BatchState> for BatchState {
    fn from(state: state::BatchState) -> Self {
        match state {
            state::BatchState::Pending => Self::Pending,
            state::BatchState::Leased => Self::Leased,
            state::BatchState::Done => Self::Done,
            state::BatchState::Failed => Self::Failed,
            state::BatchState::Superseded => Self::Superseded,
        }
    }
}

/// How a try at a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// Given back: with a code to be tried again, without one because its worker drained or its rotation stood still.
    Released,
    /// Given up for a person.
    Failed,
    /// Two smaller ones took its place.
    Split,
    /// Every row was looked at.
    Done,
    /// Of a newer server.
    #[serde(other)]
    Unknown,
}

#[cfg(feature = "server")]
impl From<attempts::AttemptOutcome> for AttemptOutcome {
    fn from(outcome: attempts::AttemptOutcome) -> Self {
        match outcome {
            attempts::AttemptOutcome::Released => Self::Released,
            attempts::AttemptOutcome::Failed => Self::Failed,
            attempts::AttemptOutcome::Split => Self::Split,
            attempts::AttemptOutcome::Done => Self::Done,
        }
    }
}

/// The state of a row that could not be re-encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuarantineState {
    /// Waits for a person.
    Open,
    /// Is looked at again.
    Retrying,
    /// Was found in order.
    Resolved,
    /// Was given up.
    Abandoned,
    /// Of a newer server.
    #[serde(other)]
    Unknown,
}

#[cfg(feature = "server")]
impl From<quarantine::QuarantineState> for QuarantineState {
    fn from(state: quarantine::QuarantineState) -> Self {
        match state {
            quarantine::QuarantineState::Open => Self::Open,
            quarantine::QuarantineState::Retrying => Self::Retrying,
            quarantine::QuarantineState::Resolved => Self::Resolved,
            quarantine::QuarantineState::Abandoned => Self::Abandoned,
        }
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OperationKind {
    /// What a rotation would do.
    DryRun,
    /// Cells by key.
    Census,
    /// The destruction of a retired key.
    Clear,
    /// Failed batches again.
    Retry,
    /// Failed batches in smaller parts.
    Split,
    /// Of a newer server.
    #[serde(other)]
    Unknown,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OperationState {
    /// No worker has taken it yet.
    Requested,
    /// A worker has it.
    Running,
    /// Done; see `result`.
    Succeeded,
    /// Not done; see `code` and `detail`.
    Failed,
    /// Of a newer server.
    #[serde(other)]
    Unknown,
}

#[cfg(feature = "server")]
impl From<operations::OperationKind> for OperationKind {
    fn from(state: operations::OperationKind) -> Self {
        match state {
            operations::OperationKind::DryRun => Self::DryRun,
            operations::OperationKind::Census => Self::Census,
            operations::OperationKind::Clear => Self::Clear,
            operations::OperationKind::Retry => Self::Retry,
            operations::OperationKind::Split => Self::Split,
        }
    }
}

#[cfg(feature = "server")]
impl From<state::OperationState> for OperationState {
    fn from(state: state::OperationState) -> Self {
        match state {
            state::OperationState::Requested => Self::Requested,
            state::OperationState::Running => Self::Running,
            state::OperationState::Succeeded => Self::Succeeded,
            state::OperationState::Failed => Self::Failed,
        }
    }
}
