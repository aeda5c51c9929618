//! What the order of proving and clearing needs: how often writers refresh their keysets.

use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0016_clearing"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        let refresh = big_integer_null("refresh_ms").take();
        m.alter_table(Table::alter().table("reseal_writers").add_column(refresh).take()).await
    }
}
