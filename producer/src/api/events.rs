//! What is sent as it happens.

use super::rotations::RotationDetail;
use serde::{Deserialize, Serialize};

/// Something was done. The stream's ids are the `seq` of the last change sent, so that a client that comes back
/// with `Last-Event-ID` misses none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Change {
    /// Its place in the audit.
    pub seq: i64,
    /// When.
    pub at: String,
    /// The person or worker.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: String,
}

/// One event of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Event {
    /// Something was done; each once, in order.
    Change(Change),
    /// A rotation as it is now; a newer one takes its place, and only the last counts.
    Rotation(Box<RotationDetail>),
}
