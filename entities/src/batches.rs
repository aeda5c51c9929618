//! One batch: a contiguous key range `(after_key, up_to_key]` of one table.

use crate::state::BatchState;
use sea_orm::entity::prelude::*;

/// One batch. Keys are canonical text; times are Unix milliseconds, database time.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_batches")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The rotation.
    pub rotation_id: i64,
    /// The table.
    #[sea_orm(indexed)]
    pub planned_table_id: i64,
    /// Exclusive; NULL for the first batch of a table.
    #[sea_orm(column_type = "Text", nullable)]
    pub after_key: Option<String>,
    /// Inclusive.
    #[sea_orm(column_type = "Text")]
    pub up_to_key: String,
    /// Rows in it when it was cut.
    pub rows: i64,
    /// Where it stands.
    pub state: BatchState,
    /// Rises with each claim; must match to write.
    pub epoch: i64,
    /// Until when its worker holds it.
    pub lease_until: Option<i64>,
    /// Which worker holds it, or held it last.
    #[sea_orm(column_type = "String(StringLen::N(128))", nullable)]
    pub worker: Option<String>,
    /// Every row up to here was looked at.
    #[sea_orm(column_type = "Text", nullable)]
    pub cursor: Option<String>,
    /// Rows of it that the progress already counts.
    pub rows_counted: i64,
    /// Claims in a row whose owner died without progress.
    pub barren_claims: i32,
    /// Failures so far.
    pub attempts: i32,
    /// Not before this time is it tried again.
    pub due_at: i64,
    /// Why it last failed; a stable code.
    #[sea_orm(column_type = "String(StringLen::N(64))", nullable)]
    pub code: Option<String>,
    /// The same for people; never a driver's text with data in it.
    #[sea_orm(column_type = "Text", nullable)]
    pub detail: Option<String>,
    /// When it was last given up for a person; none of a batch that never was.
    pub failed_at: Option<i64>,
    /// When dispatch rings for it again.
    pub next_ring_at: i64,
    /// Rings so far: part of the message's id.
    pub rings: i64,
    /// When it was done.
    pub done_at: Option<i64>,
    /// The batch that was first cut where this one is, when it was put in that one's place.
    pub part_of: Option<i64>,
    /// A person wants smaller ones in its place, at its next claim.
    #[sea_orm(default_value = false)]
    pub split_asked: bool,
    /// Tries in a row that ended with a fault of the source. They are no attempts.
    #[sea_orm(default_value = 0)]
    pub faults: i32,
}

/// What it points to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The rotation.
    #[sea_orm(
        belongs_to = "super::rotations::Entity",
        from = "Column::RotationId",
        to = "super::rotations::Column::Id"
    )]
    Rotation,
    /// The table.
    #[sea_orm(
        belongs_to = "super::planned_tables::Entity",
        from = "Column::PlannedTableId",
        to = "super::planned_tables::Column::Id"
    )]
    PlannedTable,
}

impl ActiveModelBehavior for ActiveModel {}
