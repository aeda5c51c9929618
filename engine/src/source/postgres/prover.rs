//! Counting on PostgreSQL, on the primary, in one snapshot a table.

use super::{cells::stored, *};
use reseal_keyring::{Format, KeyId, cell};
use sqlx::Connection;

/// One session. A held one is inside a transaction; dropping it ends both.
pub(super) struct Session {
    connection: PgConnection,
}

impl Session {
    pub(super) async fn open(pool: &PgPool) -> Result<Self, SourceError> {
        let mut connection = pool.acquire().await?.detach();
        sqlx::raw_sql("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
            .execute(&mut connection)
            .await?;
        refuse_standby(&mut connection).await?; // a failover may have come since the pool was opened
        Ok(Self { connection })
    }

    /// `ROW EXCLUSIVE` conflicts with what dropping or disabling a trigger, altering a table or
    /// truncating it takes, and not with what reading or writing rows takes.
    pub(super) async fn holding(pool: &PgPool, shapes: &[Shape]) -> Result<Self, SourceError> {
        let mut session = Self::open(pool).await?;
        sqlx::raw_sql("BEGIN").execute(&mut session.connection).await?;
        for shape in shapes {
            let lock = format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE", table_of(shape));
            sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut session.connection).await?;
        }
        Ok(session)
    }

    /// Limits each statement from now on.
    async fn limit(&mut self, patience: Option<Duration>) -> Result<(), SourceError> {
        let ms = patience.map_or(0, |p| p.as_millis());
        query(format!("SET statement_timeout = {ms}")).execute(&mut self.connection).await?;
        Ok(())
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// Columns of tables and materialized views that can hold bytes or text, in whatever type: arrays,
/// domains, composites and extensions' own types, too. Numbers, times, enums and the like cannot.
const COLUMNS: &str = "
    SELECT n.nspname::text, c.relname::text, a.attname::text, a.atttypid = 'bytea'::regtype,
           rn.nspname::text, root.relname::text
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_class root ON c.relispartition AND root.oid = pg_partition_root(c.oid)
    LEFT JOIN pg_namespace rn ON rn.oid = root.relnamespace
    JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
    WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND a.attnum > 0 AND NOT a.attisdropped
      AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
      AND coalesce(e.typcategory, t.typcategory) NOT IN ('B', 'D', 'E', 'G', 'I', 'N', 'R', 'T', 'V')
      AND coalesce(e.oid, t.oid) <> 'uuid'::regtype
    ORDER BY 1, 2, 3";

/// Finds the headers wherever they stand: in bytes as they are, in everything else as base64 or hex.
fn holds(column: &str, bytes: bool, headers: &[Header]) -> String {
    if bytes {
        let found = headers.iter().map(|h| format!("position({} in {column}) > 0", literal(h)));
        return found.collect::<Vec<_>>().join(" OR ");
    }
    let texts = headers.iter().flat_map(|h| cell::base64_prefixes(KeyId(key_id_of(h).unwrap_or_default())));
    // A slash may be escaped in JSON.
    let texts: Vec<String> = texts.map(|t| t.replace('+', "\\+").replace('/', "\\\\?/")).collect();
    let hex: Vec<String> = headers.iter().map(hex::encode).collect();
    let column = format!("{column}::text COLLATE \"C\""); // some collations have no patterns
    format!("{column} ~ '{}' OR {column} ~* '{}'", texts.join("|"), hex.join("|"))
}

/// Cells by the key that their header names.
pub(super) async fn census(
    connection: &mut PgConnection,
    shape: &Shape,
    column: &CellColumn,
    known: &[Header],
) -> Result<Vec<KeyCount>, SourceError> {
    let c = quoted(&column.name);
    // Elsewhere than among cells that should name a key, the first bytes are a value's own.
    let header = if column.layout.format == Format::Tink {
        first(&c, column.is_text())
    } else {
        format!("CASE WHEN {} THEN {} END", among(&c, column.is_text(), known), first(&c, column.is_text()))
    };
    let sql = format!(
        "SELECT {}, count(*) FROM {} WHERE {c} IS NOT NULL GROUP BY 1",
        stored(&header, column.is_text()),
        table_of(shape)
    );
    let found = query(sql).fetch_all(connection).await?;
    let counts = found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    Ok(count::by_key(column, counts.collect::<Result<_, SourceError>>()?))
}

#[async_trait]
impl Prover for Session {
    async fn count(&mut self, shape: &Shape, questions: &[Question]) -> Result<Vec<Answer>, SourceError> {
        let among = |q: &Question, headers: &[Header]| among(&quoted(&q.column), q.text, headers);
        let sql = format!("SELECT {} FROM {}", count::select_list(questions, among), table_of(shape));
        count::answers(&query(sql).fetch_one(&mut self.connection).await?, questions)
    }

    async fn read(
        &mut self,
        shape: &Shape,
        range: &Range,
        active: &Header,
        rows: u32,
        bytes: i64,
    ) -> Result<Vec<Row>, SourceError> {
        super::cells::read(&mut self.connection, shape, range, active, rows, bytes).await
    }

    async fn fence_state(&mut self, shape: &Shape, fence: &Fence) -> Result<FenceState, SourceError> {
        fence::state(&mut self.connection, shape, fence).await
    }

    async fn fingerprint(&mut self, shape: &Shape) -> Result<String, SourceError> {
        shape::fingerprint_now(&mut self.connection, shape).await
    }

    async fn strays(
        &mut self,
        registered: &[Place],
        ignored: &[String],
        headers: &[Header],
        patience: Option<Duration>,
    ) -> Result<Strays, SourceError> {
        let mut strays = Strays::default();
        self.limit(patience).await?;
        let columns = sqlx::query(COLUMNS).persistent(false).fetch_all(&mut self.connection).await?;
        for row in columns {
            let (schema, table, column): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let bytes: bool = row.try_get(3)?;
            let root: (Option<String>, Option<String>) = (row.try_get(4)?, row.try_get(5)?);
            let path = format!("{schema}.{table}.{column}");
            let holds = holds(&quoted(&column), bytes, headers);
            let sql = format!("SELECT count(*) FROM {}.{} WHERE {holds}", quoted(&schema), quoted(&table));
            // A partition is counted with its table; one that was detached is a table of its own.
            let of_registered =
                matches!(root, (Some(s), Some(t)) if registered.contains(&(s.clone(), t.clone(), column.clone())));
            if of_registered || left_out(&(schema, table, column), registered, ignored) {
                continue;
            }
            let counted = match query(sql).fetch_one(&mut self.connection).await.map_err(SourceError::from) {
                Err(e) if patience.is_some() && e.is(SourceErrorKind::Size) => {
                    strays.unfinished.push(path);
                    continue;
                }
                counted => counted.map_err(|e| e.at(&path))?,
            };
            strays.looked_at += 1;
            let cells: i64 = counted.try_get(0)?;
            if cells > 0 {
                strays.found.push(Stray { path, cells });
            }
        }
        self.limit(None).await?;
        Ok(strays)
    }

    async fn still_there(&mut self) -> Result<(), SourceError> {
        Ok(query("SELECT 1".to_owned()).execute(&mut self.connection).await.map(|_| ())?)
    }

    async fn release(self: Box<Self>) -> Result<(), SourceError> {
        Ok(self.connection.close().await?)
    }
}
