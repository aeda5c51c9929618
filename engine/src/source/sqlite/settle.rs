//! Waiting out transactions and making commits durable on SQLite, which are one thing there.
//!
//! With a write-ahead log a full checkpoint succeeds only while nobody writes and nobody reads anything older than the last
//! commit, and puts everything on disk. Without one an exclusive transaction begins only while nobody reads or writes, and its commit
//! puts the whole file on disk, whatever other connections left unwritten.

use super::*;
use sqlx::{Connection, SqliteConnection};
use std::time::UNIX_EPOCH;

/// Patience is with the caller: while SQLite waits for readers here, writers wait, too.
const SESSION: &str = "PRAGMA busy_timeout = 100; PRAGMA synchronous = FULL";
const BUSY: [&str; 3] = ["5", "261", "517"];

/// Whether there was such a moment just now.
async fn settle(pool: &SqlitePool) -> Result<bool, SourceError> {
    // A connection of its own: the settings go with it.
    let mut connection = pool.acquire().await?.detach();
    let settled = settle_on(&mut connection).await;
    let _ = connection.close().await; // nothing is left on it
    settled
}

async fn settle_on(connection: &mut SqliteConnection) -> Result<bool, SourceError> {
    sqlx::raw_sql(SESSION).execute(&mut *connection).await?;
    let mode: String = sqlx::query_scalar("PRAGMA main.journal_mode").fetch_one(&mut *connection).await?;
    let done = if mode == "wal" { checkpoint(connection).await } else { exclusively(connection).await };
    match done {
        Err(e) if e.as_database_error().and_then(|e| e.code()).is_some_and(|code| BUSY.contains(&&*code)) => Ok(false),
        done => Ok(done?),
    }
}

async fn checkpoint(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let row = sqlx::query("PRAGMA main.wal_checkpoint(FULL)").fetch_one(connection).await?;
    Ok(row.try_get::<i64, _>(0)? == 0)
}

async fn exclusively(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut *connection).await?;
    // What the application keeps there stays as it is; writing it is what makes the commit reach the disk.
    let version: i64 = sqlx::query_scalar("PRAGMA main.user_version").fetch_one(&mut *connection).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA main.user_version = {version}; COMMIT"))).execute(connection).await?;
    Ok(true)
}

pub(super) async fn open(pool: &SqlitePool) -> Result<Vec<OpenTransaction>, SourceError> {
    if settle(pool).await? {
        return Ok(Vec::new());
    }
    let what = "a transaction of another connection to the file (SQLite does not say whose)".to_owned();
    Ok(vec![OpenTransaction { id: "file".to_owned(), what }])
}

pub(super) async fn flush(pool: &SqlitePool) -> Result<String, SourceError> {
    for pause in crate::retry::pauses(8) {
        if settle(pool).await? {
            return Ok(String::new());
        }
        tokio::time::sleep(pause).await;
    }
    Err(SourceError::lock_timeout(
        "another connection reads or writes the file all the time, so what was committed cannot be put on disk",
    ))
}

/// When the file and its log were last written, and how long they are.
pub(super) fn sign(path: &str) -> Result<String, SourceError> {
    let of = |path: String| {
        std::fs::metadata(path).map_or_else(
            |_| String::new(),
            |file| {
                let at = file.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
                format!("{}@{}", file.len(), at.as_nanos())
            },
        )
    };
    Ok(format!("{} {}", of(path.to_owned()), of(format!("{path}-wal"))))
}
