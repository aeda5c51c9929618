//! SQLite.

mod cells;
mod fence;
mod prover;
mod shape;

use super::*;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Row as _, Sqlite as Db, SqlitePool,
    query::Query,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqlitePoolOptions},
};
use std::{path::PathBuf, str::FromStr, time::Duration};

/// One SQLite file.
pub(super) struct Sqlite {
    pool: SqlitePool,
    path: String,
    /// The ledger lives in the same file.
    beside_ledger: bool,
}

impl Sqlite {
    pub(super) async fn open(url: &str, beside_ledger: bool) -> Result<Self, SourceError> {
        let options =
            SqliteConnectOptions::from_str(url)?.busy_timeout(Duration::from_secs(10)).disable_statement_logging();
        let path = options.get_filename().to_owned();
        let pool = SqlitePoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options)
            .await?;
        let path = std::fs::canonicalize(&path).unwrap_or(path).display().to_string();
        Ok(Self { pool, path, beside_ledger })
    }
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

fn literals(headers: &[Header]) -> String {
    headers.iter().map(|h| format!("x'{}'", hex::encode(h))).collect::<Vec<_>>().join(", ")
}

/// The first bytes of a cell. CAST, because a TEXT value with the same bytes would slip past;
/// coalesce, because `substr` of an empty blob is NULL, which no comparison would find.
fn first_bytes(expression: &str, bytes: usize) -> String {
    format!("coalesce(substr(CAST({expression} AS BLOB), 1, {bytes}), x'')")
}

/// A key as SQLite holds it.
enum KeyValue {
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

fn key_value(shape: &Shape, text: &str) -> Result<KeyValue, SourceError> {
    let bad = || SourceError::refused("key_malformed", format!("`{text}` is no key of {}", table_of(shape)));
    match shape.key_type {
        KeyType::Integer => text.parse().map(KeyValue::Integer).map_err(|_| bad()),
        KeyType::Uuid => Ok(KeyValue::Text(text.to_owned())),
        KeyType::UuidBytes => hex::decode(text.replace('-', "")).map(KeyValue::Bytes).map_err(|_| bad()),
    }
}

fn bind<'q>(query: Query<'q, Db, SqliteArguments>, key: KeyValue) -> Query<'q, Db, SqliteArguments> {
    match key {
        KeyValue::Integer(v) => query.bind(v),
        KeyValue::Text(v) => query.bind(v),
        KeyValue::Bytes(v) => query.bind(v),
    }
}

/// The canonical text of a key in a result.
fn key_text(shape: &Shape, row: &sqlx::sqlite::SqliteRow, index: usize) -> Result<String, SourceError> {
    Ok(match shape.key_type {
        KeyType::Integer => row.try_get::<i64, _>(index)?.to_string(),
        KeyType::Uuid => row.try_get(index)?,
        KeyType::UuidBytes => {
            let h = hex::encode(row.try_get::<Vec<u8>, _>(index)?);
            if h.len() != 32 {
                return Err(SourceError::refused(
                    "key_malformed",
                    format!("a key of {} is not sixteen bytes", table_of(shape)),
                ));
            }
            format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
        }
    })
}

fn in_range(shape: &Shape, range: &Range) -> Result<(String, Vec<KeyValue>), SourceError> {
    let (mut terms, mut binds) = (vec!["true".to_owned()], Vec::new());
    for (operator, bound) in [(">", &range.after), ("<=", &range.up_to)] {
        if let Some(bound) = bound {
            terms.push(format!("{} {operator} ?", quoted(&shape.key)));
            binds.push(key_value(shape, bound)?);
        }
    }
    Ok((terms.join(" AND "), binds))
}

#[async_trait]
impl Source for Sqlite {
    async fn shape(
        &self,
        schema: Option<&str>,
        table: &str,
        key: &[String],
        columns: &[String],
    ) -> Result<Shape, SourceError> {
        shape::find(&mut *self.pool.acquire().await?, schema, table, key, columns).await
    }

    async fn max_key(&self, shape: &Shape) -> Result<Option<String>, SourceError> {
        let sql =
            format!("SELECT {key} FROM {} ORDER BY {key} DESC LIMIT 1", table_of(shape), key = quoted(&shape.key));
        query(sql).fetch_optional(&self.pool).await?.map(|row| key_text(shape, &row, 0)).transpose()
    }

    async fn bounds(&self, shape: &Shape, range: &Range, rows: i64, stretch: i64) -> Result<Vec<Bound>, SourceError> {
        cells::bounds(&self.pool, shape, range, rows, stretch).await
    }

    async fn read(
        &self,
        shape: &Shape,
        range: &Range,
        active: &Header,
        rows: u32,
        bytes: i64,
    ) -> Result<Vec<Row>, SourceError> {
        cells::read(&self.pool, shape, range, active, rows, bytes).await
    }

    async fn read_again(&self, shape: &Shape, keys: &[String], active: &Header) -> Result<Vec<Row>, SourceError> {
        cells::read_again(&self.pool, shape, keys, active).await
    }

    async fn swap(&self, shape: &Shape, swaps: &[Swap]) -> Result<Vec<String>, SourceError> {
        cells::swap(&self.pool, shape, swaps).await
    }

    async fn cell(&self, shape: &Shape, key: &str, column: &str) -> Result<Option<Option<Vec<u8>>>, SourceError> {
        let sql = format!(
            "SELECT CAST({} AS BLOB) FROM {} WHERE {} = ?",
            quoted(column),
            table_of(shape),
            quoted(&shape.key)
        );
        let found = bind(query(sql), key_value(shape, key)?).fetch_optional(&self.pool).await?;
        Ok(found.map(|row| row.try_get(0)).transpose()?)
    }

    async fn abandon(&self, shape: &Shape, key: &str, column: &str, old: &[u8]) -> Result<bool, SourceError> {
        let (table, c) = (table_of(shape), quoted(column));
        let here = format!("WHERE {} = ? AND CAST({c} AS BLOB) = ?", quoted(&shape.key));
        let run = |sql: String, key: KeyValue| bind(query(sql), key).bind(old.to_vec()).execute(&self.pool);
        let done = match run(format!("UPDATE {table} SET {c} = NULL {here}"), key_value(shape, key)?).await {
            Err(e) if e.as_database_error().is_some_and(|e| e.code().as_deref() == Some("1299")) => {
                run(format!("DELETE FROM {table} {here}"), key_value(shape, key)?).await?
            }
            done => done?,
        };
        Ok(done.rows_affected() == 1)
    }

    async fn sample(
        &self,
        shape: &Shape,
        column: &str,
        largest: bool,
        rows: u32,
    ) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        let (key, c, order) = (quoted(&shape.key), quoted(column), if largest { "DESC" } else { "ASC" });
        let sql = format!(
            "SELECT {key}, CAST({c} AS BLOB) FROM {} WHERE {c} IS NOT NULL ORDER BY {key} {order} LIMIT ?",
            table_of(shape)
        );
        let found = query(sql).bind(i64::from(rows)).fetch_all(&self.pool).await?;
        found.iter().map(|row| Ok((key_text(shape, row, 0)?, row.try_get(1)?))).collect()
    }

    async fn census(&self, shape: &Shape, column: &str) -> Result<Vec<KeyCount>, SourceError> {
        let c = quoted(column);
        let sql = format!(
            "SELECT {}, count(*) FROM {} WHERE {c} IS NOT NULL GROUP BY 1",
            first_bytes(&c, 5),
            table_of(shape)
        );
        let found = query(sql).fetch_all(&self.pool).await?;
        found
            .iter()
            .map(|row| Ok(KeyCount { key_id: key_id_of(&row.try_get::<Vec<u8>, _>(0)?), cells: row.try_get(1)? }))
            .collect()
    }

    async fn fence(&self, shape: &Shape, fence: &Fence) -> Result<(), SourceError> {
        fence::put_up(&self.pool, shape, fence).await
    }

    /// SQLite has nothing beyond the triggers; the census repeats what a constraint would say.
    async fn seal(&self, _shape: &Shape, _fence: &Fence) -> Result<(), SourceError> {
        Ok(())
    }

    fn fence_sql(&self, shape: &Shape, fence: &Fence) -> Vec<String> {
        fence::trigger_sql(shape, fence)
    }

    async fn unfence(&self, _schema: &str, table: &str, column: &str) -> Result<(), SourceError> {
        fence::take_down(&self.pool, table, column).await
    }

    /// The file, by its real path.
    async fn identity(&self) -> Result<String, SourceError> {
        Ok(self.path.clone())
    }

    fn is_beside_ledger(&self) -> bool {
        self.beside_ledger
    }

    async fn missing_rights(&self, _shape: &Shape) -> Result<Vec<String>, SourceError> {
        let writable: i64 =
            sqlx::query_scalar("SELECT 1 - query_only FROM pragma_query_only").fetch_one(&self.pool).await?;
        Ok(if writable == 1 { Vec::new() } else { vec!["the source is open for reading only".to_owned()] })
    }

    async fn prover(&self) -> Result<Box<dyn Prover>, SourceError> {
        Ok(Box::new(prover::Session::open(&self.pool).await?))
    }

    /// Holding the ledger's own file would lock the ledger out. There the ledger's transaction, which
    /// is IMMEDIATE and open by then, keeps every other writer away.
    async fn hold(&self, _shapes: &[Shape]) -> Result<Box<dyn Prover>, SourceError> {
        if self.beside_ledger {
            return self.prover().await;
        }
        Ok(Box::new(prover::Session::holding(&self.pool).await?))
    }
}
