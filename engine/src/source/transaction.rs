//! Beginning a transaction on a source.

use sqlx::{AssertSqlSafe, Database, Error, Pool, Transaction};

/// Begins with `statement`, in a task of its own: a future that is dropped while BEGIN is under way would give its
/// connection back inside a transaction that nobody ends. What others then wrote on that connection would never be
/// committed. A task that nobody waits for any more ends its BEGIN and rolls back.
pub(super) async fn begin<D: Database>(
    pool: &Pool<D>,
    statement: impl Into<String>,
) -> Result<Transaction<'static, D>, Error> {
    let (pool, statement): (Pool<D>, String) = (pool.clone(), statement.into());
    let begun = tokio::spawn(async move { pool.begin_with(AssertSqlSafe(statement)).await });
    begun.await.map_err(|e| Error::Io(std::io::Error::other(e)))?
}
