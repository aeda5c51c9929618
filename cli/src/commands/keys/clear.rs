//! `reseal keys clear`: asks, and says what is in the way. Only a worker clears, on the proof.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::time,
};
use reseal_entities::{
    ledger::{
        LedgerError,
        clearing::{self, Clearing},
    },
    state::KeyState,
};
use serde_json::json;

pub(super) async fn run(key_id: u32, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    match clearing::ask(ledger.db(), i64::from(key_id)).await? {
        Clearing::Destroyed { at } => {
            let at = at.map(time);
            let object = json!({"key_id": key_id, "state": KeyState::Destroyed, "destroyed_at": at});
            context.output.show(&object, || {
                format!("key {key_id} is destroyed already, since {}", at.as_deref().unwrap_or("long ago"))
            });
        }
        Clearing::InUse(in_use) => return Err(LedgerError::from(in_use).into()),
        Clearing::Ready(ready) => {
            let rotation = ready.rotation_id;
            let object = json!({
                "key_id": key_id, "state": ready.state, "rotation": rotation, "gate": ready.gate, "workers": ready.workers,
            });
            context.output.show(&object, || {
                let idle = ready.workers == 0;
                let who = if idle { "no worker is alive: start one, and it clears" } else { "a worker clears" };
                format!("every condition is met; {who} key {key_id} now: see `reseal status {rotation} --watch`")
            });
        }
    }
    Ok(Exit::Done)
}
