//! `reseal resume`.

use super::pause;
use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
};
use reseal_entities::ledger::steps;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The rotation
    id: i64,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let txn = ledger.begin().await?;
    let changed = steps::resume(&txn, args.id, &actor()).await?;
    txn.commit().await?;
    pause::tell(&ledger, args.id, changed, "resumed", context).await
}
