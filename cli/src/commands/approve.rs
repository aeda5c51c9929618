//! `reseal approve`: the second person's word.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
};
use reseal_entities::ledger::{approve, read};
use serde_json::json;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The rotation, which waits
    id: i64,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let txn = ledger.begin().await?;
    let approved = approve::approve(&txn, &actor(), args.id, None).await?;
    txn.commit().await?;
    let status = read::status(ledger.db(), args.id).await?;
    let object = json!({
        "id": args.id, "state": status.state, "approved_by": approved.by, "changed": approved.changed,
        "summary": status.summary,
    });
    context.output.show(&object, || {
        let before = if approved.changed { "" } else { " before" };
        format!("rotation {} was approved{before} by {}: {}", args.id, approved.by, status.summary)
    });
    Ok(Exit::Done)
}
