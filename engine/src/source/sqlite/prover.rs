//! Counting on SQLite.

use super::*;
use sqlx::{Connection, SqliteConnection};

/// One session. A held one is inside an IMMEDIATE transaction; dropping it ends both.
pub(super) struct Session {
    connection: SqliteConnection,
    holds: bool,
    /// What is counted and then scanned is seen at one moment.
    reads: bool,
}

impl Session {
    pub(super) async fn open(pool: &SqlitePool) -> Result<Self, SourceError> {
        Ok(Self { connection: pool.acquire().await?.detach(), holds: false, reads: false })
    }

    pub(super) async fn holding(pool: &SqlitePool) -> Result<Self, SourceError> {
        let mut session = Self::open(pool).await?;
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut session.connection).await?;
        session.holds = true;
        Ok(session)
    }

    async fn begin_reading(&mut self) -> Result<(), SourceError> {
        if !self.holds && !self.reads {
            sqlx::raw_sql("BEGIN").execute(&mut self.connection).await?;
            self.reads = true;
        }
        Ok(())
    }
}

#[async_trait]
impl Prover for Session {
    async fn count(&mut self, shape: &Shape, questions: &[Question]) -> Result<Vec<Answer>, SourceError> {
        let among = |q: &Question, headers: &[Header]| among(&quoted(&q.column), q.text, headers);
        let sql = format!("SELECT {} FROM {}", count::select_list(questions, among), table_of(shape));
        self.begin_reading().await?;
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
        let left_out = LeftOut::new(registered, ignored);
        self.begin_reading().await?;
        let strays = scan::strays(&mut self.connection, &left_out, headers, patience).await;
        if std::mem::take(&mut self.reads) {
            sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await?;
        }
        strays
    }

    async fn still_there(&mut self) -> Result<(), SourceError> {
        Ok(query("SELECT 1".to_owned()).execute(&mut self.connection).await.map(|_| ())?)
    }

    async fn release(self: Box<Self>) -> Result<(), SourceError> {
        Ok(self.connection.close().await?)
    }
}
