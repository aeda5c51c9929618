//! Counting on PostgreSQL, on the primary, in one snapshot a table.

use super::{
    cells::stored,
    scan::{Moment, endless},
    *,
};
use reseal_keyring::Format;
use sqlx::Connection;
use watch::Backend;

/// One session. While it holds tables it is inside a transaction; dropping it ends both.
pub(super) struct Session {
    connection: PgConnection,
    backend: Backend,
    watch: Watch,
    /// It is inside a transaction that holds tables.
    holds: bool,
    /// What is counted and then scanned is seen at one moment.
    moment: Option<Moment>,
}

impl Session {
    pub(super) async fn open(watch: &Watch) -> Result<Self, SourceError> {
        let opened = async {
            let mut connection = endless(&watch.options).await?;
            let backend = Backend::of(&mut connection).await?;
            let watch = watch.clone();
            Ok(Self { connection, backend, watch, holds: false, moment: None })
        };
        watch.within(opened).await
    }

    /// One value of one row, whatever time it takes.
    pub(super) async fn one<T>(&mut self, query: Query<'_, Db, PgArguments>) -> Result<T, SourceError>
    where
        T: for<'r> sqlx::Decode<'r, Db> + sqlx::Type<Db>,
    {
        let ask = query.fetch_one(&mut self.connection);
        Ok(self.watch.over(&self.backend, async { Ok(ask.await?) }).await?.try_get(0)?)
    }

    /// Cells by the key that their header names.
    pub(super) async fn census(
        &mut self,
        shape: &Shape,
        column: &CellColumn,
        known: &[Header],
    ) -> Result<Vec<KeyCount>, SourceError> {
        self.watch.over(&self.backend, census(&mut self.connection, shape, column, known)).await
    }
}

/// Cells by the key that their header names.
async fn census(
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
            None => Moment::now(&self.watch.options).await?,
        };
        moment.enter(&mut self.connection, "").await?;
        self.moment = Some(moment);
        let ask = query(sql).fetch_one(&mut self.connection);
        let counted = match self.watch.over(&self.backend, async { Ok(ask.await?) }).await {
            // Nothing more is said over that connection, and nothing heard.
            Err(e) if e.code == "source_silent" => return Err(e),
            counted => counted,
        };
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
        let read = super::cells::read(&mut self.connection, shape, range, active, rows, bytes);
        self.watch.over(&self.backend, read).await
    }

    async fn fence_state(&mut self, shape: &Shape, fence: &Fence) -> Result<FenceState, SourceError> {
        self.watch.over(&self.backend, fence::state(&mut self.connection, shape, fence)).await
    }

    async fn fingerprint(&mut self, shape: &Shape) -> Result<String, SourceError> {
        self.watch.over(&self.backend, shape::fingerprint_now(&mut self.connection, shape)).await
    }

    async fn strays(
        &mut self,
        registered: &[Place],
        ignored: &[String],
        headers: &[Header],
        patience: Option<Duration>,
    ) -> Result<Strays, SourceError> {
        let left_out = LeftOut::new(registered, ignored);
        scan::strays(&self.watch, self.moment.take(), &left_out, headers, patience).await
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
        let ask = query("SELECT 1".to_owned()).execute(&mut self.connection);
        self.watch.within(async { Ok(ask.await.map(|_| ())?) }).await
    }

    async fn release(self: Box<Self>) -> Result<(), SourceError> {
        let Self { connection, watch, moment, .. } = *self;
        let close = async {
            if let Some(moment) = moment {
                moment.end().await?;
            }
            Ok(connection.close().await?)
        };
        watch.within(close).await
    }
}
