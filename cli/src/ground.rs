//! Opening what a command stands on: ledger, KEK, engine.

use crate::{
    actor::actor,
    failure::Failure,
    output::{Output, count},
};
use reseal_config::Config;
use reseal_engine::{Engine, keys::Keyring};
use reseal_entities::ledger::{Ledger, keys as ledger_keys};
use sqlx::sqlite::SqliteConnectOptions;
use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// What becomes of a ledger without the present schema.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schema {
    /// The command says that it is to be migrated.
    Must,
    /// It is made, or brought up to date.
    Migrate,
}

/// The ledger of a configuration.
pub(crate) async fn ledger(config: &Config, schema: Schema) -> Result<Ledger, Failure> {
    if schema == Schema::Migrate {
        let ledger = unmigrated_ledger(config).await?;
        reseal_migration::migrate_ledger(ledger.db()).await?;
        return Ok(ledger);
    }
    // Connecting would make it, and a typo in a path should not.
    if let Some(file) = sqlite_file(config).filter(|file| !file.exists()) {
        let here = if Path::new("reseal.toml").exists() { "" } else { " (no reseal.toml in this folder)" };
        let message = format!("there is no ledger at {}{here}: run `reseal migrate`, or see --config", file.display());
        return Err(Failure::new("ledger_missing", message));
    }
    let ledger = Ledger::connect(config.ledger.url.expose()).await?;
    if reseal_migration::pending(ledger.db()).await? > 0 {
        let message = format!("the ledger {} is not migrated: run `reseal migrate`", config.ledger.url);
        return Err(Failure::new("ledger_not_migrated", message));
    }
    Ok(ledger)
}

/// The ledger, with whatever schema it has; a SQLite file is made.
pub(crate) async fn unmigrated_ledger(config: &Config) -> Result<Ledger, Failure> {
    if let Some(file) = sqlite_file(config) {
        private_folder_of(&file)?;
    }
    Ok(Ledger::connect(config.ledger.url.expose()).await?)
}

/// The ledger, when a command only reads and writes there.
pub(crate) async fn ledger_only(config: &Config) -> Result<Ledger, Failure> {
    ledger(config, Schema::Must).await
}

/// The keys, without any source. Keeps them out of core files first.
pub(crate) async fn keyring(config: &Config, output: &Output) -> Result<Keyring, Failure> {
    let ledger = ledger_only(config).await?;
    protect(config, &ledger, output).await?;
    let keyring = Keyring::open(ledger, config.kek.uri.expose(), &config.ledger.key_backup)?;
    keyring.refuse_another_kek().await?;
    Ok(keyring)
}

/// The engine under `name`; for a command that is who runs it.
pub(crate) async fn engine(config: Config, schema: Schema, name: String, output: &Output) -> Result<Engine, Failure> {
    let ledger = ledger(&config, schema).await?;
    ledger.identity().await?;
    protect(&config, &ledger, output).await?;
    Ok(Engine::open(config, ledger, name).await?)
}

/// The engine of a person's command.
pub(crate) async fn engine_only(config: Config, output: &Output) -> Result<Engine, Failure> {
    engine(config, Schema::Must, actor(), output).await
}

/// Keeps keys out of core files, and makes the embedded default's KEK.
pub(crate) async fn protect(config: &Config, ledger: &Ledger, output: &Output) -> Result<(), Failure> {
    reseal_worker::protect_keys().map_err(Failure::io("this process's memory cannot be kept out of core files"))?;
    make_embedded_kek(config, ledger, output).await
}

/// The embedded default keeps its KEK beside its SQLite ledger and makes it at the first start. A
/// ledger that has keys has lost its KEK, and another one would open none of them.
async fn make_embedded_kek(config: &Config, ledger: &Ledger, output: &Output) -> Result<(), Failure> {
    let Some(kek) = kek_file(config) else { return Ok(()) };
    let beside_the_ledger = sqlite_file(config).is_some_and(|file| file.parent() == kek.parent());
    if !beside_the_ledger || kek.exists() || !ledger_keys::all(ledger.db()).await?.is_empty() {
        return Ok(());
    }
    create_kek(config)?;
    output.warn(&format!(
        "made the key-encryption key {}: back it up apart from the ledger; without it every encrypted value is lost",
        kek.display()
    ));
    Ok(())
}

/// The ledger holds keys under a KEK that is not here: another one would open none of them.
pub(crate) async fn refuse_a_second_kek(config: &Config) -> Result<(), Failure> {
    // No ledger yet, or none to be reached: then there is nothing to lose either.
    let Ok(ledger) = ledger(config, Schema::Must).await else { return Ok(()) };
    let keys = ledger_keys::all(ledger.db()).await?.into_iter().filter(|k| k.wrapped_dek.is_some()).count();
    if keys == 0 || kek_file(config).is_none_or(|file| file.exists()) {
        return Ok(());
    }
    let message = format!(
        "the ledger {} holds {} under a kek that is not at {}: restore that one from its backup, another one opens none of them",
        config.ledger.url,
        count(keys as u64, "key"),
        config.kek.uri
    );
    Err(Failure::new("kek_lost", message))
}

/// Makes the KEK of a `file:` URI and says its id.
pub(crate) fn create_kek(config: &Config) -> Result<String, Failure> {
    if let Some(file) = kek_file(config) {
        private_folder_of(&file)?;
    }
    Ok(reseal_keyring::kek::create(config.kek.uri.expose())?.id().to_owned())
}

/// The KEK's file, of a `file:` URI.
pub(crate) fn kek_file(config: &Config) -> Option<PathBuf> {
    config.kek.uri.expose().strip_prefix("file:").map(PathBuf::from)
}

fn sqlite_file(config: &Config) -> Option<PathBuf> {
    let url = config.ledger.url.expose();
    let options = url.starts_with("sqlite:").then(|| SqliteConnectOptions::from_str(url).ok()).flatten()?;
    Some(options.get_filename().to_owned())
}

/// Makes the folder of `file`, for its owner alone.
fn private_folder_of(file: &Path) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir());
    let Some(folder) = folder else { return Ok(()) };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(Failure::io(format!("the folder {} cannot be made", folder.display())))
}
