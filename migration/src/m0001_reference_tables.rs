//! `user_profiles`, `messages`, `sync_queue`.

use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0001_reference_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        for (table, id, cell) in [
            ("user_profiles", uuid("id").primary_key().take(), "encrypted_data"),
            ("messages", big_pk_auto("id"), "encrypted_content"),
            ("sync_queue", big_pk_auto("id"), "encrypted_data"),
        ] {
            let mut create = Table::create();
            create.table(table).col(id).col(blob_null(cell)).col(big_integer("created_at").default(0));
            m.create_table(create).await?;
        }
        Ok(())
    }
}
