//! The ledger's one row about itself: who it is, who leads dispatch, which queue it last saw.

use sea_orm::entity::prelude::*;

/// The one row, id 1.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_ledger")]
pub struct Model {
    /// Always 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// A random name; several ledgers can share one Redis.
    #[sea_orm(column_type = "String(StringLen::N(32))")]
    pub name: String,
    /// The worker that leads dispatch.
    #[sea_orm(column_type = "String(StringLen::N(128))", nullable)]
    pub leader: Option<String>,
    /// Until when, Unix milliseconds, database time.
    pub leader_until: i64,
    /// The queue's incarnation that was last rung.
    #[sea_orm(column_type = "String(StringLen::N(64))", nullable)]
    pub queue_incarnation: Option<String>,
    /// When dispatch last looked whether rotations can close.
    pub closing_checked_at: i64,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
