//! Where each source was reached. A physical clone answers to the same identifiers; another address is refused until a
//! person accepts it, or the address is seen to lead to the same database.

use sea_orm::entity::prelude::*;

/// One address of one source.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_source_addresses")]
pub struct Model {
    /// The source's name.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(64))")]
    pub source: String,
    /// Host, port and database, or a file's path. Never a secret.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub address: String,
    /// Unix milliseconds, database time.
    pub registered_at: i64,
    /// Who registered it.
    #[sea_orm(column_type = "String(StringLen::N(128))")]
    pub registered_by: String,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
