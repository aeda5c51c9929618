//! One rotation in full.

use crate::{
    commands::limit,
    failure::Failure,
    output::{Output, Table, count, grouped, per_second, time},
};
use reseal_entities::ledger::{
    Ledger,
    read::{self, Condition, KeyStatus, RotationStatus},
    throttle::Limits,
};
use serde::Serialize;

const FAILURES_SHOWN: u64 = 100;

/// A batch that waits for a person.
#[derive(Serialize)]
pub(super) struct FailedBatch {
    batch: i64,
    table: String,
    after_key: Option<String>,
    up_to_key: String,
    rows: i64,
    attempts: i32,
    code: Option<String>,
    detail: Option<String>,
}

#[derive(Serialize)]
pub(super) struct One {
    #[serde(flatten)]
    pub status: RotationStatus,
    failures: Vec<FailedBatch>,
    advice: Vec<String>,
}

pub(super) async fn look(ledger: &Ledger, id: i64) -> Result<One, Failure> {
    let db = ledger.db();
    let status = read::status(db, id).await?;
    let tables = reseal_entities::ledger::plan::tables(db, id).await?;
    let failed = read::failed_batches(db, id, FAILURES_SHOWN).await?.into_iter().map(|b| FailedBatch {
        batch: b.id,
        table: tables.iter().find(|t| t.id == b.planned_table_id).map(|t| t.path()).unwrap_or_default(),
        after_key: b.after_key,
        up_to_key: b.up_to_key,
        rows: b.rows,
        attempts: b.attempts,
        code: b.code,
        detail: b.detail,
    });
    let (failures, advice) = (failed.collect(), advice(&status));
    Ok(One { status, failures, advice })
}

/// What a person does now; empty when nothing is to be done.
pub(crate) fn advice(s: &RotationStatus) -> Vec<String> {
    let failed = s.batches.get("failed").copied().unwrap_or(0);
    let mut advice = Vec::new();
    if let Some(who) = &s.paused_by {
        advice.push(format!("rotation {0} is paused by {who}: `reseal resume {0}` lets it go on", s.id));
    }
    if s.quarantined > 0 {
        advice.push(format!(
            "{} quarantined: see `reseal quarantine list --rotation {1}`, put them right, then `reseal retry {1} --all` or `reseal quarantine resolve ID`",
            count(s.quarantined, "row"), s.id
        ));
    }
    if failed > 0 {
        let what = if failed == 1 { "1 batch has" } else { &format!("{} batches have", grouped(failed)) };
        advice.push(format!("{what} failed: see `reseal status {0}`, then `reseal retry {0} --all`", s.id));
    }
    if advice.is_empty() && s.waits_for_approval() && s.code.as_deref() != Some("key_used") {
        advice.push(format!(
            "rotation {0} waits for somebody other than {1}: `reseal approve {0}`",
            s.id, s.requested_by
        ));
    }
    if advice.is_empty() && s.needs_attention {
        let code = s.code.as_deref().unwrap_or("unknown");
        let detail = s.detail.as_deref().unwrap_or("its step fails");
        advice.push(format!("rotation {} is stopped while {} ({code}): {detail}", s.id, s.state));
    }
    advice
}

/// Each condition before clearing, met or not, and what is in the way.
pub(crate) fn gate(conditions: &[Condition], output: &Output) -> String {
    let mut text = String::new();
    for condition in conditions {
        let (mark, why) =
            if condition.met { ("yes", String::new()) } else { ("no ", format!(": {}", condition.detail)) };
        text += &format!("  {}  {}{why}\n", output.verdict(condition.met, mark), condition.what);
    }
    text
}

/// How fast it goes and how long that will take, where either is known.
fn pace(s: &RotationStatus) -> Option<String> {
    let rate = per_second(s.rows_per_second?);
    Some(match s.time_left {
        Some(left) => format!("{rate}, {left} of re-encrypting"),
        None => rate,
    })
}

impl One {
    pub(super) fn text(&self, output: &Output) -> String {
        let s = &self.status;
        let mut text =
            format!("{} of keyset {}: {}\n", output.strong(&format!("rotation {}", s.id)), s.keyset, s.summary);
        text += &format!("requested {}", time(s.requested_at));
        if let Some(at) = s.completed_at {
            text += &format!(", completed {}", time(at));
        }
        text += &format!("; {} alive\n", count(s.workers as u64, "worker"));
        if s.limits != Limits::default() {
            text += &format!("limits: {}\n", limit::told(&s.limits));
        }
        if let Some(line) = pace(s) {
            text += &format!("{line}\n");
        }
        if s.throttled_ms > 0 {
            text += &format!("stood still for {} s so far, throttled\n", s.throttled_ms / 1_000);
        }
        for advice in &self.advice {
            text += &format!("{}\n", output.verdict(false, advice));
        }
        text + &self.tables() + &self.keys() + &self.writers() + &self.gate(output) + &self.failures()
    }

    fn tables(&self) -> String {
        let s = &self.status;
        if s.tables.is_empty() {
            return String::new();
        }
        let mut table =
            Table::new(&["table", "rows#", "done#", "#", "re-encrypted#", "changed underneath#?", "quarantined#"]);
        for t in &s.tables {
            let percent = if t.rows > 0 { t.rows_done * 100 / t.rows } else { 100 };
            table.row([
                t.table.clone(),
                grouped(t.rows),
                grouped(t.rows_done),
                format!("{percent:>3} %"),
                grouped(t.reencrypted),
                grouped(t.changed_underneath),
                grouped(t.quarantined),
            ]);
        }
        let batches: Vec<_> = s.batches.iter().map(|(state, n)| format!("{} {state}", grouped(*n))).collect();
        let batches = if batches.is_empty() { "none yet".to_owned() } else { batches.join(", ") };
        format!("\n{table}batches: {batches}\n")
    }

    fn keys(&self) -> String {
        let tell =
            |what: &str, k: &KeyStatus| format!("{what} key: {} (version {}), {}\n", k.key_id, k.version, k.state);
        let new = self.status.new_key.iter().map(|k| tell("new", k));
        let keys: String = new.chain(self.status.old_keys.iter().map(|k| tell("old", k))).collect();
        if keys.is_empty() { keys } else { format!("\n{keys}") }
    }

    fn writers(&self) -> String {
        if self.status.writers.is_empty() {
            return String::new();
        }
        let straggles = |name: &str| self.status.stragglers.iter().any(|s| s.name == name);
        let mut table = Table::new(&["application", "writes with key#", "", "last seen"]);
        for w in &self.status.writers {
            let straggler = if straggles(&w.name) { "straggler" } else { "" };
            table.row([w.name.clone(), w.key_id.to_string(), straggler.to_owned(), time(w.seen_at)]);
        }
        format!("\n{table}")
    }

    fn gate(&self, output: &Output) -> String {
        format!("\nbefore the old key is cleared:\n{}", gate(&self.status.gate, output))
    }

    fn failures(&self) -> String {
        if self.failures.is_empty() {
            return String::new();
        }
        let mut table = Table::new(&["batch#", "table", "up to?", "rows#?", "attempts#?", "code", "why"]);
        for f in &self.failures {
            let word = |text: &Option<String>| text.clone().unwrap_or_default();
            table.row([
                f.batch.to_string(),
                f.table.clone(),
                f.up_to_key.clone(),
                grouped(f.rows),
                f.attempts.to_string(),
                word(&f.code),
                word(&f.detail),
            ]);
        }
        format!("\n{table}")
    }
}
