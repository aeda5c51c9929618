//! Which database a source's name stands for. A process that is configured with a copy would otherwise
//! prove the copy empty and clear the key that the original needs.

use sea_orm::entity::prelude::*;

/// One source.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_sources")]
pub struct Model {
    /// Its name in every process's configuration.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(64))")]
    pub name: String,
    /// What the database says of itself.
    #[sea_orm(column_type = "Text")]
    pub identity: String,
    /// Unix milliseconds, database time.
    pub registered_at: i64,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
