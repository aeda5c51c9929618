//! What every test of the ledger stands on.

use std::{sync::Arc, time::Duration};

use reseal_entities::ledger::{Ledger, LedgerError};
use reseal_tests::eventually;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, TransactionTrait};
use tokio::{sync::Barrier, task::JoinSet};

pub(crate) use reseal_tests::{for_each_database, for_each_ledger};

/// Opens every connection of the pool, so that a race is not won by who has the first one.
pub(crate) async fn warm(ledger: &Ledger) {
    let all_open = Arc::new(Barrier::new(8));
    let mut opening = JoinSet::new();
    for _ in 0..8 {
        let (db, all_open) = (ledger.db().clone(), Arc::clone(&all_open));
        opening.spawn(async move {
            let txn = db.begin().await.expect("a connection");
            all_open.wait().await;
            txn.rollback().await.expect("nothing was done");
        });
    }
    opening.join_all().await;
}

pub(crate) fn is_postgres(ledger: &Ledger) -> bool {
    ledger.db().get_database_backend() == DbBackend::Postgres
}

/// Until so many wait for a lock in this database. On SQLite a transaction that writes waits at its beginning, and nobody
/// can see it.
pub(crate) async fn wait_for_a_lock(ledger: &Ledger, many: i64) {
    if !is_postgres(ledger) {
        return;
    }
    let waiting =
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waiting = Statement::from_string(DbBackend::Postgres, waiting);
    eventually(Duration::from_secs(30), "they wait for a lock", async || {
        let row = ledger.db().query_one_raw(waiting.clone()).await.unwrap().unwrap();
        (row.try_get::<i64>("", "n").unwrap() >= many).then_some(())
    })
    .await;
}

/// Runs SQL that must succeed, and says how many rows it changed.
pub(crate) async fn run(db: &impl ConnectionTrait, sql: impl AsRef<str>) -> u64 {
    let sql = sql.as_ref();
    db.execute_unprepared(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}")).rows_affected()
}

/// Runs `change` in a transaction of its own: committed when it succeeds, rolled back when not.
pub(crate) async fn alone<T>(
    ledger: &Ledger,
    change: impl AsyncFnOnce(&DatabaseTransaction) -> Result<T, LedgerError>,
) -> Result<T, LedgerError> {
    let txn = ledger.begin().await?;
    let done = change(&txn).await;
    match done {
        Ok(_) => txn.commit().await?,
        Err(_) => txn.rollback().await?,
    }
    done
}
