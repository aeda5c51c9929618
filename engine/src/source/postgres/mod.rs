//! PostgreSQL.

mod cells;
mod fence;
mod prover;
mod shape;

use super::*;
use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection, PgPool, Postgres as Db, Row as _,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions},
    query::Query,
};
use std::time::Duration;

/// One PostgreSQL database.
pub(super) struct Postgres {
    pool: PgPool,
    /// The role that may create triggers.
    ddl_url: String,
}

/// On every connection. `row_security = off` makes a policy that would hide rows an error.
const SESSION: &str = "SET lock_timeout = '1s'; SET statement_timeout = '30s'; SET row_security = off; \
                       SET idle_in_transaction_session_timeout = '10min'; SET application_name = 'reseal'";

impl Postgres {
    pub(super) async fn open(url: &str, ddl_url: &str) -> Result<Self, SourceError> {
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(Duration::from_secs(10))
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::raw_sql(SESSION).execute(connection).await.map(|_| ()) })
            })
            .connect_with(quiet(url)?)
            .await?;
        refuse_standby(&mut *pool.acquire().await?).await?;
        Ok(Self { pool, ddl_url: ddl_url.to_owned() })
    }
}

/// Statements are not logged, slow ones neither: their text is ours, and long.
fn quiet(url: &str) -> Result<PgConnectOptions, SourceError> {
    Ok(url.parse::<PgConnectOptions>()?.disable_statement_logging())
}

/// A standby lags behind what applications committed, so nothing is counted or planned on one.
async fn refuse_standby(connection: &mut PgConnection) -> Result<(), SourceError> {
    let standby: bool =
        sqlx::query_scalar("SELECT pg_is_in_recovery()").persistent(false).fetch_one(connection).await?;
    if standby {
        return Err(SourceError::refused(
            "source_is_standby",
            "the source's server is a standby: give the primary's URL",
        ));
    }
    Ok(())
}

/// Dynamic SQL, made of quoted identifiers from the catalogue and of our own text. Unnamed: a pooler
/// in transaction mode hands a named statement to somebody else.
fn query<'q>(sql: String) -> Query<'q, Db, PgArguments> {
    sqlx::query(AssertSqlSafe(sql)).persistent(false)
}

fn table_of(shape: &Shape) -> String {
    format!("{}.{}", quoted(&shape.schema), quoted(&shape.table))
}

/// The type that a key's text is cast to.
fn key_cast(shape: &Shape) -> &'static str {
    match shape.key_type {
        KeyType::Integer => "bigint",
        KeyType::Uuid | KeyType::UuidBytes => "uuid",
    }
}

fn literal(header: &Header) -> String {
    format!("'\\x{}'::bytea", hex::encode(header))
}

fn literals(headers: &[Header]) -> String {
    format!("ARRAY[{}]::bytea[]", headers.iter().map(literal).collect::<Vec<_>>().join(", "))
}

/// `{key} > $1 AND {key} <= $2`, with the bounds that there are, bound from `first` on.
fn in_range(shape: &Shape, range: &Range, first: usize) -> (String, Vec<String>) {
    let (key, cast) = (quoted(&shape.key), key_cast(shape));
    let (mut terms, mut binds) = (vec!["true".to_owned()], Vec::new());
    for (operator, bound) in [(">", &range.after), ("<=", &range.up_to)] {
        if let Some(bound) = bound {
            terms.push(format!("{key} {operator} ${}::text::{cast}", first + binds.len()));
            binds.push(bound.clone());
        }
    }
    (terms.join(" AND "), binds)
}

#[async_trait]
impl Source for Postgres {
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
        let key = quoted(&shape.key);
        let sql = format!("SELECT {key}::text AS reseal_k FROM {} ORDER BY {key} DESC LIMIT 1", table_of(shape));
        Ok(query(sql).fetch_optional(&self.pool).await?.map(|row| row.try_get(0)).transpose()?)
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
            "SELECT {} FROM {} WHERE {} = $1::text::{}",
            quoted(column),
            table_of(shape),
            quoted(&shape.key),
            key_cast(shape)
        );
        Ok(query(sql).bind(key).fetch_optional(&self.pool).await?.map(|row| row.try_get(0)).transpose()?)
    }

    async fn abandon(&self, shape: &Shape, key: &str, column: &str, old: &[u8]) -> Result<bool, SourceError> {
        let (table, c) = (table_of(shape), quoted(column));
        let here = format!("WHERE {} = $1::text::{} AND {c} = $2", quoted(&shape.key), key_cast(shape));
        let clear = query(format!("UPDATE {table} SET {c} = NULL {here}")).bind(key).bind(old);
        let done = match clear.execute(&self.pool).await {
            Err(e) if e.as_database_error().is_some_and(|e| e.code().as_deref() == Some("23502")) => {
                query(format!("DELETE FROM {table} {here}")).bind(key).bind(old).execute(&self.pool).await?
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
            "SELECT {key}::text AS reseal_k, {c} FROM {} WHERE {c} IS NOT NULL ORDER BY {key} {order} LIMIT $1",
            table_of(shape)
        );
        let found = query(sql).bind(i64::from(rows)).fetch_all(&self.pool).await?;
        found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    async fn census(&self, shape: &Shape, column: &str) -> Result<Vec<KeyCount>, SourceError> {
        let c = quoted(column);
        let sql = format!(
            "SELECT substring({c} from 1 for 5), count(*) FROM {} WHERE {c} IS NOT NULL GROUP BY 1",
            table_of(shape)
        );
        let mut session = prover::Session::open(&self.pool).await?;
        let found = query(sql).fetch_all(session.connection()).await?;
        found.iter().map(|row| Ok(KeyCount { key_id: key_id_of(row.try_get(0)?), cells: row.try_get(1)? })).collect()
    }

    async fn fence(&self, shape: &Shape, fence: &Fence) -> Result<(), SourceError> {
        fence::put_up(&self.ddl_url, shape, fence).await
    }

    async fn seal(&self, shape: &Shape, fence: &Fence) -> Result<(), SourceError> {
        fence::seal(&self.ddl_url, shape, fence).await
    }

    fn fence_sql(&self, shape: &Shape, fence: &Fence) -> Vec<String> {
        [fence::trigger_sql(shape, fence), fence::constraint_sql(shape, fence)].concat()
    }

    async fn unfence(&self, schema: &str, table: &str, column: &str) -> Result<(), SourceError> {
        fence::take_down(&self.ddl_url, schema, table, column).await
    }

    /// The cluster's own identifier, which a standby shares and a restored dump does not.
    async fn identity(&self) -> Result<String, SourceError> {
        let sql = "SELECT system_identifier::text || '/' || current_database() FROM pg_control_system()";
        Ok(sqlx::query_scalar(sql).persistent(false).fetch_one(&self.pool).await?)
    }

    async fn missing_rights(&self, shape: &Shape) -> Result<Vec<String>, SourceError> {
        fence::missing_rights(&self.pool, &self.ddl_url, shape).await
    }

    async fn prover(&self) -> Result<Box<dyn Prover>, SourceError> {
        Ok(Box::new(prover::Session::open(&self.pool).await?))
    }

    async fn hold(&self, shapes: &[Shape]) -> Result<Box<dyn Prover>, SourceError> {
        Ok(Box::new(prover::Session::holding(&self.pool, shapes).await?))
    }
}
