//! How a state looks: by its class, which is a colour and a sign; its word stands beside it always.

pub(crate) use reseal_entities::state::in_words;

use reseal_entities::state::{BatchState, KeyState, OperationState, RotationState};

/// A state that pages show.
pub(super) trait Tone {
    /// `run`, `ok`, `warn`, `bad`; empty: nothing is going on.
    fn tone(&self) -> &'static str;
}

impl Tone for RotationState {
    fn tone(&self) -> &'static str {
        match self {
            Self::Completed => "ok",
            Self::Cancelled | Self::RolledBack => "",
            Self::Requested | Self::Planning | Self::Reencrypting | Self::Proving | Self::Waiting | Self::Clearing => {
                "run"
            }
        }
    }
}

impl Tone for BatchState {
    fn tone(&self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Leased => "run",
            Self::Failed => "bad",
            Self::Pending | Self::Superseded => "",
        }
    }
}

impl Tone for KeyState {
    fn tone(&self) -> &'static str {
        match self {
            Self::Active => "ok",
            Self::PreActive | Self::Destroyed => "",
            Self::Deactivated | Self::Suspended => "warn",
        }
    }
}

impl Tone for OperationState {
    fn tone(&self) -> &'static str {
        match self {
            Self::Succeeded => "ok",
            Self::Failed => "bad",
            Self::Requested | Self::Running => "run",
        }
    }
}
