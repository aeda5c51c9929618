//! Counting on PostgreSQL, on the primary, in one snapshot a table.

use super::*;
use sqlx::Connection;

/// One session. A held one is inside a transaction; dropping it ends both.
pub(super) struct Session {
    connection: PgConnection,
}

impl Session {
    pub(super) async fn open(pool: &PgPool) -> Result<Self, SourceError> {
        let mut connection = pool.acquire().await?.detach();
        sqlx::raw_sql("SET statement_timeout = 0").execute(&mut connection).await?;
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

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// Bytes, text and JSON columns of tables and materialized views that hold rows of their own.
const COLUMNS: &str = "
    SELECT n.nspname::text, c.relname::text, a.attname::text, a.atttypid = 'bytea'::regtype
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND a.attnum > 0 AND NOT a.attisdropped
      AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
      AND a.atttypid IN ('bytea'::regtype, 'text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'json'::regtype, 'jsonb'::regtype)
    ORDER BY 1, 2, 3";

#[async_trait]
impl Prover for Session {
    async fn count(&mut self, shape: &Shape, questions: &[Question]) -> Result<Vec<Answer>, SourceError> {
        let header = |c: &str| format!("substring({c} from 1 for 5)");
        let among = |first: &str, headers: &[Header]| format!("({first} = ANY ({}))", literals(headers));
        let sql = format!("SELECT {} FROM {}", count::select_list(questions, header, among), table_of(shape));
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
        registered: &[String],
        ignored: &[String],
        headers: &[Header],
    ) -> Result<Vec<Stray>, SourceError> {
        let mut found = Vec::new();
        let columns = sqlx::query(COLUMNS).persistent(false).fetch_all(&mut self.connection).await?;
        for row in columns {
            let (schema, table, column): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let bytes: bool = row.try_get(3)?;
            if left_out(&schema, &table, &column, registered, ignored) {
                continue;
            }
            let c = quoted(&column);
            let is_cell = if bytes {
                format!("substring({c} from 1 for 5) = ANY ({})", literals(headers))
            } else {
                // Quotes before the text let JSON strings be found, too.
                let text: Vec<String> = headers
                    .iter()
                    .filter_map(|h| key_id_of(h))
                    .flat_map(|id| reseal_keyring::cell::base64_prefixes(reseal_keyring::KeyId(id)))
                    .collect();
                format!("{c}::text ~ '(^|\")({})'", text.join("|").replace('+', "\\+"))
            };
            let sql = format!("SELECT count(*) FROM {}.{} WHERE {is_cell}", quoted(&schema), quoted(&table));
            let cells: i64 = query(sql).fetch_one(&mut self.connection).await?.try_get(0)?;
            if cells > 0 {
                found.push(Stray { path: format!("{schema}.{table}.{column}"), cells });
            }
        }
        Ok(found)
    }

    async fn still_there(&mut self) -> Result<(), SourceError> {
        Ok(query("SELECT 1".to_owned()).execute(&mut self.connection).await.map(|_| ())?)
    }

    async fn release(self: Box<Self>) -> Result<(), SourceError> {
        Ok(self.connection.close().await?)
    }
}
