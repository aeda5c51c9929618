//! What a proof must cover, and whose a source is: exclusions, each proof's sources and exclusions, the mark that
//! stands in every source, and where each source was reached.

use crate::guards;
use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0015_scope"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        for (name, key) in [("reseal_exclusions", "pattern"), ("reseal_source_addresses", "address")] {
            let mut table = Table::create();
            table
                .table(name)
                .col(string_len("source", 64))
                .col(text(key))
                .col(big_integer("registered_at"))
                .col(string_len("registered_by", 128))
                .primary_key(Index::create().col("source").col(key));
            m.create_table(table).await?;
        }
        for (table, column) in [
            ("reseal_sources", text_null("nonce")),
            ("reseal_sources", text_null("next_nonce")),
            ("reseal_proofs", text("sources").default("[]").take()),
            ("reseal_proofs", text("exclusions").default("[]").take()),
        ] {
            m.alter_table(Table::alter().table(table).add_column(column).take()).await?;
        }
        guards::demand_scope(m).await
    }
}
