//! How far a rotation was at a time: one row for each ten seconds in which it went on.

use sea_orm::entity::prelude::*;

/// One sample.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_samples")]
pub struct Model {
    /// The rotation.
    #[sea_orm(primary_key, auto_increment = false)]
    pub rotation_id: i64,
    /// Unix milliseconds, database time, aligned down to ten seconds: whoever leads, a moment has one sample.
    #[sea_orm(primary_key, auto_increment = false)]
    pub at: i64,
    /// Planned rows that were looked at by then, over all tables.
    pub rows_done: i64,
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
}

impl ActiveModelBehavior for ActiveModel {}
