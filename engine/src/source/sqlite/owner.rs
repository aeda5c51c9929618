//! Whose a SQLite source is: the mark, in a table of one row; and which file a connection has open.

use super::*;
use sqlx::sqlite::SqliteSynchronous;
use std::{os::unix::fs::MetadataExt, path::Path};

/// A file, whatever its name: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

impl FileId {
    /// The file that has this name now.
    pub(super) fn at(path: &Path) -> Result<Self, SourceError> {
        let file = std::fs::metadata(path).map_err(|e| SourceError {
            kind: SourceErrorKind::Transient,
            code: "source_unreachable",
            message: format!("the source's file {} cannot be looked at: {}", path.display(), e.kind()),
        })?;
        Ok(Self(file.dev(), file.ino()))
    }

    /// Refuses to go on with a file that no longer has its name: applications write into another one.
    pub(super) fn refuse_replaced(self, path: &Path) -> Result<(), SourceError> {
        if Self::at(path)? == self {
            return Ok(());
        }
        Err(SourceError {
            kind: SourceErrorKind::Transient,
            code: "source_replaced",
            message: format!("the source's file {} was replaced meanwhile: the new one is opened next", path.display()),
        })
    }
}

/// The source's real path, by which it is known.
pub(super) fn path_of(options: &SqliteConnectOptions) -> String {
    let path = options.get_filename();
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Opens the file that has the source's name now, in a connection of its own.
pub(super) async fn open(options: &SqliteConnectOptions) -> Result<(SqliteConnection, FileId), SourceError> {
    let path = options.get_filename();
    let before = FileId::at(path)?;
    let connection = options.connect().await?;
    // One that came between the look and the opening would be taken for the other.
    before.refuse_replaced(path)?;
    Ok((connection, before))
}

pub(super) async fn mark(connection: &mut SqliteConnection) -> Result<Option<Mark>, SourceError> {
    let there = "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = 'reseal_owner'";
    if sqlx::query_scalar::<_, i64>(there).fetch_one(&mut *connection).await? == 0 {
        return Ok(None);
    }
    let row = sqlx::query("SELECT ledger, place, nonce FROM main.reseal_owner").fetch_optional(connection).await?;
    row.map(|row| Ok(Mark { ledger: row.try_get(0)?, place: row.try_get(1)?, nonce: row.try_get(2)? })).transpose()
}

/// Writes the mark where `over` agrees to what is there, in one transaction.
pub(super) async fn write(options: &SqliteConnectOptions, to: &Mark, over: Over<'_>) -> Result<bool, SourceError> {
    let (mut connection, file) = open(&options.clone().synchronous(SqliteSynchronous::Full)).await?;
    let mut txn = connection.begin_with("BEGIN IMMEDIATE").await?;
    if !over(mark(&mut txn).await?.as_ref()) {
        return Ok(false);
    }
    let table = "CREATE TABLE IF NOT EXISTS main.reseal_owner (id INTEGER PRIMARY KEY CHECK (id = 1), ledger TEXT NOT NULL, \
                 place TEXT NOT NULL, nonce TEXT NOT NULL)";
    sqlx::raw_sql(table).execute(&mut *txn).await?;
    sqlx::query("INSERT OR REPLACE INTO main.reseal_owner VALUES (1, ?, ?, ?)")
        .bind(to.ledger.clone())
        .bind(to.place.clone())
        .bind(to.nonce.clone())
        .execute(&mut *txn)
        .await?;
    file.refuse_replaced(options.get_filename())?;
    txn.commit().await?;
    connection.close().await?;
    Ok(true)
}
