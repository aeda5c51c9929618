//! All versions of one logical key.

use sea_orm::entity::prelude::*;

/// One keyset.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_keysets")]
pub struct Model {
    /// Its name, e.g. `default`.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(64))")]
    pub name: String,
    /// Unix milliseconds, database time.
    pub created_at: i64,
}

/// None: others point here.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
