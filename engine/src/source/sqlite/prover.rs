//! Counting on SQLite.

use super::*;
use reseal_keyring::{KeyId, cell};
use sqlx::{Connection, SqliteConnection};

/// One session. A held one is inside an IMMEDIATE transaction; dropping it ends both.
pub(super) struct Session {
    connection: SqliteConnection,
}

impl Session {
    pub(super) async fn open(pool: &SqlitePool) -> Result<Self, SourceError> {
        Ok(Self { connection: pool.acquire().await?.detach() })
    }

    pub(super) async fn holding(pool: &SqlitePool) -> Result<Self, SourceError> {
        let mut session = Self::open(pool).await?;
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut session.connection).await?;
        Ok(session)
    }
}

/// Finds the headers wherever they stand: in bytes as they are, in text as base64 or hex.
fn holds(column: &str, headers: &[Header]) -> String {
    let mut needles: Vec<Vec<u8>> = headers.iter().map(|h| h.to_vec()).collect();
    for header in headers {
        let (hex, id) = (hex::encode(header), KeyId(key_id_of(header).unwrap_or_default()));
        needles.extend([hex.to_uppercase().into_bytes(), hex.into_bytes()]);
        needles.extend(cell::base64_prefixes(id).into_iter().map(String::into_bytes));
    }
    let found = needles.iter().map(|n| format!("instr(CAST({column} AS BLOB), x'{}') > 0", hex::encode(n)));
    format!("typeof({column}) IN ('blob', 'text') AND ({})", found.collect::<Vec<_>>().join(" OR "))
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
        _patience: Option<Duration>,
    ) -> Result<Strays, SourceError> {
        // Columns have affinities, not types, here: any of them may hold a cell.
        let columns = "SELECT t.name, c.name FROM main.sqlite_schema t, pragma_table_xinfo(t.name) c \
                       WHERE t.type = 'table' AND substr(t.name, 1, 7) <> 'sqlite_' ORDER BY 1, 2";
        let mut strays = Strays::default();
        for row in sqlx::query(columns).fetch_all(&mut self.connection).await? {
            let (table, column): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let place = ("main".to_owned(), table.clone(), column.clone());
            if left_out(&place, registered, ignored) {
                continue;
            }
            let path = format!("main.{table}.{column}");
            let sql = format!("SELECT count(*) FROM {} WHERE {}", quoted(&table), holds(&quoted(&column), headers));
            let counted =
                query(sql).fetch_one(&mut self.connection).await.map_err(|e| SourceError::from(e).at(&path))?;
            strays.looked_at += 1;
            let cells: i64 = counted.try_get(0)?;
            if cells > 0 {
                strays.found.push(Stray { path, cells });
            }
        }
        Ok(strays)
    }

    async fn still_there(&mut self) -> Result<(), SourceError> {
        Ok(query("SELECT 1".to_owned()).execute(&mut self.connection).await.map(|_| ())?)
    }

    async fn release(self: Box<Self>) -> Result<(), SourceError> {
        Ok(self.connection.close().await?)
    }
}
