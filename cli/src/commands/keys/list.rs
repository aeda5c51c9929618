//! `reseal keys list`.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Table, grouped, time},
};
use reseal_entities::{keys, ledger::keys as ledger_keys};
use serde_json::{Value, json};

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let keys = ledger_keys::all(ledger.db()).await?;
    let mut table =
        Table::new(&["keyset", "version#", "key id#", "state", "algorithm", "created?", "encryptions#?", "exported?"]);
    let mut objects = Vec::new();
    for k in keys {
        objects.push(object(&k));
        let state = if k.compromised_at.is_some() { format!("{}, compromised", k.state) } else { k.state.to_string() };
        table.row([
            k.keyset,
            k.version.to_string(),
            k.key_id.to_string(),
            state,
            super::kind(&k.algorithm, &k.prefix),
            time(k.created_at),
            grouped(k.encryptions),
            k.exported_at.map(time).unwrap_or_default(),
        ]);
    }
    context
        .output
        .show(&json!({"keys": objects}), || table.or("no key yet: make one with `reseal keys create default`"));
    Ok(Exit::Done)
}

/// A key as `--json` tells of it; what wraps it stays out.
pub(super) fn object(k: &keys::Model) -> Value {
    json!({
        "keyset": k.keyset, "version": k.version, "key_id": k.key_id, "state": k.state, "generation": k.generation,
        "algorithm": k.algorithm, "prefix": k.prefix, "kek_id": k.kek_id, "encryptions": k.encryptions,
        "created_at": time(k.created_at), "activated_at": k.activated_at.map(time),
        "deactivated_at": k.deactivated_at.map(time), "destroyed_at": k.destroyed_at.map(time),
        "exported_at": k.exported_at.map(time), "compromised_at": k.compromised_at.map(time),
        "compromised_reason": k.compromised_reason,
    })
}
