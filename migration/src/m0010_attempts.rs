//! How each try at a batch ended; and batches that were put in place of one.

use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0010_attempts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        let mut attempts = Table::create();
        attempts.table("reseal_attempts");
        for mut column in [
            big_integer("batch_id"),
            big_integer("epoch"),
            string_len_null("worker", 128),
            big_integer_null("began_at"),
            big_integer("ended_at"),
            string_len("outcome", 16),
            string_len_null("code", 64),
            text_null("detail"),
            big_integer("rows_done"),
        ] {
            attempts.col(column.take());
        }
        attempts.primary_key(Index::create().col("batch_id").col("epoch"));
        let mut batch = ForeignKey::create();
        batch.name("fk_reseal_attempts_batch_id").from("reseal_attempts", "batch_id").to("reseal_batches", "id");
        attempts.foreign_key(&mut batch);
        m.create_table(attempts).await?;
        for column in [big_integer_null("part_of"), boolean("split_asked").default(false).take()] {
            m.alter_table(Table::alter().table("reseal_batches").add_column(column).take()).await?;
        }
        Ok(())
    }
}
