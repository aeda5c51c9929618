//! A messenger that writes and reads all the time: start several, rotate the key meanwhile, and nothing
//! fails
//!
//! Each write keeps a shadow, the SHA-256 of the plaintext, in the same transaction; each read is
//! compared with it. At its end it prints one JSON object. `--verify` reads everything once instead.

mod readers;
mod tables;
mod verify;
mod writer;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use reseal_storage::{Options, Storage, StorageError};
use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
struct Args {
    /// The application's database
    #[arg(long, env = "APP_URL")]
    app: String,
    /// The ledger
    #[arg(long, env = "LEDGER_URL")]
    ledger: String,
    /// The KEK, e.g. file:/etc/reseal/kek
    #[arg(long, env = "KEK_URI")]
    kek: String,
    /// What `reseal status` calls this instance
    #[arg(long, default_value = "messenger")]
    name: String,
    /// Tasks that read
    #[arg(long, default_value_t = 2)]
    readers: usize,
    /// Ends by itself; else at SIGTERM
    #[arg(long)]
    seconds: Option<u64>,
    /// How old a keyset may become
    #[arg(long, default_value_t = 1_000)]
    refresh_ms: u64,
    /// Only writes, and never refreshes its keyset but when the fence refuses it: a straggler
    #[arg(long)]
    stale: bool,
    /// Reads every row once, compares it with its shadow, and ends
    #[arg(long)]
    verify: bool,
}

/// What all tasks share.
struct App {
    name: String,
    db: DatabaseConnection,
    storage: Storage,
    stop: AtomicBool,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    reads: AtomicU64,
    failed_reads: AtomicU64,
    writes: AtomicU64,
    failed_writes: AtomicU64,
    lost: AtomicU64,
    reads_before_promotion: AtomicU64,
    keys_read: Mutex<BTreeMap<u32, u64>>,
}

impl App {
    fn goes_on(&self) -> bool {
        !self.stop.load(Relaxed)
    }

    fn failed(&self, counter: &AtomicU64, what: &str, error: &dyn std::fmt::Display) {
        counter.fetch_add(1, Relaxed);
        tracing::error!("{what}: {error}");
    }
}

#[tokio::main]
async fn main() -> Result<(), StorageError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_max_level(tracing::Level::WARN).init();
    let args = Args::parse();
    let mut options = ConnectOptions::new(&args.app);
    options.sqlx_logging(false).max_connections(u32::try_from(args.readers).unwrap_or(8) + 2);
    let db = Database::connect(options).await?;
    tables::create(&db).await?;
    let year = Duration::from_secs(365 * 86_400);
    let refresh = if args.stale { year } else { Duration::from_millis(args.refresh_ms) };
    let mut options = Options::default().name(&args.name).refresh_every(refresh).beat_every(Duration::from_millis(500));
    if args.stale {
        options = options.confirmed_within(refresh);
    }
    let storage = Storage::open_with(&args.ledger, &args.kek, options).await?;
    let first_key = storage.load_keyset("default").await?;
    let app = Arc::new(App { name: args.name, db, storage, stop: AtomicBool::new(false), tally: Tally::default() });
    if args.verify {
        say(&verify::everything(&app).await?);
        app.storage.close().await;
        return Ok(());
    }
    let mut tasks = vec![tokio::spawn(writer::run(app.clone(), args.stale))];
    for reader in 0..if args.stale { 0 } else { args.readers } {
        tasks.push(tokio::spawn(readers::run(app.clone(), reader, first_key)));
    }
    until_stopped(&app, args.seconds).await;
    app.stop.store(true, Relaxed);
    for task in tasks {
        if let Err(error) = task.await {
            app.failed(&app.tally.lost, "a task ended", &error);
        }
    }
    app.storage.close().await;
    say(&summary(&app));
    Ok(())
}

async fn until_stopped(app: &App, seconds: Option<u64>) {
    let mut term = signal(SignalKind::terminate()).expect("signals can be listened to");
    let (began, mut every) = (Instant::now(), tokio::time::interval(Duration::from_millis(250)));
    loop {
        tokio::select! {
            _ = term.recv() => return,
            _ = every.tick() => {}
        }
        if seconds.is_some_and(|s| began.elapsed() >= Duration::from_secs(s)) {
            return;
        }
        progress(app);
    }
}

#[expect(clippy::print_stderr, reason = "who runs it wants to see it run")]
fn progress(app: &App) {
    let (reads, writes) = (app.tally.reads.load(Relaxed), app.tally.writes.load(Relaxed));
    eprintln!("progress reads {reads} writes {writes} refused {}", app.storage.counters().refused);
}

#[expect(clippy::print_stdout, reason = "its result")]
fn say(object: &serde_json::Value) {
    println!("{object}");
}

fn summary(app: &App) -> serde_json::Value {
    let (t, counters) = (&app.tally, app.storage.counters());
    let keys_read = t.keys_read.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (reads, before) = (t.reads.load(Relaxed), t.reads_before_promotion.load(Relaxed));
    serde_json::json!({
        "name": app.name, "reads": reads, "failed_reads": t.failed_reads.load(Relaxed),
        "writes": t.writes.load(Relaxed), "failed_writes": t.failed_writes.load(Relaxed),
        "refused": counters.refused, "retried": counters.written_again, "lost": t.lost.load(Relaxed),
        "loads": counters.loads, "keys_read": keys_read,
        "reads_before_promotion": before, "reads_after_promotion": reads - before,
    })
}
