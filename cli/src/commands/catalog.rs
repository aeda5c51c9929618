//! `reseal catalog`: the registered columns, which every proof covers.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Table, time},
};
use reseal_entities::ledger::catalog;
use serde_json::json;

#[derive(clap::Subcommand)]
pub(crate) enum Catalog {
    /// Shows the registered columns
    List,
    /// Takes a column out: one that was dropped, or that was registered wrongly
    Forget {
        /// table.column, or source:schema.table.column
        column: String,
        /// Really
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) async fn run(command: Catalog, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let registered = catalog::registered(ledger.db()).await?;
    match command {
        Catalog::List => {
            let mut table = Table::new(&["column", "keyset", "associated data", "since"]);
            for c in &registered {
                table.row([c.path(), c.keyset.clone(), c.associated_data.clone(), time(c.registered_at)]);
            }
            let none = "no column is registered: see `reseal check`";
            context.output.show(&json!({"catalog": registered}), || table.or(none));
        }
        Catalog::Forget { column, yes } => {
            let named = |path: &str, table: &str, name: &str| path == column || format!("{table}.{name}") == column;
            let Some(found) = registered.iter().find(|c| named(&c.path(), &c.table_name, &c.column_name)) else {
                let message = format!("`{column}` is not registered: see `reseal catalog list`");
                return Err(Failure::new("unknown_column", message));
            };
            if !yes {
                let message = format!(
                    "{} would no longer be re-encrypted, and its old values would block the next proof: say --yes if that is meant",
                    found.path()
                );
                return Err(Failure::usage("not_confirmed", message));
            }
            let txn = ledger.begin().await?;
            catalog::forget(&txn, &actor(), found).await?;
            txn.commit().await?;
            context.output.show(&json!({"forgotten": found.path()}), || format!("{} is forgotten", found.path()));
        }
    }
    Ok(Exit::Done)
}
