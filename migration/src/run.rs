//! Running migrations: all or nothing, and one process at a time.

use crate::{Ledger, ReferenceTables};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use sea_orm_migration::MigratorTrait;

/// The advisory lock under which a migration runs on PostgreSQL: the bytes of `resealDB`.
const LOCK: i64 = 0x7265_7365_616c_4442;

/// Why the schema could not be brought up to date. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// This binary is older than the schema.
    #[error("the schema was migrated by a newer reseal ({0}): run that version, or a newer one")]
    Newer(String),
    /// The database refused.
    #[error("the migration failed and nothing was changed: {0}")]
    Database(#[from] DbErr),
}

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many migrations were applied.
    Applied(usize),
    /// There was nothing to do.
    Current,
}

/// Brings the ledger's schema up to date. Run twice, or by two processes at once, it changes
/// nothing the second time.
pub async fn migrate_ledger(db: &DatabaseConnection) -> Result<Outcome, MigrateError> {
    migrate::<Ledger>(db).await
}

/// Creates the reference tables in a source.
pub async fn migrate_reference_tables(db: &DatabaseConnection) -> Result<Outcome, MigrateError> {
    migrate::<ReferenceTables>(db).await
}

/// How many of the ledger's migrations are still to be applied. Writes nothing.
pub async fn pending(db: &DatabaseConnection) -> Result<usize, MigrateError> {
    let applied = Ledger::get_migration_with_status_read_only(db).await.map_err(explain)?;
    Ok(applied.iter().filter(|m| m.status() == sea_orm_migration::MigrationStatus::Pending).count())
}

async fn migrate<M: MigratorTrait>(db: &DatabaseConnection) -> Result<Outcome, MigrateError> {
    let immediate = TransactionOptions {
        isolation_level: None,
        access_mode: None,
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
    };
    let txn = db.begin_with_options(immediate).await?;
    if db.get_database_backend() == DbBackend::Postgres {
        txn.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({LOCK})")).await?;
    }
    let pending = M::get_pending_migrations(&txn).await.map_err(explain)?.len();
    M::up(&txn, None).await.map_err(explain)?;
    txn.commit().await?;
    Ok(if pending == 0 { Outcome::Current } else { Outcome::Applied(pending) })
}

fn explain(error: DbErr) -> MigrateError {
    match error {
        DbErr::Custom(text) if text.contains("missing") || text.contains("been applied but") => {
            MigrateError::Newer(text)
        }
        other => MigrateError::Database(other),
    }
}
