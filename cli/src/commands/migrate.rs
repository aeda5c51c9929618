//! `reseal migrate`: the ledger's schema, and on request the reference tables in a source.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::count,
};
use reseal_config::Config;
use reseal_entities::ledger::reach;
use reseal_migration::Outcome;
use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use serde_json::json;
use std::time::Duration;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also create user_profiles, messages and sync_queue in this source
    #[arg(long, value_name = "SOURCE")]
    reference_tables: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let source = args.reference_tables.map(|name| source_url(&config, &name).map(|url| (name, url))).transpose()?;
    let ledger = ground::unmigrated_ledger(&config).await?;
    let outcome = reseal_migration::migrate_ledger(ledger.db()).await?;
    let name = ledger.identity().await?.name;
    let object = json!({"ledger": name, "applied": applied(outcome)});
    let mut done = vec![("ledger".to_owned(), config.ledger.url.to_string(), outcome, object)];
    if let Some((name, url)) = source {
        let outcome = reseal_migration::migrate_reference_tables(&connect(&url).await?).await?;
        let object = json!({"source": name, "applied": applied(outcome)});
        done.push((
            format!("reference tables in {name}"),
            reseal_config::SecretUrl::new(url).to_string(),
            outcome,
            object,
        ));
    }
    let object = json!({"migrated": done.iter().map(|(.., object)| object).collect::<Vec<_>>()});
    context.output.show(&object, || {
        let line = |(what, place, outcome, _): &(String, String, Outcome, _)| match outcome {
            Outcome::Applied(n) => format!("{what}: {} applied to {place}\n", count(*n as u64, "migration")),
            Outcome::Current => format!("{what}: {place} is up to date\n"),
        };
        done.iter().map(line).collect()
    });
    Ok(Exit::Done)
}

fn applied(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Applied(n) => n,
        Outcome::Current => 0,
    }
}

/// The role that may create tables, where there is one of its own.
fn source_url(config: &Config, name: &str) -> Result<String, Failure> {
    let Some(source) = config.sources.iter().find(|s| s.name == name) else {
        let names: Vec<_> = config.sources.iter().map(|s| s.name.as_str()).collect();
        let known =
            if names.is_empty() { "there is none".to_owned() } else { format!("known are {}", names.join(", ")) };
        return Err(Failure::usage("unknown_source", format!("there is no [[source]] `{name}`: {known}")));
    };
    Ok(source.ddl_url.as_ref().unwrap_or(&source.url).expose().to_owned())
}

async fn connect(url: &str) -> Result<DatabaseConnection, Failure> {
    let failed = |e: String| Failure::new("source_unreachable", format!("the source cannot be reached: {e}"));
    let is_sqlite = url.starts_with("sqlite:");
    let mut options = ConnectOptions::new(if is_sqlite { url } else { "postgres://localhost" });
    options.sqlx_logging(false).max_connections(1).map_sqlx_sqlite_opts(|o| o.create_if_missing(true));
    if !is_sqlite {
        let reached = reach::options(url).map_err(|e| failed(e.to_string()))?;
        drop(reach::dial(&reached, Duration::from_secs(5)).await.map_err(|e| failed(e.to_string()))?);
        options.map_sqlx_postgres_opts(move |_| reached.clone());
    }
    Database::connect(options).await.map_err(|_| failed("the file cannot be opened".to_owned()))
}
