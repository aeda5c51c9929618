//! What the order of proving and clearing needs: how often writers refresh their keysets, how many cells a proof opened, what a
//! step remembers between two tries, and whom an operator no longer lets hold a clearing.

use crate::guards;
use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0016_clearing"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in [
            ("reseal_writers", big_integer_null("refresh_ms").take()),
            ("reseal_proofs", big_integer("opened").default(0).take()),
            ("reseal_rotations", text_null("step_memo").take()),
        ] {
            m.alter_table(Table::alter().table(table).add_column(column).take()).await?;
        }
        let mut exemptions = Table::create();
        exemptions.table("reseal_exemptions");
        for mut column in [
            big_integer("rotation_id"),
            string_len("kind", 16),
            string_len("name", 255),
            text("note"),
            string_len("actor", 128),
            big_integer("excluded_at"),
        ] {
            exemptions.col(column.take());
        }
        exemptions.primary_key(Index::create().col("rotation_id").col("kind").col("name"));
        let mut rotation = ForeignKey::create();
        rotation
            .name("fk_reseal_exemptions_rotation_id")
            .from("reseal_exemptions", "rotation_id")
            .to("reseal_rotations", "id");
        exemptions.foreign_key(&mut rotation);
        m.create_table(exemptions).await?;
        guards::demand_opened(m).await
    }
}
