//! `reseal catalog`: what every proof covers. Registered columns, sources, and what the scan leaves out.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Table, time},
};
use reseal_engine::plan;
use reseal_entities::ledger::{Ledger, catalog, scope, sources};
use serde_json::json;

#[derive(clap::Subcommand)]
pub(crate) enum Catalog {
    /// Shows the registered columns and sources, and what the scan of other columns leaves out
    List,
    /// Registers the columns that reseal.toml declares, as the next rotation would
    Register,
    /// Takes a column out: one that was dropped, or that was registered wrongly
    Forget {
        /// table.column, or source:schema.table.column
        column: String,
        /// Really
        #[arg(long)]
        yes: bool,
    },
    /// Takes a source out whose database is gone: proofs no longer look there
    ForgetSource {
        /// Its name
        source: String,
        /// Really
        #[arg(long)]
        yes: bool,
    },
    /// Takes an exclusion out: proofs look there again
    Include {
        /// source:pattern, as `reseal catalog list` shows it
        exclusion: String,
    },
}

async fn register(context: &Context) -> Result<Exit, Failure> {
    let engine = ground::engine_only(context.config()?, &context.output).await?;
    plan::register(&engine).await?;
    let registered = catalog::registered(engine.ledger.db()).await?;
    context.output.show(&json!({"catalog": registered}), || match registered.len() {
        1 => "1 column is registered".to_owned(),
        columns => format!("{columns} columns are registered"),
    });
    Ok(Exit::Done)
}

pub(crate) async fn run(command: Catalog, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    match command {
        Catalog::List => list(&ledger, context).await?,
        Catalog::Register => return register(context).await,
        Catalog::Forget { column, yes } => {
            let found = &catalog::named(ledger.db(), &column).await?;
            if !yes {
                let message = format!(
                    "{} would no longer be re-encrypted, and its old values would block the next proof: say --yes if that is meant",
                    found.path()
                );
                return Err(Failure::usage("not_confirmed", message));
            }
            let txn = ledger.begin().await?;
            let unproved = catalog::forget(&txn, &actor(), found).await?;
            txn.commit().await?;
            let object = json!({"forgotten": found.path(), "proofs_void_of_rotations": unproved});
            context.output.show(&object, || {
                let back = unproved.iter().map(|id| {
                    format!("\nthe proof of rotation {id} covered it: the rotation proves again, and its waiting time begins again")
                });
                format!("{} is forgotten{}", found.path(), back.collect::<String>())
            });
        }
        Catalog::ForgetSource { source, yes } => {
            if !yes {
                let message = format!(
                    "proofs would no longer look at source `{source}`, and a key could be destroyed that copies there need: \
                     say --yes if the database is gone"
                );
                return Err(Failure::usage("not_confirmed", message));
            }
            let txn = ledger.begin().await?;
            scope::forget_source(&txn, &actor(), &source).await?;
            txn.commit().await?;
            context.output.show(&json!({"forgotten_source": source}), || format!("source `{source}` is forgotten"));
        }
        Catalog::Include { exclusion } => {
            let txn = ledger.begin().await?;
            let included = scope::include(&txn, &actor(), &exclusion).await?;
            txn.commit().await?;
            context.output.show(&json!({"included": included.path()}), || {
                format!("{} is looked at again; take it out of every ignore_columns, too", included.path())
            });
        }
    }
    Ok(Exit::Done)
}

async fn list(ledger: &Ledger, context: &Context) -> Result<(), Failure> {
    let db = ledger.db();
    let (registered, sources) = (catalog::registered(db).await?, sources::all(db).await?);
    let exclusions = scope::exclusions(db).await?;
    let mut table = Table::new(&["column", "keyset", "format", "associated data?", "since?"]);
    for c in &registered {
        let format = match c.adopted_at {
            Some(at) => format!("{} until {}", c.format, time(at)),
            None => c.format.clone(),
        };
        let format = if c.encoding == "bytes" { format } else { format!("{format}, {}", c.encoding) };
        table.row([c.path(), c.keyset.clone(), format, c.associated_data.clone(), time(c.registered_at)]);
    }
    let mut of_sources = Table::new(&["source", "database", "since?"]);
    for source in &sources {
        of_sources.row([source.name.clone(), source.identity.clone(), time(source.registered_at)]);
    }
    let mut left_out = Table::new(&["proofs do not look at", "by", "since?"]);
    for exclusion in &exclusions {
        left_out.row([exclusion.path(), exclusion.registered_by.clone(), time(exclusion.registered_at)]);
    }
    let object = json!({
        "catalog": registered,
        "sources": sources.iter().map(|s| json!({"name": s.name, "database": s.identity, "registered_at": s.registered_at}))
            .collect::<Vec<_>>(),
        "exclusions": exclusions,
    });
    context.output.show(&object, || {
        let mut text = table.or("no column is registered: see `reseal check`");
        for more in [of_sources, left_out].iter().filter(|table| !table.is_empty()) {
            text += &format!("\n\n{more}");
        }
        text
    });
    Ok(())
}
