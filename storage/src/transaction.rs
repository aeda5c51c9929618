//! Transactions that write

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};

use crate::{Fenceable, Storage, StorageError, error::aborted};

/// How often a write or a transaction is tried that the fence refuses.
pub(crate) const TRIES: usize = 3;

/// Where a transaction can begin: a connection, or a transaction, in which it is a savepoint
pub trait Begin: ConnectionTrait {
    /// Begins one that will write: on SQLite at once with the write lock
    fn begin_write(&self) -> impl Future<Output = Result<DatabaseTransaction, DbErr>> + Send;
}

const IMMEDIATE: TransactionOptions = TransactionOptions {
    isolation_level: None,
    access_mode: None,
    sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
};

impl Begin for DatabaseConnection {
    // In a task of its own: a web server drops a request's future when its client goes away, and dropped
    // during BEGIN it would give its connection back inside a transaction that nobody ends.
    async fn begin_write(&self) -> Result<DatabaseTransaction, DbErr> {
        let db = self.clone();
        let begun = tokio::spawn(async move { db.begin_with_options(IMMEDIATE).await });
        begun.await.map_err(|e| DbErr::Custom(format!("beginning a transaction: {e}")))?
    }
}

impl Begin for DatabaseTransaction {
    async fn begin_write(&self) -> Result<DatabaseTransaction, DbErr> {
        self.begin().await
    }
}

impl Storage {
    /// Runs `run` in a transaction and commits; runs all of it again when the fence refused a write
    ///
    /// The fence aborts a transaction on PostgreSQL, so that only the whole can be repeated: `run` is
    /// called up to three times, and what it does outside the database it does each time. It sees its
    /// own effects and no others', as in any transaction of the database's default isolation. An error
    /// rolls back. On SQLite it begins with the write lock.
    ///
    /// ```no_run
    /// # async fn f(storage: reseal_storage::Storage, db: sea_orm::DatabaseConnection)
    /// # -> Result<(), reseal_storage::StorageError> {
    /// use reseal_storage::Text;
    ///
    /// let id = storage
    ///     .transaction(&db, async |txn| {
    ///         storage.sync_queue::<Text>().enqueue(txn, "message").await?;
    ///         storage.messages::<Text>().send(txn, "hello").await
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `run`, and of beginning and committing. [`StorageError::Aborted`] when `run` swallowed
    /// the error of a statement: PostgreSQL would answer such a commit with success and keep nothing.
    pub async fn transaction<C, T, E, F>(&self, db: &C, run: F) -> Result<T, E>
    where
        C: Begin,
        E: From<StorageError> + Fenceable,
        F: for<'t> AsyncFnOnce(&'t DatabaseTransaction) -> Result<T, E> + Clone,
    {
        let mut tried = 1;
        loop {
            let txn = db.begin_write().await.map_err(StorageError::from)?;
            let error = match run.clone()(&txn).await {
                Ok(done) => {
                    commit(txn).await?;
                    self.inner.keysets.counted.went_through_at(tried);
                    return Ok(done);
                }
                Err(error) => error,
            };
            // It failed already; what rolling back says adds nothing.
            let _ = txn.rollback().await;
            if !error.is_fenced() || tried == TRIES {
                return Err(error);
            }
            tried += 1;
            self.inner.keysets.reload_all().await;
        }
    }
}

async fn commit(txn: DatabaseTransaction) -> Result<(), StorageError> {
    if txn.get_database_backend() == DbBackend::Postgres
        && let Err(error) = txn.execute_unprepared("SELECT 1").await
    {
        let _ = txn.rollback().await;
        return Err(if aborted(&error) { StorageError::Aborted } else { error.into() });
    }
    Ok(txn.commit().await?)
}
