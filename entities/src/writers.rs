//! Applications that write encrypted values, and under which key.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// One instance of an application, for one keyset.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "reseal_writers")]
pub struct Model {
    /// What the instance calls itself; new at each start.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(128))")]
    pub name: String,
    /// The keyset.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(64))")]
    pub keyset: String,
    /// The key that it encrypts with.
    pub key_id: i64,
    /// Unix milliseconds, database time, here and below.
    pub started_at: i64,
    /// When it last said so.
    pub seen_at: i64,
    /// It refreshes its keyset this often at the latest; none: it did not say.
    pub refresh_ms: Option<i64>,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
