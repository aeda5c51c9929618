//! The demo's folder: KEK, ledger, and an application's database, all throw-away.

use super::tables::KEYSET;
use crate::{
    actor::actor,
    failure::Failure,
    ground::{self, Schema},
};
use reseal_config::Config;
use reseal_engine::{EngineError, keys::Keyring};
use reseal_entities::ledger::Ledger;
use reseal_keyring::Keyset;
use sqlx::{
    ConnectOptions, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The file that `config/` builds the demo's configuration from.
const TOML: &str = include_str!("../../../config/demo.toml");

pub(super) struct World {
    pub folder: PathBuf,
    pub config: Config,
    pub ledger: Ledger,
    /// The application's own connections.
    pub app: SqlitePool,
    pub app_file: PathBuf,
}

impl World {
    /// With `keep`, also a `reseal.toml` for whoever looks at it afterwards.
    pub(super) async fn make(folder: &Path, keep: bool) -> Result<Self, Failure> {
        let config = Config::demo(folder);
        ground::create_kek(&config)?;
        let ledger = ground::ledger(&config, Schema::Migrate).await?;
        ledger.identity().await?;
        let app_file = folder.join("app.sqlite");
        let app = application_database(&app_file).await?;
        if keep {
            let toml = TOML.replace("{data}", &folder.to_string_lossy());
            std::fs::write(folder.join("reseal.toml"), toml).map_err(Failure::io("reseal.toml cannot be written"))?;
        }
        let world = Self { folder: folder.to_owned(), config, ledger, app, app_file };
        world.keyring()?.create(&actor(), KEYSET).await?;
        Ok(world)
    }

    /// Keys with a cache of their own, as another process has them.
    pub(super) fn keyring(&self) -> Result<Keyring, EngineError> {
        Keyring::open(self.ledger.clone(), self.config.kek.uri.expose(), &self.config.ledger.key_backup)
    }

    /// The keyset as the ledger has it now.
    pub(super) async fn keyset(&self) -> Result<Arc<Keyset>, EngineError> {
        self.keyring()?.keyset(KEYSET).await
    }
}

async fn application_database(file: &Path) -> Result<SqlitePool, Failure> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(30))
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(2).connect_with(options).await.map_err(failed)?;
    let tables = sea_orm::SqlxSqliteConnector::from_sqlx_sqlite_pool(pool.clone());
    reseal_migration::migrate_reference_tables(&tables).await?;
    Ok(pool)
}

/// The application's database failed.
pub(super) fn failed(error: sqlx::Error) -> Failure {
    Failure::new("demo_database", format!("the demo's database failed: {error}"))
}
