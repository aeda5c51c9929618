//! `reseal cancel` and `reseal rollback`.

pub(crate) use super::pause::Args;

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
};
use reseal_entities::ledger::{
    cancel::{self, TurnedRound},
    read,
};
use serde_json::json;

pub(crate) async fn cancel(args: Args, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let txn = ledger.begin().await?;
    let changed = cancel::cancel(&txn, &actor(), args.id, args.reason.as_deref()).await?;
    txn.commit().await?;
    let status = read::status(ledger.db(), args.id).await?;
    let object = json!({"id": args.id, "state": status.state, "summary": status.summary, "changed": changed});
    context.output.show(&object, || match changed {
        true => format!("rotation {}: {}", args.id, status.summary),
        false => format!("rotation {} was cancelled before: nothing is changed", args.id),
    });
    Ok(Exit::Done)
}

pub(crate) async fn roll_back(args: Args, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let txn = ledger.begin().await?;
    let TurnedRound { reverse, changed } = cancel::roll_back(&txn, &actor(), args.id, args.reason.as_deref()).await?;
    txn.commit().await?;
    let rotation = read::rotation(ledger.db(), reverse).await?;
    let key = rotation.to_key_id;
    let object =
        json!({"id": args.id, "reverse": reverse, "keyset": rotation.keyset, "to_key_id": key, "changed": changed});
    context.output.show(&object, || match (changed, key.unwrap_or_default()) {
        (true, key) => format!(
            "rotation {} is turned round: rotation {reverse} makes key {key} active again, see `reseal status {reverse} --watch`",
            args.id
        ),
        (false, key) => format!(
            "rotation {} was turned round before, by rotation {reverse} to key {key}: see `reseal status {reverse}`",
            args.id
        ),
    });
    Ok(Exit::Done)
}
