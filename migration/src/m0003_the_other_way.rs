//! Cancelling and rolling back: which key gave way, and which rotation another one turns round; what holds
//! a clearing.

use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0003_the_other_way"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        for column in [big_integer_null("from_key_id"), big_integer_null("reverses"), text_null("hold_detail")] {
            m.alter_table(Table::alter().table("reseal_rotations").add_column(column).take()).await?;
        }
        Ok(())
    }
}
