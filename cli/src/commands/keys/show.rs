//! `reseal keys show`: everything that is known of one key.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Output, grouped, time},
};
use reseal_entities::{
    key_limits::{Due, encryptions_max},
    keys,
    ledger::{
        Ledger, LedgerError, now_ms, presence,
        read::{self, Condition},
    },
    state::{KeyState, RotationState},
};
use serde_json::{Value, json};
use std::time::Duration;

struct Known {
    key: keys::Model,
    cryptoperiod: Option<Duration>,
    now: i64,
    promoted_by: Option<(i64, RotationState)>,
    retired_by: Option<(i64, RotationState)>,
    /// Of the rotation that retires it.
    gate: Vec<Condition>,
    loaded_by: Vec<String>,
}

pub(super) async fn run(key_id: u32, context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let ledger = ground::ledger_only(&config).await?;
    let known = look(&ledger, i64::from(key_id), config.rotation.cryptoperiod).await?;
    context.output.show(&known.object(), || known.text(&context.output));
    Ok(Exit::Done)
}

async fn look(ledger: &Ledger, key_id: i64, cryptoperiod: Option<Duration>) -> Result<Known, Failure> {
    let db = ledger.db();
    let key = read::key(db, key_id).await?;
    let promoted_by = read::promoting(db, key_id).await?.map(|r| (r.id, r.state));
    let (mut retired_by, mut gate) = (None, Vec::new());
    if let Some(id) = read::retiring(db, &key).await? {
        let status = read::status(db, id).await?;
        (retired_by, gate) = (Some((id, status.state)), status.gate);
    }
    let alive = presence::alive(db).await?.into_iter();
    let loaded_by = alive.filter(|w| w.loaded().contains(&key_id)).map(|w| w.name).collect();
    let now = now_ms(db).await.map_err(LedgerError::from)?;
    Ok(Known { key, cryptoperiod, now, promoted_by, retired_by, gate, loaded_by })
}

impl Known {
    fn object(&self) -> Value {
        let rotation = |r: &(i64, RotationState)| json!({"id": r.0, "state": r.1});
        let mut object = super::list::object(&self.key, self.cryptoperiod);
        object["promoted_by"] = json!(self.promoted_by.as_ref().map(rotation));
        object["retired_by"] = json!(self.retired_by.as_ref().map(rotation));
        object["gate"] = json!(self.gate);
        object["loaded_by"] = json!(self.loaded_by);
        object
    }

    fn text(&self, output: &Output) -> String {
        let k = &self.key;
        let title = output.strong(&format!("key {}", k.key_id));
        let mut text = format!("{title} of keyset {}: version {}, {}\n", k.keyset, k.version, k.state);
        if let Some(at) = k.compromised_at {
            let reason = k.compromised_reason.as_deref().unwrap_or_default();
            text += &format!("{}\n", output.verdict(false, &format!("compromised since {}: {reason}", time(at))));
        }
        let rotation = |r: Option<(i64, RotationState)>| r.map(|(id, state)| format!("rotation {id}, {state}"));
        let loaded = if self.loaded_by.is_empty() { "no worker".to_owned() } else { self.loaded_by.join(", ") };
        let lines = [
            ("algorithm", Some(super::kind(&k.algorithm, &k.prefix))),
            ("kek", Some(k.kek_id.clone())),
            ("generation", Some(format!("{}: so often it became active", k.generation))),
            ("encryptions", Some(self.encryptions())),
            ("created", Some(time(k.created_at))),
            ("activated", k.activated_at.map(time)),
            ("cryptoperiod", self.cryptoperiod()),
            ("deactivated", k.deactivated_at.map(time)),
            ("destroyed", k.destroyed_at.map(time)),
            ("exported", Some(k.exported_at.map_or_else(|| "never".to_owned(), time))),
            ("promoted by", rotation(self.promoted_by)),
            ("retired by", rotation(self.retired_by)),
            ("loaded by", Some(loaded)),
        ];
        for (name, value) in lines {
            text.extend(value.map(|value| format!("  {name:<13}{value}\n")));
        }
        text + &self.clearing(output)
    }

    fn cryptoperiod(&self) -> Option<String> {
        let (used, ends_at) =
            (self.key.age_used(self.cryptoperiod, self.now)?, self.key.cryptoperiod_ends_at(self.cryptoperiod)?);
        let word = match used.due() {
            Due::Calm => String::new(),
            due => format!("; {}", due.as_str()),
        };
        Some(format!("{} %, over at {}{word}", used.percent(), time(ends_at)))
    }

    fn encryptions(&self) -> String {
        let counted = grouped(self.key.encryptions);
        match encryptions_max(&self.key.algorithm) {
            Some(max) => {
                let percent = self.key.encryptions * 100 / max;
                format!("{counted} of {} ({percent} %), counted by workers and storage", grouped(max))
            }
            None => format!("{counted}, without a limit; counted by workers and storage"),
        }
    }

    fn clearing(&self, output: &Output) -> String {
        let k = &self.key;
        if k.state == KeyState::Destroyed {
            return String::new();
        }
        let Some((id, state)) = self.retired_by else {
            let how = match k.state {
                KeyState::PreActive => format!("`reseal rotate {} --to {}` promotes it", k.keyset, k.key_id),
                _ => format!("`reseal rotate {}` retires it", k.keyset),
            };
            return format!("\nno rotation retires it, so nothing clears it: {how}\n");
        };
        if matches!(state, RotationState::Cancelled | RotationState::RolledBack) {
            return format!("\nrotation {id} no longer retires it: the next rotation of `{}` clears it\n", k.keyset);
        }
        format!("\nbefore rotation {id} clears it:\n{}", super::super::status::gate(&self.gate, output))
    }
}
