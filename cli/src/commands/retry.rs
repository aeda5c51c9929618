//! `reseal retry`: failed batches and quarantined rows again.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::count,
};
use reseal_entities::ledger::retry::{self, RetryFilter, What};
use serde_json::json;

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["batch", "all", "code", "table"])))]
pub(crate) struct Args {
    /// The rotation
    id: i64,
    /// One batch, failed or with quarantined rows
    #[arg(long, value_name = "N", conflicts_with_all = ["all", "code", "table"])]
    batch: Option<i64>,
    /// Every failed batch and every quarantined row
    #[arg(long, conflicts_with_all = ["code", "table"])]
    all: bool,
    /// What failed, or was quarantined, for this reason
    #[arg(long)]
    code: Option<String>,
    /// What failed, or was quarantined, in this table: its name, or source:schema.table
    #[arg(long)]
    table: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let txn = ledger.begin().await?;
    let (id, actor) = (args.id, actor());
    let retried = if args.code.is_some() || args.table.is_some() {
        let filter = RetryFilter { code: args.code, table: args.table, quarantined: true, ..RetryFilter::default() };
        let retried = retry::retry_matching(&txn, &actor, id, &filter).await?;
        if (retried.applied, retried.rows) == (0, 0) {
            let message = format!("nothing of rotation {id} that has failed fits: see `reseal status {id}`");
            return Err(Failure::new("nothing_to_retry", message));
        }
        retried
    } else {
        retry::retry(&txn, &actor, id, args.batch.map_or(What::All, What::Batch)).await?
    };
    txn.commit().await?;
    let object = json!({"id": id, "batches": retried.applied, "rows": retried.rows});
    context.output.show(&object, || {
        let (batches, rows) = (count(retried.applied, "batch"), count(retried.rows, "quarantined row"));
        format!("rotation {id}: {batches} and {rows} will be looked at again")
    });
    Ok(Exit::Done)
}
