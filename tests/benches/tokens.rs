//! Whether the time that a token takes tells how nearly right it is: right, nearly right, wrong, and of an id that
//! is not there, in turn. Medians, as ratios to the wrong one.

use reseal_entities::{
    ledger::{
        Ledger,
        tokens::{self, New},
    },
    tokens::Role,
};
use reseal_migration::migrate_ledger;
use std::time::Instant;

const ROUNDS: usize = 5_000;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a bench prints")]
async fn main() {
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}?mode=rwc", dir.path().join("ledger.db").display());
    let ledger = Ledger::connect(&url).await.expect("a ledger");
    migrate_ledger(ledger.db()).await.expect("migrated");
    let txn = ledger.begin().await.expect("a transaction");
    let new = New { name: None, role: Role::Viewer, expires_in_ms: None, requests_per_second: None };
    let (_, right) = tokens::create(&txn, "bench", &new).await.expect("a token");
    txn.commit().await.expect("committed");

    let last = if right.ends_with('0') { "1" } else { "0" };
    let nearly = format!("{}{last}", &right[..right.len() - 1]);
    let wrong = format!("reseal_1_{}", "0".repeat(64));
    let elsewhere = format!("reseal_2_{}", "0".repeat(64));
    let tokens = [("wrong", wrong), ("nearly right", nearly), ("of no id", elsewhere), ("right", right)];
    let mut took = tokens.each_ref().map(|_| Vec::with_capacity(ROUNDS));
    for round in 0..ROUNDS {
        // Each is first as often as the others: what comes after a right one finds other pages in the cache.
        for n in 0..tokens.len() {
            let n = (n + round) % tokens.len();
            let (token, took) = (&tokens[n].1, &mut took[n]);
            let began = Instant::now();
            let found = tokens::authenticate(ledger.db(), token).await.expect("an answer");
            took.push(began.elapsed().as_nanos());
            std::hint::black_box(found.is_ok());
        }
    }
    let medians = took.map(|mut took| {
        took.sort_unstable();
        took[ROUNDS / 2] as f64
    });
    for ((name, _), median) in tokens.iter().zip(medians) {
        println!("{name:<13} {:>8.1} µs  {:.3} of wrong", median / 1_000.0, median / medians[0]);
    }
}
