//! Counting on SQLite.

use super::*;
use sqlx::{Connection, SqliteConnection};
use std::time::Instant;

/// One session. While it holds the file it is inside an IMMEDIATE transaction; dropping it ends both.
pub(super) struct Session {
    connection: SqliteConnection,
    file: FileId,
    options: SqliteConnectOptions,
    holds: bool,
    /// What is counted and then scanned is seen at one moment.
    reads: bool,
    /// The ledger lives in the same file.
    beside_ledger: bool,
    /// SQLite's count of what other connections have committed, as it was at the mark.
    version: Option<i64>,
}

impl Session {
    pub(super) fn open(
        options: &SqliteConnectOptions,
        (connection, file): (SqliteConnection, FileId),
        beside_ledger: bool,
    ) -> Self {
        let options = options.clone();
        Self { connection, file, options, holds: false, reads: false, beside_ledger, version: None }
    }

    async fn version(&mut self) -> Result<i64, SourceError> {
        Ok(sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut self.connection).await?)
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

    async fn let_go_of_moment(&mut self) -> Result<(), SourceError> {
        if std::mem::take(&mut self.reads) {
            sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await?;
        }
        Ok(())
    }

    async fn mark(&mut self, _shapes: &[Shape]) -> Result<String, SourceError> {
        self.version = Some(self.version().await?);
        let version: i64 = sqlx::query_scalar("PRAGMA main.schema_version").fetch_one(&mut self.connection).await?;
        Ok(version.to_string())
    }

    /// A connection can switch triggers off, so what was committed since the mark may be anything. Beside the ledger, whose
    /// IMMEDIATE transaction is open by then and keeps every other writer away, another one would lock the ledger out.
    async fn hold(&mut self, _shapes: &[Shape], at_most: Duration) -> Result<bool, SourceError> {
        self.holds = true;
        if !self.beside_ledger {
            sqlx::raw_sql("PRAGMA busy_timeout = 200; BEGIN IMMEDIATE").execute(&mut self.connection).await?;
        }
        let until = Instant::now() + at_most;
        // A statement that is given up goes on in its thread and keeps the lock, unless SQLite itself is asked to stop.
        self.connection.lock_handle().await?.set_progress_handler(10_000, move || Instant::now() < until);
        let now = self.version().await?;
        Ok(self.version != Some(now))
    }

    async fn sight(&mut self) -> Result<Sight, SourceError> {
        self.file.refuse_replaced(self.options.get_filename())?;
        Ok((owner::path_of(&self.options), owner::mark(&mut self.connection).await?))
    }

    /// A writer into a file that was replaced meanwhile would be no obstacle.
    async fn still_there(&mut self) -> Result<(), SourceError> {
        self.file.refuse_replaced(self.options.get_filename())?;
        Ok(query("SELECT 1".to_owned()).execute(&mut self.connection).await.map(|_| ())?)
    }

    async fn release(self: Box<Self>) -> Result<(), SourceError> {
        Ok(self.connection.close().await?)
    }
}
