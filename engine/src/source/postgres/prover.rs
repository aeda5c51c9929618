//! Counting on PostgreSQL, on the primary, in one snapshot a table.

use super::{
    cells::stored,
    scan::{Moment, endless},
    *,
};
use reseal_keyring::Format;
use sqlx::Connection;

/// One session. While it holds tables it is inside a transaction; dropping it ends both.
pub(super) struct Session {
    pool: PgPool,
    connection: PgConnection,
    /// It is inside a transaction that holds tables.
    holds: bool,
    /// What is counted and then scanned is seen at one moment.
    moment: Option<Moment>,
}

impl Session {
    pub(super) async fn open(pool: &PgPool) -> Result<Self, SourceError> {
        Ok(Self { pool: pool.clone(), connection: endless(pool).await?, holds: false, moment: None })
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
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
        if self.holds {
            return count::answers(&query(sql).fetch_one(&mut self.connection).await?, questions);
        }
        let moment = match self.moment.take() {
            Some(moment) => moment,
            None => Moment::now(&self.pool).await?,
        };
        moment.enter(&mut self.connection, "").await?;
        self.moment = Some(moment);
        let counted = query(sql).fetch_one(&mut self.connection).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await?;
        count::answers(&counted?, questions)
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
        let left_out = LeftOut::new(registered, ignored);
        scan::strays(&self.pool, self.moment.take(), &left_out, headers, patience).await
    }

    async fn let_go_of_moment(&mut self) -> Result<(), SourceError> {
        match self.moment.take() {
            Some(moment) => moment.end().await,
            None => Ok(()),
        }
    }

    async fn mark(&mut self, shapes: &[Shape]) -> Result<String, SourceError> {
        open::mark(&mut self.connection, shapes).await
    }

    /// `ROW EXCLUSIVE` conflicts with what dropping or disabling a trigger, altering a table or
    /// truncating it takes, and not with what reading or writing rows takes. Rows may be written under it; what the
    /// fence refuses stays refused.
    async fn hold(&mut self, shapes: &[Shape], at_most: Duration) -> Result<bool, SourceError> {
        let ms = at_most.as_millis();
        let begin = format!("BEGIN; SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = {ms}");
        sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut self.connection).await?;
        for shape in shapes {
            let lock = format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE", table_of(shape));
            sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut self.connection).await?;
        }
        self.holds = true;
        Ok(false)
    }

    async fn sight(&mut self) -> Result<Sight, SourceError> {
        owner::sight(&mut self.connection).await
    }

    async fn still_there(&mut self) -> Result<(), SourceError> {
        Ok(query("SELECT 1".to_owned()).execute(&mut self.connection).await.map(|_| ())?)
    }

    async fn release(self: Box<Self>) -> Result<(), SourceError> {
        if let Some(moment) = self.moment {
            moment.end().await?;
        }
        Ok(self.connection.close().await?)
    }
}
