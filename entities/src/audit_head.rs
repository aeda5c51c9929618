//! The end of the audit chain, so that a cut-off tail is noticed and writers queue in order.

use sea_orm::entity::prelude::*;

/// The one row, id 1.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_audit_head")]
pub struct Model {
    /// Always 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// The last entry's number; 0 before the first.
    pub seq: i64,
    /// The last entry's hash; 64 zeros before the first.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub hash: String,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
