//! `reseal catalog`: the registered columns, which every proof covers.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Table, time},
};
use reseal_engine::plan;
use reseal_entities::ledger::catalog;
use serde_json::json;

#[derive(clap::Subcommand)]
pub(crate) enum Catalog {
    /// Shows the registered columns
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
        Catalog::List => {
            let registered = catalog::registered(ledger.db()).await?;
            let mut table = Table::new(&["column", "keyset", "format", "associated data?", "since?"]);
            for c in &registered {
                let format = match c.adopted_at {
                    Some(at) => format!("{} until {}", c.format, time(at)),
                    None => c.format.clone(),
                };
                let format = if c.encoding == "bytes" { format } else { format!("{format}, {}", c.encoding) };
                table.row([c.path(), c.keyset.clone(), format, c.associated_data.clone(), time(c.registered_at)]);
            }
            let none = "no column is registered: see `reseal check`";
            context.output.show(&json!({"catalog": registered}), || table.or(none));
        }
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
    }
    Ok(Exit::Done)
}
