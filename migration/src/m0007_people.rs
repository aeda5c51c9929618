//! Who may do what, and on whose word: tokens; the request that an audit entry belongs to; the approval of a
//! clearing.

use crate::guards;
use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0007_people"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        m.create_table(tokens()).await?;
        let mut live = Index::create();
        live.name("reseal_tokens_live_name").table("reseal_tokens").unique().col("live_name");
        m.create_index(live).await?;
        for (table, column) in [
            ("reseal_rotations", boolean("needs_approval").default(false).take()),
            ("reseal_rotations", big_integer_null("approved_at")),
            ("reseal_rotations", string_len_null("approved_by", 128)),
            // Last, as in every transaction: a worker that has its rotation's row may be waiting for this table.
            ("reseal_audit", string_len_null("request_id", 64)),
        ] {
            m.alter_table(Table::alter().table(table).add_column(column).take()).await?;
        }
        guards::demand_approval(m).await
    }
}

fn tokens() -> TableCreateStatement {
    let mut table = Table::create();
    table.table("reseal_tokens");
    for mut column in [
        big_pk_auto("id"),
        string_len("name", 64),
        string_len_null("live_name", 64),
        string_len("role", 16),
        string_len("secret_hash", 64),
        integer_null("requests_per_second"),
        big_integer("created_at"),
        string_len("created_by", 128),
        big_integer_null("expires_at"),
        big_integer_null("last_used_at"),
        big_integer_null("revoked_at"),
        string_len_null("revoked_by", 128),
    ] {
        table.col(column.take());
    }
    table
}
