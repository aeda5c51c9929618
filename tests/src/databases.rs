//! A database of its own for every test, and every database for every test.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU32, Ordering},
};

use reseal_entities::ledger::Ledger;
use reseal_migration::migrate_ledger;
use tokio::runtime::Builder;

use crate::{Leash, shared_postgres};

/// Runs `test` with the address of an empty database, once on each kind of database.
pub fn for_each_database(test: impl AsyncFn(String)) {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let mut broken = Vec::new();
    for kind in ["PostgreSQL", "SQLite"] {
        let dir = Leash::new();
        let url = match kind {
            "PostgreSQL" => {
                let name = format!("each_{}", MADE.fetch_add(1, Ordering::Relaxed));
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
pub fn for_each_ledger(test: impl AsyncFn(Ledger)) {
    for_each_database(async |url| {
        let ledger = Ledger::connect(&url).await.expect("a ledger");
        migrate_ledger(ledger.db()).await.expect("migrated");
        ledger.identity().await.expect("its row about itself");
        test(ledger.clone()).await;
        ledger.db().clone().close().await.expect("closed");
    });
}
