//! What people say of keys and workers: this key is compromised, this worker should drain.

use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0004_what_people_say"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in [
            ("reseal_keys", big_integer_null("compromised_at")),
            ("reseal_keys", text_null("compromised_reason")),
            ("reseal_workers", big_integer_null("drain_requested_at")),
        ] {
            m.alter_table(Table::alter().table(table).add_column(column).take()).await?;
        }
        Ok(())
    }
}
