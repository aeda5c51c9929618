//! Rows of the ledger in the shapes of the API.

use crate::api;
use reseal_entities::{
    attempts, audit, batches, key_limits, keys,
    ledger::{
        failures::Failures,
        operations::OperationStatus,
        presence::Remembered,
        read::{Condition, KeyStatus, RotationStatus, WriterStatus},
    },
    operations, quarantine, rotations,
    state::in_words,
};
use std::time::{Duration, UNIX_EPOCH};

/// Unix milliseconds in RFC 3339.
pub(super) fn time(ms: i64) -> String {
    // Beyond the year 9999 there is no RFC 3339.
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0).min(253_402_300_799_999));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// A rotation in a list; an ended one needs no status.
pub(super) fn rotation(r: rotations::Model, status: Option<&RotationStatus>) -> api::Rotation {
    let ended = r.completed_at.map(|at| format!("{} at {}", in_words(r.state), time(at)));
    api::Rotation {
        id: r.id,
        keyset: r.keyset,
        state: r.state.into(),
        summary: status.map(|s| s.summary.clone()).or(ended).unwrap_or_default(),
        needs_attention: status.is_some_and(|s| s.needs_attention),
        requested_by: r.requested_by,
        reason: r.reason,
        to_key_id: r.to_key_id,
        from_key_id: r.from_key_id,
        reverses: r.reverses,
        paused_by: r.paused_at.and(r.paused_by),
        requested_at: time(r.requested_at),
        completed_at: r.completed_at.map(time),
    }
}

/// A rotation in full.
pub(super) fn rotation_detail(r: rotations::Model, s: RotationStatus) -> api::RotationDetail {
    let limits =
        api::Limits { rows_per_second: s.limits.rows_per_second, lanes: s.limits.lanes, batches: s.limits.batches };
    let table = |t: reseal_entities::ledger::read::TableStatus| api::TableProgress {
        table: t.table,
        rows: t.rows,
        rows_done: t.rows_done,
        reencrypted: t.reencrypted,
        changed_underneath: t.changed_underneath,
        quarantined: t.quarantined,
    };
    let throttle = |t: reseal_entities::ledger::read::ThrottleStatus| api::Throttle {
        code: t.code,
        reason: t.reason,
        stopped: t.stopped,
        for_ms: t.for_ms,
    };
    api::RotationDetail {
        rotation: rotation(r, Some(&s)),
        rolled_back_by: s.rolled_back_by,
        code: s.code,
        detail: s.detail,
        rows: s.rows,
        rows_done: s.rows_done,
        reencrypted: s.reencrypted,
        quarantined: s.quarantined,
        batches: s.batches,
        tables: s.tables.into_iter().map(table).collect(),
        rows_per_second: s.rows_per_second,
        time_left: s.time_left.map(|t| api::TimeLeft { from_ms: t.from_ms, to_ms: t.to_ms }),
        limits,
        throttle: s.throttle.map(throttle),
        throttled_ms: s.throttled_ms,
        new_key: s.new_key.map(key_state),
        old_keys: s.old_keys.into_iter().map(key_state).collect(),
        gate: s.gate.into_iter().map(condition).collect(),
        needs_approval: s.needs_approval,
        approved_by: s.approved_by,
        waiting_left_ms: s.waiting_left_ms,
        workers: s.workers,
        writers: s.writers.into_iter().map(writer).collect(),
        stragglers: s.stragglers.into_iter().map(writer).collect(),
    }
}

fn key_state(k: KeyStatus) -> api::KeyState {
    api::KeyState { key_id: k.key_id, version: k.version, state: k.state.into() }
}

/// One condition of the gate.
pub(super) fn condition(c: Condition) -> api::Condition {
    api::Condition { what: c.what.to_owned(), met: c.met, detail: c.detail }
}

fn writer(w: WriterStatus) -> api::Writer {
    api::Writer { name: w.name, key_id: w.key_id, seen_at: time(w.seen_at) }
}

/// A try at a batch.
pub(super) fn attempt(a: attempts::Model) -> api::Attempt {
    api::Attempt {
        epoch: a.epoch,
        worker: a.worker,
        began_at: a.began_at.map(time),
        ended_at: time(a.ended_at),
        outcome: a.outcome.into(),
        code: a.code,
        detail: a.detail,
        rows_done: a.rows_done,
    }
}

/// A batch of `table`.
pub(super) fn batch(b: batches::Model, table: String) -> api::Batch {
    api::Batch {
        id: b.id,
        rotation_id: b.rotation_id,
        table,
        after_key: b.after_key,
        up_to_key: b.up_to_key,
        rows: b.rows,
        state: b.state.into(),
        epoch: b.epoch,
        attempts: b.attempts,
        worker: b.worker,
        code: b.code,
        detail: b.detail,
        done_at: b.done_at.map(time),
    }
}

/// A quarantined row of `table`; the bytes of an abandoned cell stay in the ledger.
pub(super) fn quarantined(q: quarantine::Model, table: String) -> api::QuarantinedRow {
    api::QuarantinedRow {
        id: q.id,
        rotation_id: q.rotation_id,
        batch_id: q.batch_id,
        table,
        column: q.column_name,
        row_key: q.row_key,
        code: q.code,
        found_key_id: q.found_key_id,
        cell_bytes: q.cell_bytes,
        state: q.state.into(),
        found_at: time(q.found_at),
        resolved_at: q.resolved_at.map(time),
        resolved_by: q.resolved_by,
        note: q.note,
    }
}

/// A key; what wraps it stays in the ledger.
pub(super) fn key(k: keys::Model, cryptoperiod: Option<Duration>) -> api::Key {
    let (encryptions_max, ends_at) = (key_limits::encryptions_max(&k.algorithm), k.cryptoperiod_ends_at(cryptoperiod));
    api::Key {
        key_id: k.key_id,
        keyset: k.keyset,
        version: k.version,
        state: k.state.into(),
        algorithm: k.algorithm,
        prefix: k.prefix,
        kek_id: k.kek_id,
        encryptions: k.encryptions,
        encryptions_max,
        cryptoperiod_ms: cryptoperiod.map(key_limits::milliseconds),
        cryptoperiod_ends_at: ends_at.map(time),
        created_at: time(k.created_at),
        activated_at: k.activated_at.map(time),
        deactivated_at: k.deactivated_at.map(time),
        destroyed_at: k.destroyed_at.map(time),
        exported_at: k.exported_at.map(time),
        compromised_at: k.compromised_at.map(time),
        compromised_reason: k.compromised_reason,
    }
}

/// A worker that was not seen for `unseen_ms`.
pub(super) fn worker(seen: Remembered) -> api::Worker {
    let (state, rows_per_second) = (seen.standing().replace(' ', "_"), seen.rows_per_second());
    let w = seen.worker;
    api::Worker {
        rows_per_second,
        batches: seen.batches,
        host: w.host().to_owned(),
        state,
        keys_loaded: w.loaded(),
        name: w.name,
        version: w.version,
        lanes: w.lanes,
        jobs_running: w.jobs_running,
        reencrypted: w.reencrypted,
        started_at: time(w.started_at),
        seen_at: time(w.seen_at),
    }
}

/// An entry of the audit.
pub(super) fn audit_entry(e: audit::Model) -> api::AuditEntry {
    let json = |text: &str| serde_json::from_str(text).unwrap_or_default();
    api::AuditEntry {
        seq: e.seq,
        at: time(e.at),
        before: json(&e.before),
        after: json(&e.after),
        actor: e.actor,
        action: e.action,
        subject: e.subject,
        request_id: e.request_id,
        hash: e.hash,
    }
}

/// What failed for one cause.
pub(super) fn failure(f: Failures) -> api::Failure {
    api::Failure {
        failed: word(f.failed),
        code: f.code,
        table: f.table,
        batches: f.batches,
        rows: f.rows,
        sample: f.sample,
        nature: word(f.nature),
        advice: f.advice.to_owned(),
        first_at: f.first_at.map(time),
        last_at: f.last_at.map(time),
    }
}

/// An operation, while so many workers are alive.
pub(super) fn operation(o: operations::Model, workers: usize) -> api::Operation {
    let o = OperationStatus::of(o, workers);
    let retried = o.matched.zip(o.applied).zip(o.skipped);
    api::Operation {
        id: o.id,
        kind: o.kind.into(),
        state: o.state.into(),
        summary: o.summary,
        params: o.params,
        requested_by: o.requested_by,
        requested_at: time(o.requested_at),
        started_at: o.started_at.map(time),
        ended_at: o.ended_at.map(time),
        worker: o.worker,
        workers,
        code: o.code,
        detail: o.detail,
        retried: retried.map(|((matched, applied), skipped)| api::Retried { matched, applied, skipped }),
        result: o.result,
    }
}

/// The same in a list, where what is long is left out: results, and the ids of a retry by the ten thousand.
pub(super) fn operation_in_a_list(mut o: operations::Model, workers: usize) -> api::Operation {
    o.result = None;
    if o.params.len() > 2_000 {
        o.params = "{}".to_owned();
    }
    operation(o, workers)
}

/// The word that a value is in JSON.
fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}
