//! Work that is asked for and then followed; and when a batch was given up.

use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0008_operations"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        let mut operations = Table::create();
        operations.table("reseal_operations");
        for mut column in [
            big_pk_auto("id"),
            string_len("kind", 16),
            string_len("state", 16),
            string_len_null("keyset", 64),
            big_integer_null("rotation_id"),
            big_integer_null("key_id"),
            text("params"),
            string_len("requested_by", 128),
            string_len_null("request_id", 64),
            string_len_null("idempotency_key", 128),
            big_integer("requested_at"),
            big_integer_null("started_at"),
            big_integer_null("ended_at"),
            big_integer("epoch"),
            big_integer_null("lease_until"),
            string_len_null("worker", 128),
            integer("attempts"),
            big_integer("due_at"),
            big_integer("next_ring_at"),
            big_integer("rings"),
            string_len_null("code", 64),
            text_null("detail"),
            big_integer_null("matched"),
            big_integer_null("applied"),
            big_integer_null("skipped"),
            text_null("result"),
        ] {
            operations.col(column.take());
        }
        m.create_table(operations).await?;
        // Of two requests with one key at once the database lets one in.
        let once = Index::create()
            .name("reseal_operations_idempotency_key")
            .table("reseal_operations")
            .col("idempotency_key")
            .unique()
            .take();
        m.create_index(once).await?;
        // Dispatch asks every second for what has not ended; the list grows for ever.
        let open = Index::create()
            .name("reseal_operations_state")
            .table("reseal_operations")
            .col("state")
            .col("due_at")
            .take();
        m.create_index(open).await?;
        m.alter_table(Table::alter().table("reseal_batches").add_column(big_integer_null("failed_at")).take()).await
    }
}
