//! PostgreSQL.

mod cells;
mod connect;
mod fence;
mod given_up;
mod key;
mod listing;
mod locks;
mod open;
mod owner;
mod prover;
mod replicas;
mod scan;
mod session;
mod shape;
mod swap;
mod watch;

use super::*;
use connect::Left;
use key::{EQUALS, is_key, key_of, key_texts, order};
use reseal_entities::ledger::pooled::is_pooled;
use session::Kind;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool, Postgres as Db, Row as _,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::Query,
};
use std::{borrow::Cow, time::Duration};
use watch::Watch;

/// One PostgreSQL database.
pub(super) struct Postgres {
    pool: PgPool,
    left: Left,
    address: String,
    watch: Watch,
    /// As the role that may create triggers.
    ddl: Watch,
}

impl Postgres {
    pub(super) async fn open(url: &str, ddl_url: &str, silence_max: Duration) -> Result<Self, SourceError> {
        let watch = Watch { options: connect::options(url)?, silence_max };
        let ddl = Watch { options: connect::options(ddl_url)?, silence_max };
        // The pool would try a server that is down for as long as its patience lasts, and then say that it was busy.
        let mut first = connect::connect(&watch.options, Kind::Everyday).await?;
        connect::refuse_standby(&mut first).await?;
        first.close().await?;
        let (pool, left) = connect::pool(&watch.options);
        connect::refuse_a_shared_session(&pool, "url").await?;
        // One that cannot be reached is left to fencing to speak about.
        if ddl_url != url
            && let Ok(first) = connect::connect(&ddl.options, Kind::Fencing).await
        {
            drop(first);
            let (pool, _) = connect::pool(&ddl.options);
            connect::refuse_a_shared_session(&pool, "ddl_url").await?;
            pool.close().await;
        }
        Ok(Self { pool, left, address: owner::address_of(&watch.options), watch, ddl })
    }
}

/// A connection that no pool has kept: one to a primary that was replaced can live on for long.
async fn fresh(options: &PgConnectOptions, kind: Kind) -> Result<PgConnection, SourceError> {
    let mut connection = connect::connect(options, kind).await?;
    connect::refuse_standby(&mut connection).await?;
    Ok(connection)
}

impl Postgres {
    /// Who keeps a row of the table from being written.
    async fn waits_for(&self, shape: &Shape) -> Option<SourceError> {
        let look = async {
            let connection = &mut *self.pool.acquire().await?;
            locks::holders(connection, (&shape.schema, &shape.table), locks::AGAINST_ROWS).await
        };
        self.watch.within(look).await.ok().map(|holders| locks::waits_for(&table_of(shape), &holders))
    }
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
        let find = async { shape::find(&mut *self.pool.acquire().await?, schema, table, key, columns).await };
        self.watch.within(find).await
    }

    async fn max_key(&self, shape: &Shape) -> Result<Option<String>, SourceError> {
        self.watch.within(cells::max_key(&self.pool, shape)).await
    }

    async fn bounds(&self, shape: &Shape, range: &Range, rows: i64, stretch: i64) -> Result<Vec<Bound>, SourceError> {
        self.watch.within(cells::bounds(&self.pool, shape, range, rows, stretch)).await
    }

    async fn read(
        &self,
        shape: &Shape,
        range: &Range,
        active: &Header,
        rows: u32,
        bytes: i64,
    ) -> Result<Vec<Row>, SourceError> {
        self.watch.within(cells::read(&self.pool, shape, range, active, rows, bytes)).await
    }

    async fn read_again(&self, shape: &Shape, keys: &[String], active: &Header) -> Result<Vec<Row>, SourceError> {
        self.watch.within(cells::read_again(&self.pool, shape, keys, active)).await
    }

    async fn neighbours(&self, shape: &Shape, key: &str, rows: u32) -> Result<Vec<Row>, SourceError> {
        self.watch.within(cells::neighbours(&self.pool, shape, key, rows)).await
    }

    async fn swap(&self, shape: &Shape, swaps: &[Swap]) -> Result<Vec<String>, SourceError> {
        let swapped = self.watch.within(swap::swap(&self.pool, shape, swaps)).await;
        match swapped {
            Err(e) if e.code == "source_lock_timeout" => Err(self.waits_for(shape).await.unwrap_or(e)),
            swapped => swapped,
        }
    }

    async fn try_swap(&self, shape: &Shape, swaps: &[Swap]) -> Result<Tried, SourceError> {
        let tried = async {
            let mut txn = session::begin_as_the_role(&self.pool).await?;
            let lsn = "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::bigint";
            let at = async |txn: &mut PgConnection| -> Result<i64, SourceError> {
                let at: i64 = query(lsn.to_owned()).fetch_one(txn).await?.try_get(0)?;
                Ok(at)
            };
            let before = at(&mut txn).await?;
            let rows = swap::swap_and_look(&mut txn, shape, swaps).await?.len() as u64;
            let wal_bytes = Some(at(&mut txn).await? - before);
            txn.rollback().await?;
            Ok(Tried { rows, wal_bytes })
        };
        self.watch.within(tried).await
    }

    /// A partitioned table has its partitions' size.
    async fn size(&self, shape: &Shape) -> Result<i64, SourceError> {
        let sql = "SELECT coalesce(sum(pg_total_relation_size(relid)), pg_total_relation_size($1::regclass))::bigint
                   FROM pg_partition_tree($1::regclass) WHERE isleaf";
        let size = sqlx::query_scalar(sql).persistent(false).bind(table_of(shape)).fetch_one(&self.pool);
        self.watch.within(async { Ok(size.await?) }).await
    }

    async fn cell(&self, shape: &Shape, key: &str, column: &str) -> Result<Option<Option<Vec<u8>>>, SourceError> {
        let (here, binds) = is_key(shape, key, 1)?;
        let stored = cells::stored(&format!("t.{}", quoted(column)), shape.column(column)?.is_text());
        let sql = format!("SELECT {stored} FROM {} AS t WHERE {here}", table_of(shape));
        let find = binds.into_iter().fold(query(sql), Query::bind).fetch_optional(&self.pool);
        let found = self.watch.within(async { Ok(find.await?) }).await?;
        Ok(found.map(|row| row.try_get(0)).transpose()?)
    }

    async fn takes_null(&self, shape: &Shape, column: &str) -> Result<bool, SourceError> {
        self.watch.within(given_up::takes_null(&self.pool, shape, column)).await
    }

    async fn set_null(&self, shape: &Shape, key: &str, column: &str, old: &[u8]) -> Result<bool, SourceError> {
        self.watch.within(given_up::set_null(&self.pool, shape, key, column, old)).await
    }

    async fn delete_row(
        &self,
        shape: &Shape,
        key: &str,
        column: &str,
        old: &[u8],
        only: Option<&OnlyIf>,
    ) -> Result<Option<Deletion>, SourceError> {
        let delete = async {
            let mut txn = begin(&self.pool, "BEGIN").await?;
            let done = given_up::delete_row(&mut txn, shape, key, column, old, only).await?;
            match &done {
                Some(Deletion { done: true, .. }) => txn.commit().await?,
                _ => txn.rollback().await?,
            }
            Ok(done)
        };
        self.watch.within(delete).await
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
        let find = query(sql).bind(i64::from(rows)).fetch_all(&self.pool);
        let found = self.watch.within(async { Ok(find.await?) }).await?;
        found.iter().map(|row| Ok((key_of(shape, row, 0)?, row.try_get(shape.key.len())?))).collect()
    }

    async fn census(&self, shape: &Shape, column: &str, known: &[Header]) -> Result<Vec<KeyCount>, SourceError> {
        let mut session = prover::Session::open(&self.watch).await?;
        session.census(shape, shape.column(column)?, known).await
    }

    async fn longest(&self, shape: &Shape, column: &str) -> Result<usize, SourceError> {
        let sql = format!("SELECT coalesce(max(octet_length({})), 0) FROM {}", quoted(column), table_of(shape));
        let mut session = prover::Session::open(&self.watch).await?;
        let longest: i32 = session.one(query(sql)).await?;
        Ok(usize::try_from(longest).unwrap_or(0))
    }

    async fn key_contains(&self, shape: &Shape, key: &str, separator: &str) -> Result<bool, SourceError> {
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {} WHERE position($1 in ({} COLLATE \"C\")) > 0)",
            table_of(shape),
            quoted(key)
        );
        let mut session = prover::Session::open(&self.watch).await?;
        session.one(query(sql).bind(separator)).await
    }

    async fn fence(&self, shape: &Shape, fence: &Fence) -> Result<(), SourceError> {
        fence::put_up(&self.ddl, shape, fence).await
    }

    async fn seal(&self, shape: &Shape, fence: &Fence) -> Result<(), SourceError> {
        fence::seal(&self.ddl, shape, fence).await
    }

    fn fence_sql(&self, shape: &Shape, fence: &Fence) -> Vec<String> {
        [fence::trigger_sql(shape, fence), fence::constraint_sql(shape, fence)].concat()
    }

    async fn unfence(&self, schema: &str, table: &str, column: &str) -> Result<(), SourceError> {
        fence::take_down(&self.ddl, schema, table, column).await
    }

    async fn sight(&self) -> Result<Sight, SourceError> {
        let look = async {
            let mut connection = fresh(&self.watch.options, Kind::Everyday).await?;
            let sight = owner::sight(&mut connection).await?;
            connection.close().await?;
            Ok(sight)
        };
        self.watch.within(look).await
    }

    async fn sight_in_use(&self) -> Result<Sight, SourceError> {
        self.watch.within(async { owner::sight(&mut *self.pool.acquire().await?).await }).await
    }

    fn leave_connections(&self) {
        self.left.now();
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    async fn is_at(&self, address: &str) -> Result<bool, SourceError> {
        self.watch.within(owner::is_at(&self.watch.options, address)).await
    }

    async fn mark(&self, schema: Option<&str>, to: &Mark, over: Over<'_>) -> Result<bool, SourceError> {
        self.ddl.within(owner::write(&self.ddl, schema, to, over)).await
    }

    async fn replicas(&self) -> Result<Replicas, SourceError> {
        self.watch.within(replicas::of(&self.pool)).await
    }

    async fn unreadable(&self, registered: &[Place], ignored: &[String]) -> Result<Vec<Unreadable>, SourceError> {
        let look = async {
            let mut connection = self.pool.acquire().await?;
            Ok(listing::list(&mut connection, &LeftOut::new(registered, ignored)).await?.unreadable)
        };
        self.watch.within(look).await
    }

    async fn open_transactions(&self) -> Result<Vec<OpenTransaction>, SourceError> {
        self.watch.within(open::transactions(&self.pool)).await
    }

    async fn flush(&self) -> Result<String, SourceError> {
        self.watch.within(open::flush(&self.pool)).await
    }

    async fn behind(&self, position: &str) -> Result<Option<Vec<CopyBehind>>, SourceError> {
        self.watch.within(replicas::behind(&self.pool, position)).await
    }

    async fn sign(&self) -> Result<String, SourceError> {
        self.watch.within(open::sign(&self.pool)).await
    }

    async fn missing_rights(&self, shape: &Shape) -> Result<Vec<String>, SourceError> {
        self.watch.within(fence::missing_rights(&self.pool, &self.ddl, shape)).await
    }

    fn locks(&self) -> &'static [&'static str] {
        &[
            "rows: those of a chunk while it is written, about 250 ms at most",
            "table: SHARE ROW EXCLUSIVE and ACCESS EXCLUSIVE about a millisecond each for trigger and constraint; \
             waited for at most 100 ms at a time, and not while somebody has held the table for long",
            "table: SHARE UPDATE EXCLUSIVE while the constraint is validated, about as long as a census; writers go on",
            "table: ROW EXCLUSIVE while the old key is destroyed, a second at most; writers go on",
        ]
    }

    async fn notes(&self, shape: &Shape) -> Result<Vec<String>, SourceError> {
        self.watch.within(shape::notes(&self.pool, shape)).await
    }

    async fn prover(&self) -> Result<Box<dyn Prover>, SourceError> {
        Ok(Box::new(prover::Session::open(&self.watch).await?))
    }
}
