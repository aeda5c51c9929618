//! A database of its own for every test, and every database for every test.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use reseal_entities::ledger::{Ledger, LedgerError};
use reseal_migration::migrate_ledger;
use reseal_tests::{Leash, shared_postgres};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, TransactionTrait};
use tokio::{runtime::Builder, sync::Barrier, task::JoinSet};

/// Runs `test` with the address of an empty database, once on each kind of database.
pub(crate) fn for_each_database(test: impl AsyncFn(String)) {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let mut broken = Vec::new();
    for kind in ["PostgreSQL", "SQLite"] {
        let dir = Leash::new();
        let url = match kind {
            "PostgreSQL" => {
                let name = format!("ledger_{}", MADE.fetch_add(1, Ordering::Relaxed));
                shared_postgres().create_database(&name)
            }
            _ => format!("sqlite://{}?mode=rwc", dir.dir().join("ledger.db").display()),
        };
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let run = || runtime.block_on(Box::pin(test(url)));
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            broken.push(kind);
        }
    }
    assert!(broken.is_empty(), "the promise is broken on {}", broken.join(" and on "));
}

/// Runs `test` with an empty, migrated ledger, once on each kind of database.
pub(crate) fn for_each_ledger(test: impl AsyncFn(Ledger)) {
    for_each_database(async |url| {
        let ledger = Ledger::connect(&url).await.expect("a ledger");
        migrate_ledger(ledger.db()).await.expect("migrated");
        ledger.identity().await.expect("its row about itself");
        test(ledger.clone()).await;
        ledger.db().clone().close().await.expect("closed");
    });
}

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
