//! The reference table of messages.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "messages")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The cell; its associated data is `messages.encrypted_content:{id}`.
    #[sea_orm(column_type = "Blob", nullable)]
    pub encrypted_content: Option<Vec<u8>>,
    /// Unix milliseconds.
    #[sea_orm(default_value = 0)]
    pub created_at: i64,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
