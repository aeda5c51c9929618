//! What people are shown of a table's progress, apart from the truth: sums over a few slots, so
//! that no row is hot and no page sums over every batch.

use sea_orm::entity::prelude::*;

/// One slot of one planned table's counters.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_progress")]
pub struct Model {
    /// The table.
    #[sea_orm(primary_key, auto_increment = false)]
    pub planned_table_id: i64,
    /// 0 to 15; a worker lane keeps to one.
    #[sea_orm(primary_key, auto_increment = false)]
    pub slot: i32,
    /// Planned rows that were looked at.
    pub rows_done: i64,
    /// Rows that the database said it changed. A killed worker's last second is missing from it.
    pub reencrypted: i64,
    /// Rows that an application changed or deleted under a swap.
    pub changed_underneath: i64,
}

/// What it points to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The table.
    #[sea_orm(
        belongs_to = "super::planned_tables::Entity",
        from = "Column::PlannedTableId",
        to = "super::planned_tables::Column::Id"
    )]
    PlannedTable,
}

impl ActiveModelBehavior for ActiveModel {}
