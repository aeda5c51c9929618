//! The reference table of entries that wait to be synchronized.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sync_queue")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The cell; its associated data is `sync_queue.encrypted_data:{id}`.
    #[sea_orm(column_type = "Blob", nullable)]
    pub encrypted_data: Option<Vec<u8>>,
    /// Unix milliseconds.
    #[sea_orm(default_value = 0)]
    pub created_at: i64,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
