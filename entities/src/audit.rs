//! Who did what when. Append-only and hash-chained; the database refuses to edit it.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "reseal_audit")]
pub struct Model {
    /// 1, 2, 3 … without a gap.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    /// Unix milliseconds, database time.
    pub at: i64,
    /// The person or worker.
    #[sea_orm(column_type = "String(StringLen::N(128))")]
    pub actor: String,
    /// What was done, e.g. `key.promoted`.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub action: String,
    /// To what, e.g. `rotation 3` or `key 123`.
    #[sea_orm(column_type = "String(StringLen::N(255))")]
    pub subject: String,
    /// How it was, JSON.
    #[sea_orm(column_type = "Text")]
    pub before: String,
    /// How it is, JSON.
    #[sea_orm(column_type = "Text")]
    pub after: String,
    /// The request that it belongs to; none for what came by another way than HTTP.
    #[sea_orm(column_type = "String(StringLen::N(64))", nullable)]
    pub request_id: Option<String>,
    /// SHA-256 over the previous entry's hash and this entry, hexadecimal.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub hash: String,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
