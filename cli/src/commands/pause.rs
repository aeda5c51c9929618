//! `reseal pause`.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
};
use reseal_entities::ledger::{Ledger, read, steps};
use serde_json::json;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The rotation
    pub(super) id: i64,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let txn = ledger.begin().await?;
    let changed = steps::pause(&txn, args.id, &actor(), args.reason.as_deref()).await?;
    txn.commit().await?;
    tell(&ledger, args.id, changed, "paused", context).await
}

/// Shared with `resume`: how the rotation is now.
pub(super) async fn tell(
    ledger: &Ledger,
    id: i64,
    changed: bool,
    word: &str,
    context: &Context,
) -> Result<Exit, Failure> {
    let rotation = read::rotation(ledger.db(), id).await?;
    let object = json!({
        "id": id, "state": rotation.state, "paused": rotation.paused_at.is_some(), "paused_by": rotation.paused_by,
        "changed": changed,
    });
    context.output.show(&object, || match (changed, word, &rotation.paused_by) {
        (true, "paused", _) => {
            format!("rotation {id} is paused while {}: `reseal resume {id}` lets it go on", rotation.state)
        }
        (true, ..) => format!("rotation {id} goes on while {}", rotation.state),
        (false, _, Some(who)) => format!("rotation {id} is already paused by {who}"),
        (false, _, None) => format!("rotation {id} is not paused"),
    });
    Ok(Exit::Done)
}
