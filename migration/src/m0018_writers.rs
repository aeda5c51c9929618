//! What a column's fence refuses.

use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0018_writers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        // Columns that are registered keep the fence that they have.
        let fence = string_len("fence", 16).default("trigger").take();
        m.alter_table(Table::alter().table("reseal_catalog").add_column(fence).take()).await
    }
}
