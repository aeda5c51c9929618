//! `reseal keys clear`: asks, and says what is in the way. Only a worker clears, on the proof.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::time,
};
use reseal_entities::{
    ledger::read,
    state::{KeyState, RotationState},
};
use serde_json::json;

pub(super) async fn run(key_id: u32, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let key_id = i64::from(key_id);
    let key = read::key(ledger.db(), key_id).await?;
    if key.state == KeyState::Destroyed {
        let at = key.destroyed_at.map(time);
        context.output.show(&json!({"key_id": key_id, "state": key.state, "destroyed_at": at}), || {
            format!("key {key_id} is destroyed already, since {}", at.as_deref().unwrap_or("long ago"))
        });
        return Ok(Exit::Done);
    }
    let Some(rotation) = read::retiring(ledger.db(), &key).await? else {
        return Err(in_use(format!(
            "key {key_id} is {} and no rotation retires it: only a rotation with its proof clears a key, see `reseal rotate {}`",
            key.state, key.keyset
        )));
    };
    let status = read::status(ledger.db(), rotation).await?;
    let ready = matches!(status.state, RotationState::Waiting | RotationState::Clearing);
    let in_the_way: Vec<_> =
        status.gate.iter().filter(|c| !c.met).map(|c| format!("{} ({})", c.what, c.detail)).collect();
    if !in_the_way.is_empty() || !ready {
        let conditions = if in_the_way.is_empty() { status.summary } else { in_the_way.join("; ") };
        return Err(in_use(format!(
            "key {key_id} is {} and is not cleared; not met for rotation {rotation}: {conditions}",
            key.state
        )));
    }
    let object = json!({"key_id": key_id, "state": key.state, "rotation": rotation, "gate": status.gate, "workers": status.workers});
    context.output.show(&object, || {
        let who = if status.workers == 0 { "no worker is alive: start one, and it clears" } else { "a worker clears" };
        format!("every condition is met; {who} key {key_id} now: see `reseal status {rotation} --watch`")
    });
    Ok(Exit::Done)
}

fn in_use(message: String) -> Failure {
    Failure::new("key_in_use", message)
}
