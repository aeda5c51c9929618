//! Columns and keys whose cells do not name their key; row keys of any length; who writes.

use crate::guards;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::{prelude::*, schema::*};
use sha2::{Digest, Sha256};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0002_adoption"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in [
            ("reseal_keys", string_len("prefix", 8).default("tink").take()),
            ("reseal_catalog", string_len("format", 16).default("tink").take()),
            ("reseal_catalog", string_len("encoding", 32).default("bytes").take()),
            ("reseal_catalog", big_integer_null("adopted_at")),
        ] {
            m.alter_table(Table::alter().table(table).add_column(column).take()).await?;
        }
        let mut writers = Table::create();
        writers.table("reseal_writers").col(string_len("name", 128)).col(string_len("keyset", 64));
        writers.col(big_integer("key_id")).col(big_integer("started_at")).col(big_integer("seen_at"));
        writers.primary_key(Index::create().col("name").col("keyset"));
        m.create_table(writers).await?;
        guards::install_kind(m).await?;
        row_keys_of_any_length(m).await
    }
}

/// A text key can be longer than an index takes, so the index is over a hash of it.
async fn row_keys_of_any_length(m: &SchemaManager<'_>) -> Result<(), DbErr> {
    let (db, backend) = (m.get_connection(), m.get_database_backend());
    m.drop_index(Index::drop().name("reseal_quarantine_cell").table("reseal_quarantine").to_owned()).await?;
    let hash = string_len("row_hash", 64).default("").take();
    m.alter_table(Table::alter().table("reseal_quarantine").add_column(hash).take()).await?;
    if backend == DbBackend::Postgres {
        db.execute_unprepared(
            "ALTER TABLE reseal_quarantine ALTER COLUMN row_key TYPE text, ALTER COLUMN row_key SET DEFAULT ''",
        )
        .await?;
    } else {
        // SQLite keeps no lengths and alters no types; the column gets another.
        db.execute_unprepared(
            "ALTER TABLE reseal_quarantine ADD COLUMN row_text text NOT NULL DEFAULT '';
             UPDATE reseal_quarantine SET row_text = row_key;
             ALTER TABLE reseal_quarantine DROP COLUMN row_key;
             ALTER TABLE reseal_quarantine RENAME COLUMN row_text TO row_key;",
        )
        .await?;
    }
    let rows = Statement::from_string(backend, "SELECT id, row_key FROM reseal_quarantine");
    for row in db.query_all_raw(rows).await? {
        let (id, key): (i64, String) = (row.try_get("", "id")?, row.try_get("", "row_key")?);
        let mut update = Query::update();
        update.table("reseal_quarantine").value("row_hash", hex::encode(Sha256::digest(key)));
        m.execute(update.and_where(Expr::col("id").eq(id)).take()).await?;
    }
    let mut index = Index::create();
    index.name("reseal_quarantine_cell").table("reseal_quarantine").unique();
    m.create_index(index.col("planned_table_id").col("row_hash").col("column_name").col("live").take()).await
}
