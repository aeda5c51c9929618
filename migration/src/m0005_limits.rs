//! What an operator allows a rotation, and how fast the dispatch leader lets it go.

use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0005_limits"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        for column in [
            big_integer_null("limit_rows_per_second"),
            integer_null("limit_lanes"),
            integer_null("limit_batches"),
            big_integer_null("pace_rows_per_hour"),
            string_len_null("pace_code", 64),
            text_null("pace_reason"),
            big_integer_null("pace_since"),
            big_integer_null("throttled_ms"),
        ] {
            m.alter_table(Table::alter().table("reseal_rotations").add_column(column).take()).await?;
        }
        Ok(())
    }
}
