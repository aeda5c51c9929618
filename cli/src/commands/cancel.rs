//! `reseal cancel` and `reseal rollback`.

pub(crate) use super::pause::Args;

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
};
use reseal_entities::ledger::{cancel, read};
use serde_json::json;

pub(crate) async fn cancel(args: Args, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let txn = ledger.begin().await?;
    cancel::cancel(&txn, &actor(), args.id, args.reason.as_deref()).await?;
    txn.commit().await?;
    let status = read::status(ledger.db(), args.id).await?;
    context.output.show(&json!({"id": args.id, "state": status.state, "summary": status.summary}), || {
        format!("rotation {}: {}", args.id, status.summary)
    });
    Ok(Exit::Done)
}

pub(crate) async fn roll_back(args: Args, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let txn = ledger.begin().await?;
    let reverse = cancel::roll_back(&txn, &actor(), args.id, args.reason.as_deref()).await?;
    txn.commit().await?;
    let rotation = read::rotation(ledger.db(), reverse).await?;
    let object = json!({"id": args.id, "reverse": reverse, "keyset": rotation.keyset, "to_key_id": rotation.to_key_id});
    context.output.show(&object, || {
        format!(
            "rotation {} is turned round: rotation {reverse} makes key {} active again, see `reseal status {reverse} --watch`",
            args.id,
            rotation.to_key_id.unwrap_or_default()
        )
    });
    Ok(Exit::Done)
}
