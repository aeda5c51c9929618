//! `reseal keys compromise` and `reseal keys dismiss`: what a key admin says of keys and of their use.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::time,
};
use reseal_entities::{
    ledger::{compromise, hold, read},
    state::KeyState,
};
use serde_json::json;

#[derive(clap::Args)]
pub(crate) struct Compromise {
    /// The key
    key_id: u32,
    /// What happened, for the audit
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

#[derive(clap::Args)]
pub(crate) struct Dismiss {
    /// The rotation that is held
    rotation: i64,
    /// What you found, for the audit
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    note: String,
}

pub(super) async fn mark(args: Compromise, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let key_id = i64::from(args.key_id);
    let txn = ledger.begin().await?;
    compromise::mark(&txn, &actor(), key_id, &args.reason).await?;
    txn.commit().await?;
    let key = read::key(ledger.db(), key_id).await?;
    let at = key.compromised_at.map(time);
    let object = json!({"key_id": key_id, "state": key.state, "compromised_at": at, "compromised_reason": args.reason});
    context.output.show(&object, || {
        let next = match key.state {
            KeyState::Active => format!("it still encrypts: `reseal rotate {} --wait` retires it", key.keyset),
            KeyState::PreActive => "it was never used: do not promote it, make another one".to_owned(),
            KeyState::Deactivated | KeyState::Suspended => {
                format!("it is {}: see `reseal keys show {key_id}` for what its clearing waits for", key.state)
            }
            KeyState::Destroyed => "it is destroyed; copies of old values are as readable as before".to_owned(),
        };
        format!("key {key_id} is marked as compromised; {next}")
    });
    Ok(Exit::Done)
}

pub(super) async fn dismiss(args: Dismiss, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let txn = ledger.begin().await?;
    let held = hold::dismiss(&txn, &actor(), args.rotation, &args.note, None).await?;
    txn.commit().await?;
    let status = read::status(ledger.db(), args.rotation).await?;
    let object = json!({"id": args.rotation, "dismissed": held, "state": status.state, "summary": status.summary});
    context.output.show(&object, || {
        format!("what held rotation {} is dismissed ({held}); it is {} and goes on", args.rotation, status.state)
    });
    Ok(Exit::Done)
}
