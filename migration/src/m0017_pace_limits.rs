//! What a rotation waits for and since when, how often its plan was made again, and which tables have left the plan.

use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0017_pace_limits"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        let columns = [
            ("reseal_rotations", big_integer_null("step_since").take()),
            ("reseal_rotations", integer("replans").default(0).take()),
            ("reseal_planned_tables", big_integer_null("left_at").take()),
        ];
        for (table, column) in columns {
            m.alter_table(Table::alter().table(table).add_column(column).take()).await?;
        }
        Ok(())
    }
}
