//! What a rotation of 100,000 batches takes to be looked at, beside an ended rotation of as many: its strip, and each
//! of its pages from the request to the last byte. Medians; a page is to take less than 300 ms.

use reseal_entities::{
    ledger::{Ledger, sessions, strip, tokens},
    tokens::Role,
};
use reseal_producer::http::{self, App, Listen, Listening, Rules, Settings};
use reseal_tests::for_each_ledger;
use sea_orm::ConnectionTrait;
use std::time::{Duration, Instant};
use utoipa_axum::router::OpenApiRouter;

const LOOKS: usize = 21;

/// Ten tables of 10,000 batches: half are done, some in hand, some failed, the rest waits; 5,000 quarantined rows.
const SEED: &[&str] = &[
    "INSERT INTO reseal_keysets VALUES ('bench', 1)",
    "INSERT INTO reseal_rotations (id, keyset, state, requested_by, clear_after_ms, writer_ttl_ms, batch_rows, planning_done, \
     requested_at, waited_ms, step_epoch, step_due_at, step_failures, next_ring_at, rings) \
     SELECT id, 'bench', 'reencrypting', 'bench', 0, 0, 10, true, 1, 0, 0, 0, 0, 0, 0 FROM (SELECT 1 AS id UNION ALL SELECT 2) r",
    "INSERT INTO reseal_planned_tables (id, rotation_id, source, schema_name, table_name, columns, planning_done, rows) \
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20) \
     SELECT i, 1 + i / 11, 'app', 'public', 't' || i, '[]', true, 100000 FROM n",
    "INSERT INTO reseal_batches (id, rotation_id, planned_table_id, up_to_key, rows, state, epoch, rows_counted, barren_claims, \
     attempts, due_at, next_ring_at, rings) \
     WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 199999) \
     SELECT i + 1, 1 + i / 100000, 1 + i / 10000, 'key-' || i, 10, \
            CASE WHEN i % 10000 < 5000 THEN 'done' WHEN i % 97 = 0 THEN 'failed' WHEN i % 89 = 0 THEN 'leased' ELSE 'pending' END, \
            1, 10, 0, 0, 0, 0, 0 FROM n",
    "INSERT INTO reseal_quarantine (rotation_id, planned_table_id, batch_id, row_key, row_hash, column_name, live, code, cell_bytes, \
     state, found_at) \
     WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 4999) \
     SELECT 1, 1, 1 + i, 'k' || i, 'h' || i, 'c', true, 'not_authentic', 3, 'open', 1 FROM n",
    "ANALYZE",
];

fn main() {
    for_each_ledger(async |ledger| {
        for sql in SEED {
            ledger.db().execute_unprepared(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
        look(&ledger).await;
        look_at_pages(&ledger).await;
    });
}

#[expect(clippy::print_stdout, reason = "a bench prints")]
async fn look(ledger: &Ledger) {
    let mut took = Vec::with_capacity(LOOKS);
    let mut bins = 0;
    for _ in 0..LOOKS {
        let began = Instant::now();
        let told = strip::of_rotation(ledger.db(), 1, 120).await.expect("a strip");
        took.push(began.elapsed());
        bins = told.iter().map(|table| table.bins.len()).sum();
        let batches: i64 = told.iter().flat_map(|table| &table.bins).map(strip::Bin::batches).sum();
        assert_eq!(batches, 100_000);
    }
    took.sort_unstable();
    let backend = ledger.db().get_database_backend();
    println!("{backend:?}: {bins} bins of 100,000 batches in {:.1} ms", took[LOOKS / 2].as_secs_f64() * 1_000.0);
}

/// The pages of a rotation, of what failed, and of all there is.
const PAGES: [&str; 5] =
    ["/", "/rotations/1", "/rotations/1/batches", "/rotations/1/failures", "/rotations/1/quarantine"];

#[expect(clippy::print_stdout, reason = "a bench prints")]
async fn look_at_pages(ledger: &Ledger) {
    let rules = Rules { clear_after: None, writer_ttl: Duration::ZERO, batch_rows: 10, two_person: false };
    let settings = Settings { rules, on_loopback: true, tls: false, requests_per_second: 10_000, cryptoperiod: None };
    let app = App::open(ledger.clone(), None, None, settings);
    let listen = Listen { bind: "127.0.0.1:0".parse().expect("an address"), tls: None };
    let listening = Listening::at(listen).await.expect("a free port");
    let url = listening.url().expect("its address");
    let cookie = format!("reseal={}", session(ledger).await);
    let router = http::router(app.clone(), OpenApiRouter::new());
    let serving = tokio::spawn(async move { http::serve(&app, router, listening, std::future::pending()).await });
    let browser = reqwest::Client::new();
    for page in PAGES {
        let mut took = Vec::with_capacity(LOOKS);
        let mut bytes = 0;
        for _ in 0..LOOKS {
            let began = Instant::now();
            let answer = browser.get(format!("{url}{page}")).header("cookie", &cookie).send().await.expect("an answer");
            assert_eq!(answer.status(), 200, "{page}");
            bytes = answer.bytes().await.expect("a page").len();
            took.push(began.elapsed());
        }
        took.sort_unstable();
        println!("{page:<26} {:>7.1} ms, {bytes} bytes", took[LOOKS / 2].as_secs_f64() * 1_000.0);
    }
    serving.abort();
}

async fn session(ledger: &Ledger) -> String {
    let txn = ledger.begin().await.expect("a transaction");
    let new = tokens::New { name: None, role: Role::Admin, expires_in_ms: None, requests_per_second: None };
    let (token, _) = tokens::create(&txn, "bench", &new).await.expect("a token");
    let (_, secret) = sessions::open(&txn, &token).await.expect("a session");
    txn.commit().await.expect("committed");
    secret
}
