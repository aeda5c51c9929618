//! Opening a ledger whose commits last.

use super::{
    LedgerError,
    file::LedgerFile,
    pooled::is_pooled,
    reach::{self, LASTING, Unreached},
};
use crate::identity;
use sea_orm::{
    ActiveValue::Set,
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait,
    RuntimeErr, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
    sea_query::OnConflict,
    sqlx::{
        self, Connection, PgConnection,
        postgres::PgConnectOptions,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
    },
};
use std::{sync::Arc, time::Duration};

/// The durable truth: keys, rotations, batches, proofs, audit.
#[derive(Clone, Debug)]
pub struct Ledger {
    db: DatabaseConnection,
    /// A SQLite ledger's file as this process opened it.
    file: Option<Arc<LedgerFile>>,
}

impl Ledger {
    /// Connects. A PostgreSQL whose commits can be lost (`synchronous_commit = off`, or a standby)
    /// is refused: it could forget the only copy of a key that rows already need.
    pub async fn connect(url: &str) -> Result<Self, LedgerError> {
        if url.starts_with("sqlite:") {
            make_private(url);
        }
        Self::open(url, 8, true).await
    }

    /// The same for an application, which asks seldom and little: at most two connections, and a SQLite
    /// ledger that is not there is not made.
    pub async fn connect_as_application(url: &str) -> Result<Self, LedgerError> {
        Self::open(url, 2, false).await
    }

    async fn open(url: &str, connections_max: u32, create: bool) -> Result<Self, LedgerError> {
        let postgres = if url.starts_with("sqlite:") { None } else { Some(dial(url).await?) };
        // What the driver is told of a PostgreSQL are the options that were read here.
        let mut options = ConnectOptions::new(if postgres.is_some() { "postgres://localhost" } else { url });
        options
            .sqlx_logging(false)
            .max_connections(connections_max)
            .connect_timeout(Duration::from_secs(5))
            .acquire_timeout(Duration::from_secs(10))
            .map_sqlx_postgres_opts(move |o| postgres.clone().unwrap_or(o))
            .map_sqlx_postgres_pool_opts(|pool| {
                pool.after_connect(|connection, _| Box::pin(settle(connection)))
                    .test_before_acquire(false)
                    .before_acquire(|connection, _| Box::pin(async { Ok(reach::answers(connection).await) }))
                    .after_release(|connection, _| Box::pin(async { Ok(reach::answers(connection).await) }))
            })
            .map_sqlx_sqlite_opts(move |o| {
                o.create_if_missing(create)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(Duration::from_secs(10))
                    .foreign_keys(true)
            });
        let ledger = Self { db: Database::connect(options).await.map_err(unreachable)?, file: LedgerFile::of(url) };
        if ledger.db.get_database_backend() == DbBackend::Postgres {
            ledger.refuse_a_shared_session().await?;
            ledger.refuse_commits_that_can_be_lost().await?;
        }
        Ok(ledger)
    }

    /// The connection, for statements of one's own; transactions that write begin with [`Self::begin`].
    pub fn db(&self) -> &DatabaseConnection {
        &self.db
    }

    /// Begins a transaction that will write. IMMEDIATE on SQLite: a deferred one fails at once when
    /// it reads before it writes, whatever the busy timeout says.
    ///
    /// In a task of its own: a future that is dropped while PostgreSQL's BEGIN is under way would give
    /// its connection back inside a transaction that nobody ends, and what others then write on that
    /// connection would never be committed. A task that nobody waits for any more ends its BEGIN and
    /// rolls back.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let immediate = TransactionOptions {
            isolation_level: None,
            access_mode: None,
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        };
        if let Some(file) = &self.file {
            file.refuse_replaced()?;
        }
        let db = self.db.clone();
        let begun = tokio::spawn(async move { db.begin_with_options(immediate).await });
        begun.await.map_err(|e| DbErr::Custom(format!("beginning a transaction: {e}")))?
    }

    /// Fails when a SQLite ledger's file no longer has its name: what this process writes would reach no other one.
    pub fn refuse_replaced(&self) -> Result<(), LedgerError> {
        Ok(self.file.as_ref().map_or(Ok(()), |file| file.refuse_replaced())?)
    }

    /// Where this ledger is. A copy of it is elsewhere: another file, or another database of a server.
    pub async fn place(&self) -> Result<String, LedgerError> {
        if let Some(file) = &self.file {
            return Ok(file.place());
        }
        if self.db.get_database_backend() != DbBackend::Postgres {
            return Ok("memory".to_owned());
        }
        let sql = "SELECT s.system_identifier::text || '/' || d.datname || '/' || d.oid AS place \
                   FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()";
        let row = self.db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
        let row = row
            .ok_or_else(|| LedgerError::refused("ledger_unreachable", "the ledger's server says nothing of itself"))?;
        Ok(row.try_get("", "place")?)
    }

    /// The ledger's row about itself; written at the first call.
    pub async fn identity(&self) -> Result<identity::Model, LedgerError> {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).map_err(|e| {
            LedgerError::refused("no_randomness", format!("the operating system gave no randomness: {e}"))
        })?;
        let row = identity::ActiveModel {
            id: Set(1),
            name: Set(hex::encode(random)),
            leader: Set(None),
            leader_until: Set(0),
            queue_incarnation: Set(None),
            closing_checked_at: Set(0),
        };
        identity::Entity::insert(row)
            .on_conflict(OnConflict::column(identity::Column::Id).do_nothing().to_owned())
            .exec_without_returning(&self.db)
            .await?;
        let found = identity::Entity::find_by_id(1).one(&self.db).await?;
        found.ok_or_else(|| {
            LedgerError::refused("ledger_not_migrated", "the ledger has no identity: run `reseal migrate`")
        })
    }

    async fn refuse_a_shared_session(&self) -> Result<(), LedgerError> {
        let pooled = is_pooled(self.db.get_postgres_connection_pool()).await;
        if pooled.map_err(|e| LedgerError::Database(DbErr::Conn(RuntimeErr::SqlxError(e.into()))))? {
            return Err(LedgerError::refused(
                "ledger_is_pooled",
                "ledger.url leads through a pooler that shares sessions between transactions: give the server's own address, \
                 or set the pooler to session mode for this database",
            ));
        }
        Ok(())
    }

    async fn refuse_commits_that_can_be_lost(&self) -> Result<(), LedgerError> {
        let sql = "SELECT current_setting('synchronous_commit') AS mode, pg_is_in_recovery() AS standby";
        let row = self.db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
        let Some(row) = row else { return Ok(()) };
        if row.try_get::<bool>("", "standby")? {
            return Err(LedgerError::refused(
                "ledger_is_standby",
                "the ledger's server is a standby: give the primary's URL",
            ));
        }
        if row.try_get::<String>("", "mode")? == "off" {
            return Err(LedgerError::refused(
                "ledger_not_durable",
                "the ledger's server may lose commits (synchronous_commit is off) and with them the only copy of a key: \
                 turn it on for this role",
            ));
        }
        Ok(())
    }
}

/// Creates a SQLite ledger's file for its owner alone; its journals take over the mode. A file that
/// is there already, or cannot be made, is left to the database to speak about.
fn make_private(url: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    if let Ok(options) = url.parse::<SqliteConnectOptions>() {
        let _ = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(options.get_filename());
    }
}

/// What the ledger's statements mean, and what its transactions see, is no setting's to say. Its tables are found by
/// the role's own search path.
const SETTINGS: &str = "SET standard_conforming_strings = on; SET transform_null_equals = off; \
    SET default_transaction_isolation = 'read committed'; SET client_min_messages = error";

async fn settle(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("{SETTINGS}; {LASTING}"))).execute(connection).await.map(|_| ())
}

/// Asks once, in order to hear at once why a ledger cannot be reached: the pool would try for seconds, and then say
/// that it ran out of time.
async fn dial(url: &str) -> Result<PgConnectOptions, LedgerError> {
    let refuse = |e: Unreached| {
        LedgerError::refused("ledger_unreachable", format!("the ledger cannot be opened: {e}; check ledger.url"))
    };
    let options = reach::options(url).map_err(refuse)?;
    let connection = reach::dial(&options, Duration::from_secs(5)).await.map_err(refuse)?;
    drop(connection.close().await);
    Ok(options)
}

/// Why a ledger's file could not be opened, in words that help; a driver's own do not.
fn unreachable(error: DbErr) -> LedgerError {
    let code = match &error {
        DbErr::Conn(RuntimeErr::SqlxError(e)) => e.as_database_error().and_then(|e| e.code()).map(|c| c.into_owned()),
        _ => None,
    };
    let reason = match code.as_deref() {
        Some("14") => "the file cannot be opened, or its folder does not exist",
        Some("26") => "the file is not a SQLite database",
        _ => "the connection failed",
    };
    LedgerError::refused("ledger_unreachable", format!("the ledger cannot be opened: {reason}; check ledger.url"))
}
