//! `reseal retry`: failed batches and quarantined rows again.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::count,
};
use reseal_entities::ledger::retry::{self, What};
use serde_json::json;

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["batch", "all"])))]
pub(crate) struct Args {
    /// The rotation
    id: i64,
    /// One batch, failed or with quarantined rows
    #[arg(long, value_name = "N")]
    batch: Option<i64>,
    /// Every failed batch and every quarantined row
    #[arg(long)]
    all: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let txn = ledger.begin().await?;
    let what = args.batch.map_or(What::All, What::Batch);
    let retried = retry::retry(&txn, &actor(), args.id, what).await?;
    txn.commit().await?;
    let object = json!({"id": args.id, "batches": retried.batches, "rows": retried.rows});
    context.output.show(&object, || {
        let (batches, rows) = (count(retried.batches, "batch"), count(retried.rows, "quarantined row"));
        format!("rotation {}: {batches} and {rows} will be looked at again", args.id)
    });
    Ok(Exit::Done)
}
