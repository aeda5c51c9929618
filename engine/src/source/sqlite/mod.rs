//! SQLite.

mod cells;
mod fence;
mod given_up;
mod key;
mod owner;
mod prover;
mod scan;
mod settle;
mod shape;
mod swap;

use super::*;
use key::{bind, key_names, key_of, key_values, marks, order, tuple};
use owner::FileId;
use reseal_keyring::Format;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Row as _, Sqlite as Db, SqliteConnection, SqlitePool,
    query::Query,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqlitePoolOptions, SqliteRow},
};
use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::{PoisonError, RwLock},
    time::Duration,
};

/// One SQLite file.
pub(super) struct Sqlite {
    options: SqliteConnectOptions,
    /// The file that has the source's name, and connections to it; others once another file has the name.
    open: RwLock<(SqlitePool, FileId)>,
    path: String,
    /// The ledger lives in the same file.
    beside_ledger: bool,
}

impl Sqlite {
    pub(super) async fn open(url: &str, beside_ledger: bool) -> Result<Self, SourceError> {
        let options =
            SqliteConnectOptions::from_str(url)?.busy_timeout(Duration::from_secs(10)).disable_statement_logging();
        let path = options.get_filename();
        let pool = pool(&options).await.map_err(|e| unreadable(e, path))?;
        let open = RwLock::new((pool, FileId::at(path)?));
        let path = owner::path_of(&options);
        Ok(Self { options, open, path, beside_ledger })
    }

    fn open_now(&self) -> (SqlitePool, FileId) {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn pool(&self) -> SqlitePool {
        self.open_now().0
    }

    /// The connections, where they still lead to the file that applications open.
    fn pool_to_write(&self) -> Result<SqlitePool, SourceError> {
        let (pool, file) = self.open_now();
        file.refuse_replaced(self.options.get_filename())?;
        Ok(pool)
    }

    /// A connection of its own to the file that has the source's name now. The pool is opened again where it has another
    /// one.
    async fn fresh(&self) -> Result<(SqliteConnection, FileId), SourceError> {
        let (connection, file) = owner::open(&self.options).await?;
        if self.open_now().1 != file {
            let new = (pool(&self.options).await?, file);
            file.refuse_replaced(self.options.get_filename())?;
            let old = std::mem::replace(&mut *self.open.write().unwrap_or_else(PoisonError::into_inner), new);
            tokio::spawn(async move { old.0.close().await });
        }
        Ok((connection, file))
    }
}

async fn pool(options: &SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let pool = SqlitePoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(10));
    pool.connect_with(options.clone()).await
}

/// Why a file cannot be opened; the driver's own words do not help.
fn unreadable(error: sqlx::Error, path: &Path) -> SourceError {
    let code = error.as_database_error().and_then(|e| e.code());
    let why = match code.as_deref() {
        Some("14") if path.exists() => "may not be opened by this user",
        Some("14") => "is not there, or its folder does not exist",
        Some("26") => "is not a SQLite database",
        _ => return error.into(),
    };
    SourceError::refused("source_url", format!("the file {} {why}", path.display()))
}

/// True when both URLs name one file.
pub(super) fn same_file(one: &str, other: &str) -> bool {
    let path = |url: &str| -> Option<PathBuf> {
        let options = url.starts_with("sqlite:").then(|| SqliteConnectOptions::from_str(url).ok()).flatten()?;
        std::fs::canonicalize(options.get_filename()).ok()
    };
    path(one).is_some_and(|one| path(other) == Some(one))
}

/// Dynamic SQL, made of quoted identifiers from the schema and of our own text.
fn query<'q>(sql: String) -> Query<'q, Db, SqliteArguments> {
    sqlx::query(AssertSqlSafe(sql))
}

fn table_of(shape: &Shape) -> String {
    format!("{}.{}", quoted(&shape.schema), quoted(&shape.table))
}

/// The first bytes of a cell. CAST, because a TEXT value with the same bytes would slip past;
/// coalesce, because `substr` of an empty blob is NULL, which no comparison would find.
fn first_bytes(expression: &str, bytes: usize) -> String {
    format!("coalesce(substr(CAST({expression} AS BLOB), 1, {bytes}), x'')")
}

/// What headers are compared with: five bytes, or seven characters of base64.
fn first(expression: &str, text: bool) -> String {
    first_bytes(expression, if text { 7 } else { 5 })
}

fn list(text: bool, headers: &[Header]) -> String {
    let starts: Vec<Vec<u8>> = if text {
        base64_prefixes(headers).into_iter().map(String::into_bytes).collect()
    } else {
        headers.iter().map(|h| h.to_vec()).collect()
    };
    starts.iter().map(|s| format!("x'{}'", hex::encode(s))).collect::<Vec<_>>().join(", ")
}

/// Whether a cell is under one of these headers; false for NULL.
fn among(expression: &str, text: bool, headers: &[Header]) -> String {
    format!("({} IN ({}))", first(expression, text), list(text, headers))
}

#[async_trait]
impl Source for Sqlite {
    async fn shape(
        &self,
        schema: Option<&str>,
        table: &str,
        key: &[String],
        columns: &[CellColumn],
    ) -> Result<Shape, SourceError> {
        shape::find(&mut *self.pool().acquire().await?, schema, table, key, columns).await
    }

    async fn max_key(&self, shape: &Shape) -> Result<Option<String>, SourceError> {
        cells::max_key(&self.pool(), shape).await
    }

    async fn bounds(&self, shape: &Shape, range: &Range, rows: i64, stretch: i64) -> Result<Vec<Bound>, SourceError> {
        cells::bounds(&self.pool(), shape, range, rows, stretch).await
    }

    async fn read(
        &self,
        shape: &Shape,
        range: &Range,
        active: &Header,
        rows: u32,
        bytes: i64,
    ) -> Result<Vec<Row>, SourceError> {
        cells::read(&self.pool(), shape, range, active, rows, bytes).await
    }

    async fn read_again(&self, shape: &Shape, keys: &[String], active: &Header) -> Result<Vec<Row>, SourceError> {
        cells::read_again(&self.pool(), shape, keys, active).await
    }

    async fn neighbours(&self, shape: &Shape, key: &str, rows: u32) -> Result<Vec<Row>, SourceError> {
        cells::neighbours(&self.pool(), shape, key, rows).await
    }

    async fn swap(&self, shape: &Shape, swaps: &[Swap]) -> Result<Vec<String>, SourceError> {
        let mut txn = begin(&self.pool_to_write()?, "BEGIN IMMEDIATE").await?;
        let swapped = swap::swap(&mut txn, shape, swaps).await?;
        txn.commit().await?;
        Ok(swapped)
    }

    async fn try_swap(&self, shape: &Shape, swaps: &[Swap]) -> Result<Tried, SourceError> {
        let mut txn = begin(&self.pool(), "BEGIN IMMEDIATE").await?;
        let rows = swap::swap(&mut txn, shape, swaps).await?.len() as u64;
        txn.rollback().await?;
        Ok(Tried { rows, wal_bytes: None })
    }

    /// The pages of the table and of its indexes; of the whole file where SQLite does not tell them apart.
    async fn size(&self, shape: &Shape) -> Result<i64, SourceError> {
        let pages = "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = ? OR name IN \
                     (SELECT name FROM main.sqlite_schema WHERE type = 'index' AND tbl_name = ?)";
        let told = sqlx::query_scalar(pages).bind(&shape.table).bind(&shape.table).fetch_one(&self.pool()).await;
        match told {
            Ok(bytes) => Ok(bytes),
            Err(_) => {
                let file = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
                Ok(sqlx::query_scalar(file).fetch_one(&self.pool()).await?)
            }
        }
    }

    async fn cell(&self, shape: &Shape, key: &str, column: &str) -> Result<Option<Option<Vec<u8>>>, SourceError> {
        let sql = format!(
            "SELECT CAST({} AS BLOB) FROM {} WHERE {} = {}",
            quoted(column),
            table_of(shape),
            tuple(shape),
            marks(shape)
        );
        let found = key_values(shape, key)?.into_iter().fold(query(sql), bind).fetch_optional(&self.pool()).await?;
        Ok(found.map(|row| row.try_get(0)).transpose()?)
    }

    async fn takes_null(&self, shape: &Shape, column: &str) -> Result<bool, SourceError> {
        given_up::takes_null(&self.pool(), shape, column).await
    }

    async fn set_null(&self, shape: &Shape, key: &str, column: &str, old: &[u8]) -> Result<bool, SourceError> {
        given_up::set_null(&self.pool_to_write()?, shape, key, column, old).await
    }

    async fn delete_row(
        &self,
        shape: &Shape,
        key: &str,
        column: &str,
        old: &[u8],
        only: Option<&OnlyIf>,
    ) -> Result<Option<Deletion>, SourceError> {
        let mut txn = begin(&self.pool_to_write()?, "BEGIN IMMEDIATE").await?;
        let done = given_up::delete_row(&mut txn, shape, key, column, old, only).await?;
        match &done {
            Some(Deletion { done: true, .. }) => txn.commit().await?,
            _ => txn.rollback().await?,
        }
        Ok(done)
    }

    async fn sample(
        &self,
        shape: &Shape,
        column: &str,
        largest: bool,
        rows: u32,
    ) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        let (c, order) = (quoted(column), order(shape, largest));
        let sql = format!(
            "SELECT {}, CAST({c} AS BLOB) FROM {} WHERE {c} IS NOT NULL ORDER BY {order} LIMIT ?",
            key_names(shape),
            table_of(shape)
        );
        let found = query(sql).bind(i64::from(rows)).fetch_all(&self.pool()).await?;
        found.iter().map(|row| Ok((key_of(shape, row)?, row.try_get(shape.key.len())?))).collect()
    }

    async fn census(&self, shape: &Shape, column: &str, known: &[Header]) -> Result<Vec<KeyCount>, SourceError> {
        let (c, column) = (quoted(column), shape.column(column)?);
        // Elsewhere than among cells that should name a key, the first bytes are a value's own.
        let header = if column.layout.format == Format::Tink {
            first(&c, column.is_text())
        } else {
            format!("CASE WHEN {} THEN {} END", among(&c, column.is_text(), known), first(&c, column.is_text()))
        };
        let sql = format!("SELECT {header}, count(*) FROM {} WHERE {c} IS NOT NULL GROUP BY 1", table_of(shape));
        let found = query(sql).fetch_all(&self.pool()).await?;
        let counts = found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        Ok(count::by_key(column, counts.collect::<Result<_, SourceError>>()?))
    }

    async fn longest(&self, shape: &Shape, column: &str) -> Result<usize, SourceError> {
        let sql = format!("SELECT coalesce(max(length(CAST({} AS BLOB))), 0) FROM {}", quoted(column), table_of(shape));
        let longest: i64 = query(sql).fetch_one(&self.pool()).await?.try_get(0)?;
        Ok(usize::try_from(longest).unwrap_or(0))
    }

    async fn key_contains(&self, shape: &Shape, key: &str, separator: &str) -> Result<bool, SourceError> {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE instr({}, ?) > 0)", table_of(shape), quoted(key));
        Ok(query(sql).bind(separator.to_owned()).fetch_one(&self.pool()).await?.try_get(0)?)
    }

    async fn fence(&self, shape: &Shape, fence: &Fence) -> Result<(), SourceError> {
        fence::put_up(&self.pool_to_write()?, shape, fence).await
    }

    /// SQLite has nothing beyond the triggers; the census repeats what a constraint would say.
    async fn seal(&self, _shape: &Shape, _fence: &Fence) -> Result<(), SourceError> {
        Ok(())
    }

    fn fence_sql(&self, shape: &Shape, fence: &Fence) -> Vec<String> {
        fence::trigger_sql(shape, fence)
    }

    async fn unfence(&self, _schema: &str, table: &str, column: &str) -> Result<(), SourceError> {
        fence::take_down(&self.pool(), table, column).await
    }

    /// The file, by its real path.
    async fn sight(&self) -> Result<Sight, SourceError> {
        let (mut connection, file) = self.fresh().await?;
        let sight = (owner::path_of(&self.options), owner::mark(&mut connection).await?);
        file.refuse_replaced(self.options.get_filename())?;
        connection.close().await?;
        Ok(sight)
    }

    async fn sight_in_use(&self) -> Result<Sight, SourceError> {
        // The pool has another file than the source's name: a look opens the new one.
        let Ok(pool) = self.pool_to_write() else { return self.sight().await };
        Ok((owner::path_of(&self.options), owner::mark(&mut *pool.acquire().await?).await?))
    }

    fn address(&self) -> String {
        self.path.clone()
    }

    async fn mark(&self, _schema: Option<&str>, to: &Mark, over: Over<'_>) -> Result<bool, SourceError> {
        owner::write(&self.options, to, over).await
    }

    fn is_beside_ledger(&self) -> bool {
        self.beside_ledger
    }

    async fn unreadable(&self, registered: &[Place], ignored: &[String]) -> Result<Vec<Unreadable>, SourceError> {
        let mut connection = self.pool().acquire().await?;
        Ok(scan::list(&mut connection, &LeftOut::new(registered, ignored)).await?.unreadable)
    }

    async fn open_transactions(&self) -> Result<Vec<OpenTransaction>, SourceError> {
        settle::open(&self.pool()).await
    }

    async fn flush(&self) -> Result<String, SourceError> {
        settle::flush(&self.pool()).await
    }

    async fn sign(&self) -> Result<String, SourceError> {
        settle::sign(&self.path)
    }

    async fn missing_rights(&self, _shape: &Shape) -> Result<Vec<String>, SourceError> {
        let query_only: i64 =
            sqlx::query_scalar("SELECT query_only FROM pragma_query_only").fetch_one(&self.pool()).await?;
        // What only a write finds out: the file, its folder, how it was opened.
        let tried = begin(&self.pool(), "BEGIN IMMEDIATE").await;
        match tried.map_err(SourceError::from) {
            Ok(txn) => txn.rollback().await?,
            Err(e) if e.is(SourceErrorKind::Refused) => return Ok(vec![e.to_string()]),
            Err(e) => return Err(e),
        }
        Ok(if query_only == 0 { Vec::new() } else { vec!["the source is open for reading only".to_owned()] })
    }

    fn locks(&self) -> &'static [&'static str] {
        &[
            "file: all writers wait while a chunk is written, about 250 ms at most",
            "file: all writers wait while the old key is destroyed, and while registered columns are counted once more if \
             anything was written since they were counted",
        ]
    }

    async fn notes(&self, shape: &Shape) -> Result<Vec<String>, SourceError> {
        shape::notes(&self.pool(), shape).await
    }

    async fn prover(&self) -> Result<Box<dyn Prover>, SourceError> {
        Ok(Box::new(prover::Session::open(&self.options, self.fresh().await?, self.beside_ledger)))
    }
}
