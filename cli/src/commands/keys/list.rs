//! `reseal keys list`.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Table, grouped, time},
};
use reseal_entities::{
    key_limits::{self, Due},
    keys,
    ledger::{LedgerError, keys as ledger_keys, now_ms},
};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let (ledger, cryptoperiod) = (ground::ledger_only(&config).await?, config.rotation.cryptoperiod);
    let now = now_ms(ledger.db()).await.map_err(LedgerError::from)?;
    let keys = ledger_keys::all(ledger.db()).await?;
    let mut table = Table::new(&[
        "keyset",
        "version#",
        "key id#",
        "state",
        "algorithm",
        "created?",
        "encryptions#?",
        "due?",
        "exported?",
    ]);
    let mut objects = Vec::new();
    for k in keys {
        objects.push(object(&k, cryptoperiod));
        let due = due(&k, cryptoperiod, now);
        let state = if k.compromised_at.is_some() { format!("{}, compromised", k.state) } else { k.state.to_string() };
        table.row([
            k.keyset,
            k.version.to_string(),
            k.key_id.to_string(),
            state,
            super::kind(&k.algorithm, &k.prefix),
            time(k.created_at),
            grouped(k.encryptions),
            due,
            k.exported_at.map(time).unwrap_or_default(),
        ]);
    }
    context
        .output
        .show(&json!({"keys": objects}), || table.or("no key yet: make one with `reseal keys create default`"));
    Ok(Exit::Done)
}

/// What an active key has used of its limits; empty: nothing to worry about, and no cryptoperiod is set.
fn due(k: &keys::Model, cryptoperiod: Option<Duration>, now: i64) -> String {
    let age = k.age_used(cryptoperiod, now).map(|used| (used.due(), format!("age {} %", used.percent())));
    let worn = k.encryptions_used().filter(|used| used.due() != Due::Calm);
    let worn = worn.map(|used| (used.due(), format!("encryptions {} %", used.percent())));
    let told = [age, worn].into_iter().flatten().map(|(due, text)| match due {
        Due::Calm => text,
        due => format!("{text}, {}", due.as_str()),
    });
    told.collect::<Vec<_>>().join("; ")
}

/// A key as `--json` tells of it; what wraps it stays out.
pub(super) fn object(k: &keys::Model, cryptoperiod: Option<Duration>) -> Value {
    json!({
        "keyset": k.keyset, "version": k.version, "key_id": k.key_id, "state": k.state, "generation": k.generation,
        "algorithm": k.algorithm, "prefix": k.prefix, "kek_id": k.kek_id, "encryptions": k.encryptions,
        "encryptions_max": key_limits::encryptions_max(&k.algorithm),
        "cryptoperiod_ms": cryptoperiod.map(key_limits::milliseconds),
        "cryptoperiod_ends_at": k.cryptoperiod_ends_at(cryptoperiod).map(time),
        "created_at": time(k.created_at), "activated_at": k.activated_at.map(time),
        "deactivated_at": k.deactivated_at.map(time), "destroyed_at": k.destroyed_at.map(time),
        "exported_at": k.exported_at.map(time), "compromised_at": k.compromised_at.map(time),
        "compromised_reason": k.compromised_reason,
    })
}
