//! How fast each worker is.

use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0011_pace"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        let pace = big_integer_null("rows_per_second").take();
        m.alter_table(Table::alter().table("reseal_workers").add_column(pace).take()).await
    }
}
