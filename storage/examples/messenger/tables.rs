//! The application's own tables: drafts with a composite key, and the shadow

use reseal_storage::{Field, Json, StorageError, Text};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, Statement, TransactionTrait};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) from: String,
    pub(crate) text: String,
}

pub(crate) mod drafts {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "drafts")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub author: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i32,
        #[sea_orm(column_type = "Blob", nullable)]
        pub body: Option<Vec<u8>>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The one line that makes a column of one's own encrypted, under a keyset of its own.
pub(crate) const DRAFT: Field<drafts::Entity, Text> = Field::new(drafts::Column::Body).keyset("drafts");

pub(crate) type Messages = Json<Message>;

pub(crate) async fn create(db: &DatabaseConnection) -> Result<(), StorageError> {
    let bytes = if db.get_database_backend() == DbBackend::Postgres { "bytea" } else { "blob" };
    let txn = db.begin().await?;
    if db.get_database_backend() == DbBackend::Postgres {
        // Two instances that start at once would both make them.
        txn.execute_unprepared("SELECT pg_advisory_xact_lock(7373)").await?;
    }
    for sql in [
        &*format!(
            "CREATE TABLE IF NOT EXISTS drafts (author text, number integer, body {bytes}, PRIMARY KEY (author, number))"
        ),
        "CREATE TABLE IF NOT EXISTS shadow (tbl text, id text, sha256 text NOT NULL, PRIMARY KEY (tbl, id))",
    ] {
        txn.execute_unprepared(sql).await?;
    }
    Ok(txn.commit().await?)
}

pub(crate) fn hash(plaintext: &str) -> String {
    Sha256::digest(plaintext).iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn hash_of(message: &Message) -> String {
    hash(&format!("{} {}", message.from, message.text))
}

/// Keeps what a row's value must be from this commit on.
pub(crate) async fn keep(txn: &DatabaseTransaction, tbl: &str, id: &str, sha256: &str) -> Result<(), StorageError> {
    let sql = "INSERT INTO shadow VALUES ($1, $2, $3) ON CONFLICT (tbl, id) DO UPDATE SET sha256 = excluded.sha256";
    run(txn, sql, &[tbl, id, sha256]).await
}

pub(crate) async fn forget(txn: &DatabaseTransaction, tbl: &str, id: &str) -> Result<(), StorageError> {
    run(txn, "DELETE FROM shadow WHERE tbl = $1 AND id = $2", &[tbl, id]).await
}

async fn run(txn: &DatabaseTransaction, sql: &str, values: &[&str]) -> Result<(), StorageError> {
    let values = values.iter().map(|v| (*v).into());
    let statement = Statement::from_sql_and_values(txn.get_database_backend(), sql, values);
    txn.execute_raw(statement).await?;
    Ok(())
}
