//! PostgreSQL.

mod cells;
mod fence;
mod given_up;
mod key;
mod listing;
mod open;
mod owner;
mod prover;
mod replicas;
mod scan;
mod shape;
mod swap;

use super::*;
use key::{is_key, key_of, key_texts, order};
use reseal_entities::ledger::pooled::is_pooled;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool, Postgres as Db, Row as _,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::Query,
};
use std::{borrow::Cow, time::Duration};

/// One PostgreSQL database.
pub(super) struct Postgres {
    pool: PgPool,
    url: String,
    address: String,
    /// The role that may create triggers.
    ddl_url: String,
}

/// On every connection. `row_security = off` makes a policy that would hide rows an error.
const SESSION: &str = "SET bytea_output = 'hex'; SET lock_timeout = '1s'; SET statement_timeout = '30s'; SET row_security = off; \
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
        refuse_a_shared_session(&pool, "url").await?;
        if ddl_url != url {
            let ddl = PgPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_secs(10));
            // One that cannot be reached is left to fencing to speak about.
            if let Ok(ddl) = ddl.connect_with(quiet(ddl_url)?).await {
                refuse_a_shared_session(&ddl, "ddl_url").await?;
                ddl.close().await;
            }
        }
        refuse_standby(&mut *pool.acquire().await?).await?;
        Ok(Self { pool, url: url.to_owned(), address: owner::address_of(url)?, ddl_url: ddl_url.to_owned() })
    }
}

/// A connection that no pool has kept: one to a primary that was replaced can live on for long.
async fn fresh(pool: &PgPool) -> Result<PgConnection, SourceError> {
    let options = pool.connect_options();
    let opened = tokio::time::timeout(Duration::from_secs(10), options.connect()).await;
    let mut connection = opened.map_err(|_| SourceError::from(sqlx::Error::PoolTimedOut))??;
    sqlx::raw_sql(SESSION).execute(&mut connection).await?;
    refuse_standby(&mut connection).await?;
    Ok(connection)
}

/// Statements are not logged, slow ones neither: their text is ours, and long.
fn quiet(url: &str) -> Result<PgConnectOptions, SourceError> {
    // Poolers refuse the parameter, and cells are no floats.
    Ok(url.parse::<PgConnectOptions>()?.disable_statement_logging().extra_float_digits(None))
}

/// Limits, row security and the locks that hold a fence are the session's.
async fn refuse_a_shared_session(pool: &PgPool, option: &str) -> Result<(), SourceError> {
    if is_pooled(pool).await? {
        return Err(SourceError::refused(
            "source_is_pooled",
            format!(
                "{option} leads through a pooler that shares sessions between transactions: give the server's own address, \
                 or set the pooler to session mode for this database"
            ),
        ));
    }
    Ok(())
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

fn literal(header: &Header) -> String {
    format!("'\\x{}'::bytea", hex::encode(header))
}

/// The first bytes of a cell, as headers are compared. `COLLATE "C"`: others may ignore case.
fn first(expression: &str, text: bool) -> String {
    if text {
        format!("(substring({expression} from 1 for 7) COLLATE \"C\")")
    } else {
        format!("substring({expression} from 1 for 5)")
    }
}

/// The list that [`first`] is compared with.
fn list(text: bool, headers: &[Header]) -> String {
    if text {
        let prefixes = base64_prefixes(headers).iter().map(|p| format!("'{p}'")).collect::<Vec<_>>();
        return format!("ARRAY[{}]::text[]", prefixes.join(", "));
    }
    format!("ARRAY[{}]::bytea[]", headers.iter().map(literal).collect::<Vec<_>>().join(", "))
}

/// Whether a cell is under one of these headers; NULL for NULL.
fn among(expression: &str, text: bool, headers: &[Header]) -> String {
    format!("({} = ANY ({}))", first(expression, text), list(text, headers))
}

#[async_trait]
impl Source for Postgres {
    async fn shape(
        &self,
        schema: Option<&str>,
        table: &str,
        key: &[String],
        columns: &[CellColumn],
    ) -> Result<Shape, SourceError> {
        shape::find(&mut *self.pool.acquire().await?, schema, table, key, columns).await
    }

    async fn max_key(&self, shape: &Shape) -> Result<Option<String>, SourceError> {
        cells::max_key(&self.pool, shape).await
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

    async fn neighbours(&self, shape: &Shape, key: &str, rows: u32) -> Result<Vec<Row>, SourceError> {
        cells::neighbours(&self.pool, shape, key, rows).await
    }

    async fn swap(&self, shape: &Shape, swaps: &[Swap]) -> Result<Vec<String>, SourceError> {
        swap::swap(&self.pool, shape, swaps).await
    }

    async fn try_swap(&self, shape: &Shape, swaps: &[Swap]) -> Result<Tried, SourceError> {
        let mut txn = self.pool.begin().await?;
        let lsn = "SELECT pg_current_wal_insert_lsn() - '0/0'";
        let at = async |txn: &mut PgConnection| -> Result<i64, SourceError> {
            let at: i64 = query(format!("SELECT ({lsn})::bigint")).fetch_one(txn).await?.try_get(0)?;
            Ok(at)
        };
        let before = at(&mut txn).await?;
        let rows = swap::swap_and_look(&mut txn, shape, swaps).await?.len() as u64;
        let wal_bytes = Some(at(&mut txn).await? - before);
        txn.rollback().await?;
        Ok(Tried { rows, wal_bytes })
    }

    /// A partitioned table has its partitions' size.
    async fn size(&self, shape: &Shape) -> Result<i64, SourceError> {
        let sql = "SELECT coalesce(sum(pg_total_relation_size(relid)), pg_total_relation_size($1::regclass))::bigint
                   FROM pg_partition_tree($1::regclass) WHERE isleaf";
        Ok(sqlx::query_scalar(sql).persistent(false).bind(table_of(shape)).fetch_one(&self.pool).await?)
    }

    async fn cell(&self, shape: &Shape, key: &str, column: &str) -> Result<Option<Option<Vec<u8>>>, SourceError> {
        let (here, binds) = is_key(shape, key, 1)?;
        let stored = cells::stored(&format!("t.{}", quoted(column)), shape.column(column)?.is_text());
        let sql = format!("SELECT {stored} FROM {} AS t WHERE {here}", table_of(shape));
        let found = binds.into_iter().fold(query(sql), Query::bind).fetch_optional(&self.pool).await?;
        Ok(found.map(|row| row.try_get(0)).transpose()?)
    }

    async fn takes_null(&self, shape: &Shape, column: &str) -> Result<bool, SourceError> {
        given_up::takes_null(&self.pool, shape, column).await
    }

    async fn set_null(&self, shape: &Shape, key: &str, column: &str, old: &[u8]) -> Result<bool, SourceError> {
        given_up::set_null(&self.pool, shape, key, column, old).await
    }

    async fn delete_row(
        &self,
        shape: &Shape,
        key: &str,
        column: &str,
        old: &[u8],
        only: Option<&OnlyIf>,
    ) -> Result<Option<Deletion>, SourceError> {
        let mut txn = self.pool.begin().await?;
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
        let (c, order) = (format!("t.{}", quoted(column)), order(shape, largest));
        let sql = format!(
            "SELECT {}, {} FROM {} AS t WHERE {c} IS NOT NULL ORDER BY {order} LIMIT $1",
            key_texts(shape, "t."),
            cells::stored(&c, shape.column(column)?.is_text()),
            table_of(shape)
        );
        let found = query(sql).bind(i64::from(rows)).fetch_all(&self.pool).await?;
        found.iter().map(|row| Ok((key_of(shape, row, 0)?, row.try_get(shape.key.len())?))).collect()
    }

    async fn census(&self, shape: &Shape, column: &str, known: &[Header]) -> Result<Vec<KeyCount>, SourceError> {
        let mut session = prover::Session::open(&self.pool).await?;
        prover::census(session.connection(), shape, shape.column(column)?, known).await
    }

    async fn longest(&self, shape: &Shape, column: &str) -> Result<usize, SourceError> {
        let sql = format!("SELECT coalesce(max(octet_length({})), 0) FROM {}", quoted(column), table_of(shape));
        let longest: i32 = query(sql).fetch_one(&self.pool).await?.try_get(0)?;
        Ok(usize::try_from(longest).unwrap_or(0))
    }

    async fn key_contains(&self, shape: &Shape, key: &str, separator: &str) -> Result<bool, SourceError> {
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {} WHERE position($1 in ({} COLLATE \"C\")) > 0)",
            table_of(shape),
            quoted(key)
        );
        Ok(query(sql).bind(separator).fetch_one(&self.pool).await?.try_get(0)?)
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

    async fn sight(&self) -> Result<Sight, SourceError> {
        let mut connection = fresh(&self.pool).await?;
        let sight = owner::sight(&mut connection).await?;
        connection.close().await?;
        Ok(sight)
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    async fn is_at(&self, address: &str) -> Result<bool, SourceError> {
        owner::is_at(&self.url, address).await
    }

    async fn mark(&self, schema: Option<&str>, to: &Mark, over: Over<'_>) -> Result<bool, SourceError> {
        owner::write(&self.ddl_url, schema, to, over).await
    }

    async fn replicas(&self) -> Result<Replicas, SourceError> {
        replicas::of(&self.pool).await
    }

    async fn unreadable(&self, registered: &[Place], ignored: &[String]) -> Result<Vec<Unreadable>, SourceError> {
        let mut connection = self.pool.acquire().await?;
        Ok(listing::list(&mut connection, &LeftOut::new(registered, ignored)).await?.unreadable)
    }

    async fn open_transactions(&self) -> Result<Vec<OpenTransaction>, SourceError> {
        open::transactions(&self.pool).await
    }

    async fn flush(&self) -> Result<String, SourceError> {
        open::flush(&self.pool).await
    }

    async fn behind(&self, position: &str) -> Result<Option<Vec<CopyBehind>>, SourceError> {
        replicas::behind(&self.pool, position).await
    }

    async fn sign(&self) -> Result<String, SourceError> {
        open::sign(&self.pool).await
    }

    async fn missing_rights(&self, shape: &Shape) -> Result<Vec<String>, SourceError> {
        fence::missing_rights(&self.pool, &self.ddl_url, shape).await
    }

    fn locks(&self) -> &'static [&'static str] {
        &[
            "rows: those of a chunk while it is written, about 250 ms at most",
            "table: SHARE ROW EXCLUSIVE and ACCESS EXCLUSIVE about a millisecond each for trigger and constraint; \
             waited for at most 1 s at a time",
            "table: SHARE UPDATE EXCLUSIVE while the constraint is validated, about as long as a census; writers go on",
            "table: ROW EXCLUSIVE while the old key is destroyed, a second at most; writers go on",
        ]
    }

    async fn notes(&self, shape: &Shape) -> Result<Vec<String>, SourceError> {
        shape::notes(&self.pool, shape).await
    }

    async fn prover(&self) -> Result<Box<dyn Prover>, SourceError> {
        Ok(Box::new(prover::Session::open(&self.pool).await?))
    }
}
