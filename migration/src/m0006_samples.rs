//! How far a rotation was, every ten seconds: what its speed and the time that is left are told from.

use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0006_samples"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        let mut rotation = ForeignKey::create();
        rotation
            .name("fk_reseal_samples_rotation_id")
            .from("reseal_samples", "rotation_id")
            .to("reseal_rotations", "id");
        let samples = Table::create()
            .table("reseal_samples")
            .col(big_integer("rotation_id"))
            .col(big_integer("at"))
            .col(big_integer("rows_done"))
            .primary_key(Index::create().col("rotation_id").col("at"))
            .foreign_key(&mut rotation)
            .take();
        m.create_table(samples).await
    }
}
