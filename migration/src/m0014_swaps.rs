//! Faults of a source, which pause a table's batches and cost them no attempt.

use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0014_swaps"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in [
            ("reseal_planned_tables", integer("faults").default(0).take()),
            ("reseal_planned_tables", string_len_null("fault_code", 64)),
            ("reseal_planned_tables", text_null("fault_detail")),
            ("reseal_planned_tables", big_integer_null("fault_since")),
            ("reseal_planned_tables", big_integer_null("fault_until")),
            ("reseal_batches", integer("faults").default(0).take()),
        ] {
            m.alter_table(Table::alter().table(table).add_column(column).take()).await?;
        }
        Ok(())
    }
}
