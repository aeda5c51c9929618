//! What people are told of a rotation.

pub use super::{gate::Condition, time_left::TimeLeft, writers::WriterStatus};

use super::{
    LedgerError, cancel,
    failures::{Nature, cause},
    gate::gate,
    keys as ledger_keys, now_ms, plan, presence, samples, steps,
    summary::summary,
    throttle::Limits,
    time_left::{IN_GENERAL_MS, Seen, Speed, speed},
    writers,
};
use crate::{
    batches, keys, planned_tables, progress, quarantine, rotation_keys, rotations,
    state::{BatchState, KeyState, RotationState},
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::LockType,
};
use serde::Serialize;

/// A fault of a source that lasts longer needs a person, though it ends by itself, too.
const FAULT_PASSES_MS: i64 = 30_000;

/// One table's progress.
#[derive(Clone, Debug, Serialize)]
pub struct TableStatus {
    /// `source:schema.table`.
    pub table: String,
    /// Rows in its batches.
    pub rows: i64,
    /// Rows that were looked at.
    pub rows_done: i64,
    /// Rows that the database said it changed.
    pub reencrypted: i64,
    /// Rows that an application changed or deleted under a swap; each was looked at again.
    pub changed_underneath: i64,
    /// Rows that need a person.
    pub quarantined: i64,
    /// What pauses its batches.
    pub fault: Option<FaultStatus>,
}

/// A fault of a table's source, which pauses its batches until they pass again.
#[derive(Clone, Debug, Serialize)]
pub struct FaultStatus {
    /// Stable.
    pub code: String,
    /// For people.
    pub detail: String,
    /// For so long, milliseconds.
    pub for_ms: i64,
}

/// A retired key, or the new one.
#[derive(Clone, Debug, Serialize)]
pub struct KeyStatus {
    /// Its id.
    pub key_id: i64,
    /// Its version.
    pub version: i32,
    /// Its state.
    pub state: KeyState,
}

/// Why a rotation does not go at full speed, as the dispatch leader published it.
#[derive(Clone, Debug, Serialize)]
pub struct ThrottleStatus {
    /// Stable: `limit`, or the signal that stops it.
    pub code: String,
    /// For people.
    pub reason: String,
    /// It stands still.
    pub stopped: bool,
    /// Rows an hour that each batch in hand may do; none when it stands still.
    pub rows_per_hour: Option<i64>,
    /// For so long, milliseconds.
    pub for_ms: i64,
}

/// A rotation as people are told of it.
#[derive(Clone, Debug, Serialize)]
pub struct RotationStatus {
    /// Its id.
    pub id: i64,
    /// Its keyset.
    pub keyset: String,
    /// Its state.
    pub state: RotationState,
    /// One sentence: what is going on and what it waits for.
    pub summary: String,
    /// Nothing can go on without a person.
    pub needs_attention: bool,
    /// Who asked for it.
    pub requested_by: String,
    /// Its clearing waits for somebody other than who asked for it.
    pub needs_approval: bool,
    /// By whom that was given, and when; none when its proof is void since.
    pub approved_by: Option<String>,
    /// Unix milliseconds, database time.
    pub approved_at: Option<i64>,
    /// By whom it is paused.
    pub paused_by: Option<String>,
    /// What an operator allows it.
    pub limits: Limits,
    /// Why it does not go at full speed.
    pub throttle: Option<ThrottleStatus>,
    /// So long it has been stopped by its throttle altogether, milliseconds.
    pub throttled_ms: i64,
    /// What stops its step, or what it waits for.
    pub code: Option<String>,
    /// The same for people.
    pub detail: Option<String>,
    /// For how long its step has had this code, milliseconds.
    pub code_for_ms: Option<i64>,
    /// Rows in its batches.
    pub rows: i64,
    /// Rows that were looked at.
    pub rows_done: i64,
    /// Rows looked at per second, over about the last minute; none where it does not re-encrypt, stands still,
    /// or is not known for long enough.
    pub rows_per_second: Option<f64>,
    /// How long re-encrypting will go on, once everything is planned; none where no speed is told, or it is 0.
    pub time_left: Option<TimeLeft>,
    /// Rows that the database said it changed.
    pub reencrypted: i64,
    /// Rows that need a person.
    pub quarantined: i64,
    /// Batches by state.
    pub batches: std::collections::BTreeMap<String, i64>,
    /// Per table.
    pub tables: Vec<TableStatus>,
    /// The key that it promotes.
    pub new_key: Option<KeyStatus>,
    /// The keys that it retires.
    pub old_keys: Vec<KeyStatus>,
    /// The state of the old keys: the one that is furthest from destroyed.
    pub old_key_state: Option<KeyState>,
    /// What must hold before the old keys are cleared.
    pub gate: Vec<Condition>,
    /// Workers alive.
    pub workers: usize,
    /// Applications alive that report what they write with; those that hold an exported keyset do not.
    pub writers: Vec<WriterStatus>,
    /// Those of them that still write with another key than the promoted one. The fence will refuse
    /// their writes, and they reload.
    pub stragglers: Vec<WriterStatus>,
    /// Unix milliseconds, database time.
    pub requested_at: i64,
    /// When it ended.
    pub completed_at: Option<i64>,
    /// The rotation that turned it round.
    pub rolled_back_by: Option<i64>,
    /// Waiting time left before clearing, milliseconds, once it is proved.
    pub waiting_left_ms: Option<i64>,
}

impl RotationStatus {
    /// Nothing but an approval is missing before its old keys are cleared.
    pub fn waits_for_approval(&self) -> bool {
        self.needs_approval && self.approved_at.is_none() && self.waiting_left_ms == Some(0)
    }
}

/// The newest rotations, newest first.
pub async fn rotations(db: &impl ConnectionTrait, limit: u64) -> Result<Vec<rotations::Model>, LedgerError> {
    Ok(rotations::Entity::find().order_by_desc(rotations::Column::Id).limit(limit).all(db).await?)
}

/// One rotation.
pub async fn rotation(db: &impl ConnectionTrait, id: i64) -> Result<rotations::Model, LedgerError> {
    let found = rotations::Entity::find_by_id(id).one(db).await?;
    found.ok_or_else(|| unknown(id))
}

/// The same under its lock, so that what is decided from it stays true until the commit. New batches, which only name
/// their rotation, do not wait for it: a worker that splits a batch has that one's lock, and whoever has this lock may
/// wait for it.
pub(super) async fn locked(txn: &impl ConnectionTrait, id: i64) -> Result<rotations::Model, LedgerError> {
    let found = rotations::Entity::find_by_id(id).lock(LockType::NoKeyUpdate).one(txn).await?;
    found.ok_or_else(|| unknown(id))
}

fn unknown(id: i64) -> LedgerError {
    LedgerError::refused("unknown_rotation", format!("there is no rotation {id}: see `reseal status`"))
}

/// One key.
pub async fn key(db: &impl ConnectionTrait, key_id: i64) -> Result<keys::Model, LedgerError> {
    let found = keys::Entity::find_by_id(key_id).one(db).await?;
    found
        .ok_or_else(|| LedgerError::refused("unknown_key", format!("there is no key {key_id}: see `reseal keys list`")))
}

/// The newest rotation that retires a key as it is: one that was active again since is not retired.
pub async fn retiring(db: &impl ConnectionTrait, key: &keys::Model) -> Result<Option<i64>, LedgerError> {
    let pin = rotation_keys::Entity::find()
        .filter(rotation_keys::Column::KeyId.eq(key.key_id))
        .filter(rotation_keys::Column::Generation.eq(key.generation))
        .order_by_desc(rotation_keys::Column::RotationId);
    Ok(pin.one(db).await?.map(|pin| pin.rotation_id))
}

/// The newest rotation that promotes a key, or did.
pub async fn promoting(db: &impl ConnectionTrait, key_id: i64) -> Result<Option<rotations::Model>, LedgerError> {
    let found = rotations::Entity::find().filter(rotations::Column::ToKeyId.eq(key_id));
    Ok(found.order_by_desc(rotations::Column::Id).one(db).await?)
}

/// All there is to tell of one rotation.
pub async fn status(db: &impl ConnectionTrait, id: i64) -> Result<RotationStatus, LedgerError> {
    let r = rotation(db, id).await?;
    let tables = tables(db, id).await?;
    let batches = batch_counts(db, id).await?;
    let (old, keys) = (ledger_keys::retired_by(db, id).await?, ledger_keys::of_keyset(db, &r.keyset).await?);
    let tell = |k: &crate::keys::Model| KeyStatus { key_id: k.key_id, version: k.version, state: k.state };
    let quarantined = tables.iter().map(|t| t.quarantined).sum();
    let workers = presence::alive(db).await?.len();
    let (writers, stragglers) = writers::of_rotation(db, &r).await?;
    let failed = batches.get("failed").copied().unwrap_or(0);
    let open: i64 = BatchState::OPEN.iter().filter_map(|s| batches.get(&s.to_string())).sum();
    let waiting_left_ms = (r.state == RotationState::Waiting).then(|| (r.clear_after_ms - r.waited_ms).max(0));
    let to_be_approved = r.needs_approval && r.approved_at.is_none() && waiting_left_ms == Some(0);
    let goes_on = matches!(r.state, RotationState::Planning | RotationState::Reencrypting);
    let fault = tables.iter().filter(|_| goes_on).find_map(|t| Some((&t.table, t.fault.as_ref()?)));
    let lasting_fault = fault.is_some_and(|(_, fault)| fault.for_ms >= FAULT_PASSES_MS);
    let of_one_worker = r.step_code.as_deref().is_some_and(|code| steps::OF_ONE_WORKER.contains(&code));
    let code_for_ms = match r.step_since {
        Some(since) => Some(std::cmp::max(now_ms(db).await? - since, 0)),
        None => None,
    };
    let waits_for_a_person =
        to_be_approved || lasting_fault || of_one_worker || fails_for_a_person(&r, code_for_ms.unwrap_or(0));
    let (code, detail) = match (&r.step_code, fault) {
        (None, Some((table, fault))) => (Some(fault.code.clone()), Some(format!("{table}: {}", fault.detail))),
        _ => (r.step_code.clone(), r.step_detail.clone()),
    };
    let (rows, rows_done) = (tables.iter().map(|t| t.rows).sum(), tables.iter().map(|t| t.rows_done).sum());
    let speed = if workers > 0 { speed_now(db, &r, rows_done).await? } else { None };
    let mut status = RotationStatus {
        id,
        keyset: r.keyset.clone(),
        state: r.state,
        summary: String::new(),
        needs_attention: r.completed_at.is_none()
            && (quarantined > 0 || failed > 0 || waits_for_a_person || r.hold_at.is_some()),
        requested_by: r.requested_by.clone(),
        needs_approval: r.needs_approval,
        approved_by: r.approved_at.and(r.approved_by.clone()),
        approved_at: r.approved_at,
        paused_by: r.paused_at.and(r.paused_by.clone()),
        limits: r.limits(),
        throttle: throttle_status(db, &r).await?,
        throttled_ms: r.throttled_ms.unwrap_or(0),
        code: r.hold_at.map(|_| "key_used".to_owned()).or(code),
        detail: r.hold_detail.clone().or(detail),
        code_for_ms: code_for_ms.filter(|_| r.hold_at.is_none()),
        rows,
        rows_done,
        rows_per_second: speed.map(|s| (s.lately * 10.0).round() / 10.0),
        time_left: speed.filter(|_| r.planning_done).and_then(|s| s.time_for(rows - rows_done)),
        reencrypted: tables.iter().map(|t| t.reencrypted).sum(),
        quarantined,
        batches,
        tables,
        new_key: r.to_key_id.and_then(|id| keys.iter().find(|k| k.key_id == id)).map(tell),
        old_key_state: old.iter().map(|k| k.state).min_by_key(|s| *s as u8),
        old_keys: old.iter().map(tell).collect(),
        gate: gate(db, &r, open, quarantined).await?,
        workers,
        writers,
        stragglers,
        requested_at: r.requested_at,
        completed_at: r.completed_at,
        rolled_back_by: match r.state {
            RotationState::RolledBack => cancel::reverse_of(db, id).await?,
            _ => None,
        },
        waiting_left_ms,
    };
    if status.code.as_deref() == Some("writer_ttl") {
        let slowest = writers::slowest_lagging(db, &r).await?.map_or(0, |(_, refresh_ms)| refresh_ms);
        let until = r.promoted_at.unwrap_or_default() + r.writer_ttl_ms.max(slowest);
        let left = std::cmp::max(until - now_ms(db).await?, 0);
        let stragglers = writers::told(&status.stragglers).map(|told| format!("; {told}")).unwrap_or_default();
        status.detail = Some(format!(
            "applications may write with an old keyset for another {} s before the fence{stragglers}",
            (left + 999) / 1000
        ));
    }
    status.summary = summary(&status, r.planning_done);
    Ok(status)
}

/// What passes by itself is a person's only once it has not passed for so long.
const PASSES_WITHIN_MS: i64 = 300_000;

/// Its step fails, and at something that a person has to mend.
fn fails_for_a_person(r: &rotations::Model, for_ms: i64) -> bool {
    let Some(code) = r.step_code.as_deref().filter(|_| r.step_failures > 0) else { return false };
    cause(code).0 != Nature::Transient || for_ms >= PASSES_WITHIN_MS
}

async fn throttle_status(
    db: &impl ConnectionTrait,
    r: &rotations::Model,
) -> Result<Option<ThrottleStatus>, LedgerError> {
    let is_throttled = [RotationState::Planning, RotationState::Reencrypting, RotationState::Proving];
    let Some(code) = r.pace_code.clone().filter(|_| is_throttled.contains(&r.state)) else { return Ok(None) };
    let now = now_ms(db).await?;
    Ok(Some(ThrottleStatus {
        code,
        reason: r.pace_reason.clone().unwrap_or_default(),
        stopped: r.is_stopped(),
        rows_per_hour: r.pace_rows_per_hour.filter(|rows| *rows > 0),
        for_ms: r.pace_since.map_or(0, |since| std::cmp::max(now - since, 0)),
    }))
}

/// How fast it goes, while it re-encrypts and neither a person nor the throttle has stopped it.
async fn speed_now(
    db: &impl ConnectionTrait,
    r: &rotations::Model,
    rows_done: i64,
) -> Result<Option<Speed>, LedgerError> {
    if r.state != RotationState::Reencrypting || r.stands_still() {
        return Ok(None);
    }
    let now = Seen { at: now_ms(db).await?, rows_done };
    // Later ones are read, too: they are there when the clock was set back.
    let seen = samples::of_rotation(db, r.id, now.at - IN_GENERAL_MS..=now.at + samples::AHEAD_MAX_MS).await?;
    let seen: Vec<Seen> = seen.iter().map(|s| Seen { at: s.at, rows_done: s.rows_done }).collect();
    Ok(speed(&seen, now))
}

/// The counters of one table, by slot.
pub(super) async fn progress_of(
    db: &impl ConnectionTrait,
    table: &planned_tables::Model,
) -> Result<Vec<progress::Model>, LedgerError> {
    Ok(progress::Entity::find().filter(progress::Column::PlannedTableId.eq(table.id)).all(db).await?)
}

/// Planned rows of a table that were looked at.
pub(super) fn rows_done(table: &planned_tables::Model, slots: &[progress::Model]) -> i64 {
    slots.iter().map(|s| s.rows_done).sum::<i64>().min(table.rows)
}

async fn tables(db: &impl ConnectionTrait, rotation_id: i64) -> Result<Vec<TableStatus>, LedgerError> {
    let (mut told, now) = (Vec::new(), now_ms(db).await?);
    for table in plan::tables(db, rotation_id).await? {
        let slots = progress_of(db, &table).await?;
        let quarantined = quarantine::Entity::find()
            .filter(quarantine::Column::PlannedTableId.eq(table.id))
            .filter(quarantine::Column::State.is_in(quarantine::QuarantineState::UNRESOLVED));
        told.push(TableStatus {
            table: table.path(),
            rows: table.rows,
            rows_done: rows_done(&table, &slots),
            reencrypted: slots.iter().map(|s| s.reencrypted).sum(),
            changed_underneath: slots.iter().map(|s| s.changed_underneath).sum(),
            quarantined: i64::try_from(quarantined.count(db).await?).unwrap_or(i64::MAX),
            fault: table.fault_code.map(|code| FaultStatus {
                code,
                detail: table.fault_detail.unwrap_or_default(),
                for_ms: table.fault_since.map_or(0, |since| std::cmp::max(now - since, 0)),
            }),
        });
    }
    Ok(told)
}

#[derive(FromQueryResult)]
struct Count {
    state: BatchState,
    n: i64,
}

async fn batch_counts(
    db: &impl ConnectionTrait,
    rotation_id: i64,
) -> Result<std::collections::BTreeMap<String, i64>, LedgerError> {
    let counts = batches::Entity::find()
        .select_only()
        .column(batches::Column::State)
        .column_as(batches::Column::Id.count(), "n")
        .filter(batches::Column::RotationId.eq(rotation_id))
        .group_by(batches::Column::State);
    let counts: Vec<Count> = counts.into_model().all(db).await?;
    Ok(counts.into_iter().map(|c| (c.state.to_string(), c.n)).collect())
}

/// The failed batches of a rotation.
pub async fn failed_batches(
    db: &impl ConnectionTrait,
    rotation_id: i64,
    limit: u64,
) -> Result<Vec<batches::Model>, LedgerError> {
    let failed = batches::Entity::find()
        .filter(batches::Column::RotationId.eq(rotation_id))
        .filter(batches::Column::State.eq(BatchState::Failed));
    Ok(failed.order_by_asc(batches::Column::Id).limit(limit).all(db).await?)
}
