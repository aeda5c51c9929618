//! Work that was asked for: a dry run and a census that are done, a clearing that failed, a retry that skipped, and a
//! census that waits.

use super::Stock;
use crate::words::Words;
use reseal_engine::{
    census::{Census, Counted, CountedColumn},
    dry_run::{DryRun, Scan, TableForecast, Writer},
};
use reseal_entities::{
    ledger::{
        Ledger, keys as ledger_keys,
        operations::{
            self, Ask, Caller,
            work::{End, claim_if_due, end_if_held},
        },
        retry::RetryFilter,
    },
    state::KeyState,
};
use serde_json::json;

pub(super) async fn make(ledger: &Ledger, words: &Words, stock: &mut Stock) {
    let keyset = words.keysets[0].to_owned();
    let suspended = stock.keys.iter().find(|(state, _)| *state == KeyState::Suspended).expect("one of each").1;
    let ask = Ask::DryRun { keyset, to_key_id: None };
    stock.operations.push(done(ledger, words, &ask, End::Succeeded(json!(dry_run(words, stock)))).await);
    let ask = Ask::Census { column: None, key_id: None };
    stock.operations.push(done(ledger, words, &ask, End::Succeeded(json!(census(ledger, words).await))).await);
    let (code, detail) = words.failed[1];
    let failed = End::Failed { code: code.to_owned(), detail: detail.to_owned(), result: None };
    stock.operations.push(done(ledger, words, &Ask::Clear { key_id: suspended }, failed).await);
    let filter = RetryFilter { batch_ids: Some(vec![stock.batches[0]]), ..RetryFilter::default() };
    let retried = operations::retry(ledger, &caller(words), stock.going, &filter).await.expect("retried");
    stock.operations.push(retried.0.id);
    stock.operations.push(asked(ledger, words, &Ask::Census { column: None, key_id: Some(suspended) }).await);
}

fn caller(words: &Words) -> Caller {
    Caller { actor: words.other_person.to_owned(), request_id: None, idempotency_key: None }
}

async fn asked(ledger: &Ledger, words: &Words, ask: &Ask) -> i64 {
    let txn = ledger.begin().await.expect("a transaction");
    let (operation, _) = operations::request(&txn, ask, &caller(words)).await.expect("asked for");
    txn.commit().await.expect("committed");
    operation.id
}

async fn done(ledger: &Ledger, words: &Words, ask: &Ask, end: End) -> i64 {
    let (id, worker) = (asked(ledger, words, ask).await, words.workers[0]);
    let txn = ledger.begin().await.expect("a transaction");
    let held = claim_if_due(&txn, id, worker).await.expect("claimed").expect("it is due");
    assert!(end_if_held(&txn, worker, &held, end).await.expect("ended"), "nobody else has it");
    txn.commit().await.expect("committed");
    id
}

fn path(words: &Words, table: &str) -> String {
    format!("{}:public.{table}", words.source)
}

fn dry_run(words: &Words, stock: &Stock) -> DryRun {
    let table = |table: &str| TableForecast {
        table: path(words, table),
        rows: 240_000,
        cells: Some(239_988),
        batches: 24,
        bytes: 181_403_648,
        sampled_rows: 500,
        unreadable_rows: 1,
        rows_per_second: 1_203.4,
        seconds: [180.0, 320.0],
        growth_bytes: 96_000_000,
        wal_bytes: Some(210_000_000),
        census_seconds: 1.4,
    };
    let active = stock.keys.iter().find(|(state, _)| *state == KeyState::Active).expect("one of each").1;
    DryRun {
        keyset: words.keysets[0].to_owned(),
        algorithm: "AES256_GCM",
        tables: words.tables.map(table).to_vec(),
        seconds: [640.0, 1_120.0],
        writer_ttl_seconds: 60.0,
        clear_after_seconds: Some(604_800.0),
        unregistered: Vec::new(),
        scan: Scan { columns: 31, seconds: 4.2, unfinished: Vec::new() },
        writers: vec![Writer { name: words.writers[0].to_owned(), key_id: active, straggles: false }],
        locks: vec![format!("{}: SHARE ROW EXCLUSIVE for an instant, twice", path(words, words.tables[0]))],
        problems: vec![words.failed[0].1.to_owned()],
        warnings: vec![words.reason.to_owned()],
        notes: vec![words.failed[2].1.to_owned()],
    }
}

/// Every registered column, under the keys of its keyset that are not destroyed.
async fn census(ledger: &Ledger, words: &Words) -> Census {
    let mut columns = Vec::new();
    let all = ledger_keys::all(ledger.db()).await.expect("keys");
    for table in words.tables {
        let (column, keyset) = (format!("{}.{}", path(words, table), words.column), words.keysets[0].to_owned());
        let of_keyset = all.iter().filter(|k| k.keyset == keyset && k.state != KeyState::Destroyed);
        let count = |k: &reseal_entities::keys::Model| Counted {
            column: column.clone(),
            keyset: keyset.clone(),
            key_id: u32::try_from(k.key_id).ok(),
            version: Some(k.version),
            state: k.state.to_string(),
            cells: i64::from(k.version) * 40_123,
        };
        let keys = of_keyset.map(count).collect();
        columns.push(CountedColumn { column, keyset, keys });
    }
    Census { columns }
}
