//! One rotation: from the request until the retired keys are destroyed.

use crate::state::RotationState;
use sea_orm::{ActiveValue::Set, entity::prelude::*};

/// One rotation. Times are Unix milliseconds, database time.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_rotations")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The keyset that it rotates.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub keyset: String,
    /// The keyset again while the rotation is open, NULL at its end: unique, so that at most one
    /// rotation of a keyset is open, on every database.
    #[sea_orm(column_type = "String(StringLen::N(64))", nullable, unique)]
    pub open_keyset: Option<String>,
    /// Where it stands.
    pub state: RotationState,
    /// The key that it promotes; set at the request or by planning.
    pub to_key_id: Option<i64>,
    /// The key that gave way to it; set when it is promoted.
    pub from_key_id: Option<i64>,
    /// The rotation that it turns round: its key has been active before.
    pub reverses: Option<i64>,
    /// Who asked for it.
    #[sea_orm(column_type = "String(StringLen::N(128))")]
    pub requested_by: String,
    /// Why.
    #[sea_orm(column_type = "Text", nullable)]
    pub reason: Option<String>,
    /// The same request again finds the same rotation.
    #[sea_orm(column_type = "String(StringLen::N(128))", nullable, unique)]
    pub idempotency_key: Option<String>,
    /// Waiting time between proof and clearing.
    pub clear_after_ms: i64,
    /// How long applications may go on writing with an old keyset before the fence.
    pub writer_ttl_ms: i64,
    /// Rows in a batch.
    pub batch_rows: i32,
    /// Every table is cut into batches.
    pub planning_done: bool,
    /// When it was asked for.
    pub requested_at: i64,
    /// When the new key became active.
    pub promoted_at: Option<i64>,
    /// When the proof was completed; NULL again when it is void.
    pub proved_at: Option<i64>,
    /// When it ended.
    pub completed_at: Option<i64>,
    /// When it was paused; NULL while it runs.
    pub paused_at: Option<i64>,
    /// By whom.
    #[sea_orm(column_type = "String(StringLen::N(128))", nullable)]
    pub paused_by: Option<String>,
    /// Why.
    #[sea_orm(column_type = "Text", nullable)]
    pub paused_reason: Option<String>,
    /// Waiting time that the dispatch leader has seen pass.
    pub waited_ms: i64,
    /// When it last looked.
    pub waited_at: Option<i64>,
    /// When a use of a suspended key was seen; holds the clearing.
    pub hold_at: Option<i64>,
    /// Which key it was, and who used it.
    #[sea_orm(column_type = "Text", nullable)]
    pub hold_detail: Option<String>,
    /// Its clearing waits for somebody other than who asked for it. Never taken back.
    #[sea_orm(default_value = false)]
    pub needs_approval: bool,
    /// When that was given; NULL again when the proof is void.
    pub approved_at: Option<i64>,
    /// By whom.
    #[sea_orm(column_type = "String(StringLen::N(128))", nullable)]
    pub approved_by: Option<String>,
    /// Rises with each claim of a step (plan, prove, clear); must match to write.
    pub step_epoch: i64,
    /// Until when the step is held.
    pub step_lease_until: Option<i64>,
    /// By which worker.
    #[sea_orm(column_type = "String(StringLen::N(128))", nullable)]
    pub step_worker: Option<String>,
    /// Not before this time is the step tried.
    pub step_due_at: i64,
    /// Failures of the step in a row.
    pub step_failures: i32,
    /// What stops the step, or what it waits for; a stable code.
    #[sea_orm(column_type = "String(StringLen::N(64))", nullable)]
    pub step_code: Option<String>,
    /// The same for people; never a driver's text with data in it.
    #[sea_orm(column_type = "Text", nullable)]
    pub step_detail: Option<String>,
    /// What the step remembers between two tries, JSON; may be lost at any time.
    #[sea_orm(column_type = "Text", nullable)]
    pub step_memo: Option<String>,
    /// When dispatch rings for the step again.
    pub next_ring_at: i64,
    /// Rings so far: part of the message's id.
    pub rings: i64,
    /// An operator's limit: rows per second over all workers.
    pub limit_rows_per_second: Option<i64>,
    /// An operator's limit: batches in hand at once, over all workers.
    pub limit_lanes: Option<i32>,
    /// An operator's limit: batches in the queue or in hand.
    pub limit_batches: Option<i32>,
    /// What the dispatch leader published, for each batch in hand: none is full speed, 0 a stop.
    pub pace_rows_per_hour: Option<i64>,
    /// Why it is not full speed; a stable code.
    #[sea_orm(column_type = "String(StringLen::N(64))", nullable)]
    pub pace_code: Option<String>,
    /// The same for people.
    #[sea_orm(column_type = "Text", nullable)]
    pub pace_reason: Option<String>,
    /// Since when, for that cause.
    pub pace_since: Option<i64>,
    /// So long it has been stopped by signals altogether.
    pub throttled_ms: Option<i64>,
    /// Since when the step has had the code that it has.
    pub step_since: Option<i64>,
    /// How often it was planned again since its last proof.
    #[sea_orm(default_value = 0)]
    pub replans: i32,
}

/// What it points to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// Its keyset.
    #[sea_orm(belongs_to = "super::keysets::Entity", from = "Column::Keyset", to = "super::keysets::Column::Name")]
    Keyset,
    /// Its new key.
    #[sea_orm(belongs_to = "super::keys::Entity", from = "Column::ToKeyId", to = "super::keys::Column::KeyId")]
    ToKey,
}

impl ActiveModelBehavior for ActiveModel {}

/// What every rotation begins with.
pub(crate) fn not_begun() -> ActiveModel {
    ActiveModel {
        planning_done: Set(false),
        waited_ms: Set(0),
        step_epoch: Set(0),
        step_due_at: Set(0),
        step_failures: Set(0),
        next_ring_at: Set(0),
        rings: Set(0),
        ..Default::default()
    }
}
