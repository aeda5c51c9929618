//! Which databases hold encrypted columns, and which database each name stands for. A proof covers what stands
//! here, not what one process's file says; and a process that is configured with a copy would prove the copy empty
//! and clear the key that the original needs.

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
    /// What the source's mark says since the last step that changed the mark; NULL until the source is marked.
    #[sea_orm(column_type = "Text", nullable)]
    pub nonce: Option<String>,
    /// What a change that is under way writes into the mark. The mark may say either meanwhile.
    #[sea_orm(column_type = "Text", nullable)]
    pub next_nonce: Option<String>,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
