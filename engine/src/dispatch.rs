//! Dispatch: keep a bounded window of due work in the queue. One loop replaces outbox relay and
//! rescuer of orphans: whatever the ledger says is due is rung for, also when it was rung before.

use crate::{engine::Engine, error::EngineError, samples::Sampler, throttle::Throttle};
use reseal_entities::{
    job::{Doorbell, Job, JobKind},
    ledger::{
        clear, close,
        dispatch::{self, Of},
        now_ms,
        operations::{due, work},
        throttle,
    },
    rotations,
    state::RotationState,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Rotations that may be ready to close are looked at so often.
const CLOSING: Duration = Duration::from_secs(15);

/// Operations in the queue or in hand at once. Each takes a lane from batches.
const OPERATIONS_MAX: u64 = 100;

/// What one process remembers between rounds; all of it may be lost.
#[derive(Debug, Default)]
pub struct Dispatcher {
    memory: Mutex<Memory>,
    throttle: tokio::sync::Mutex<Throttle>,
    sampler: tokio::sync::Mutex<Sampler>,
}

#[derive(Debug, Default)]
struct Memory {
    closing_checked: Option<Instant>,
    /// Per waiting rotation: when this process last looked, by both clocks.
    waiting_seen: BTreeMap<i64, (Instant, i64)>,
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// This process led.
    pub led: bool,
    /// Rings that reached the queue.
    pub rings: usize,
}

impl Dispatcher {
    /// One round. Only the leader by lease does anything; two leaders at once only ring twice.
    pub async fn round(&self, engine: &Engine, bell: &dyn Doorbell) -> Result<Round, EngineError> {
        let db = engine.ledger.db();
        if !dispatch::lead_if_free(db, &engine.worker).await? {
            return Ok(Round::default());
        }
        self.throttle.lock().await.round(engine).await?;
        self.sampler.lock().await.round(engine).await?;
        self.observe_waiting(engine).await?;
        self.close(engine).await?;
        give_up_abandoned_operations(engine).await?;
        let incarnation =
            bell.incarnation().await.map_err(|e| EngineError::refused("queue_unreachable", e.to_string()))?;
        let txn = engine.ledger.begin().await?;
        if dispatch::meet_queue(&txn, &incarnation).await? {
            tracing::info!("the queue is new or was emptied: everything open is rung for again");
        }
        txn.commit().await?;
        let rings = ring_rotations(engine, bell).await?
            + ring_operations(engine, bell).await?
            + ring_batches(engine, bell).await?;
        Ok(Round { led: true, rings })
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn close(&self, engine: &Engine) -> Result<(), EngineError> {
        let due = self.memory().closing_checked.is_none_or(|at| at.elapsed() >= CLOSING);
        if due {
            for id in dispatch::closable(engine.ledger.db()).await? {
                close::close_if_nothing_is_open(&engine.ledger, &engine.worker, id).await?;
            }
            self.memory().closing_checked = Some(Instant::now());
        }
        Ok(())
    }

    /// Adds to the waiting time what both this process's clock and the database's saw pass since this
    /// process last looked, the smaller of the two: a clock that is set forward shortens nothing.
    async fn observe_waiting(&self, engine: &Engine) -> Result<(), EngineError> {
        let db = engine.ledger.db();
        let waiting = dispatch::waiting(db).await?;
        self.memory().waiting_seen.retain(|id, _| waiting.iter().any(|r| r.id == *id));
        for rotation in waiting {
            if rotation.waited_ms >= rotation.clear_after_ms {
                continue;
            }
            let before = self.memory().waiting_seen.get(&rotation.id).copied();
            let (here, there) = (Instant::now(), now_ms(db).await?);
            let seen = before.filter(|(_, at)| rotation.waited_at == Some(*at));
            let observed = seen.map_or(0, |(then, at)| both_saw(here - then, there - at));
            let at = clear::add_waited_if_unseen(db, rotation.id, seen.map(|(_, at)| at), observed).await?;
            if let Some(at) = at {
                self.memory().waiting_seen.insert(rotation.id, (here, at));
            }
        }
        Ok(())
    }
}

/// What passed by this process's clock and by the database's, in milliseconds: the smaller of the two.
fn both_saw(here: Duration, there_ms: i64) -> i64 {
    i64::try_from(here.as_millis()).unwrap_or(i64::MAX).min(there_ms)
}

/// The step that an open rotation is due for.
fn step_of(rotation: &rotations::Model) -> Option<JobKind> {
    match rotation.state {
        RotationState::Requested | RotationState::Planning => Some(JobKind::Plan),
        RotationState::Reencrypting => (!rotation.planning_done).then_some(JobKind::Plan),
        RotationState::Proving => Some(JobKind::Prove),
        RotationState::Waiting => {
            (rotation.waited_ms >= rotation.clear_after_ms && rotation.hold_at.is_none()).then_some(JobKind::Clear)
        }
        RotationState::Clearing => Some(JobKind::Clear),
        RotationState::Completed | RotationState::Cancelled | RotationState::RolledBack => None,
    }
}

async fn ring_rotations(engine: &Engine, bell: &dyn Doorbell) -> Result<usize, EngineError> {
    let (db, mut rings) = (engine.ledger.db(), 0);
    for rotation in dispatch::due_rotations(db).await? {
        let Some(kind) = step_of(&rotation) else { continue };
        let job = Job { kind, id: rotation.id };
        dispatch::note_rotation_ring(db, rotation.id, dispatch::RING_AGAIN_MS).await?;
        if ring(engine, bell, &job, rotation.rings + 1).await {
            rings += 1;
        } else {
            dispatch::note_rotation_ring(db, rotation.id, 0).await?;
            break; // a queue that is away would make each further ring wait, too
        }
    }
    Ok(rings)
}

/// An operation at which worker after worker dies would else take one after the other with it.
async fn give_up_abandoned_operations(engine: &Engine) -> Result<(), EngineError> {
    for operation in work::abandoned(engine.ledger.db()).await? {
        let txn = engine.ledger.begin().await?;
        if work::fail_if_abandoned(&txn, &engine.worker, &operation).await? {
            txn.commit().await?;
            tracing::warn!(operation = operation.id, "given up: its workers died at it");
        }
    }
    Ok(())
}

async fn ring_operations(engine: &Engine, bell: &dyn Doorbell) -> Result<usize, EngineError> {
    let (db, mut rings) = (engine.ledger.db(), 0);
    let room = OPERATIONS_MAX.saturating_sub(due::outstanding(db).await?);
    if room == 0 {
        return Ok(0);
    }
    for operation in due::operations(db, room).await? {
        let job = Job { kind: JobKind::Operation, id: operation.id };
        due::note_ring(db, operation.id, dispatch::RING_AGAIN_MS).await?;
        if ring(engine, bell, &job, operation.rings + 1).await {
            rings += 1;
        } else {
            due::note_ring(db, operation.id, 0).await?;
            break; // a queue that is away would make each further ring wait, too
        }
    }
    Ok(rings)
}

/// How many batches of a rotation may be in the queue or in hand: as many as it has lanes, too, since
/// more would only be refused. None of one that stands still: they would keep lanes from the others.
fn most_outstanding(rotation: &rotations::Model) -> Option<u64> {
    if rotation.is_stopped() {
        return Some(0);
    }
    let limits = rotation.limits();
    let most = [limits.lanes, limits.batches].into_iter().flatten().min()?;
    Some(u64::try_from(most).unwrap_or(0))
}

async fn ring_batches(engine: &Engine, bell: &dyn Doorbell) -> Result<usize, EngineError> {
    let db = engine.ledger.db();
    let all = dispatch::outstanding(db, &Of::AllBut(Vec::new())).await?;
    let mut window = u64::from(engine.config.rotation.outstanding_batches_max).saturating_sub(all);
    let (mut due, mut apart) = (Vec::new(), Vec::new());
    for rotation in throttle::paced(db).await? {
        let Some(most) = most_outstanding(&rotation) else { continue };
        apart.push(rotation.id);
        let of = Of::One(rotation.id);
        let room = most.saturating_sub(dispatch::outstanding(db, &of).await?).min(window);
        if room > 0 {
            let some = dispatch::due_batches(db, &of, room).await?;
            window -= some.len() as u64;
            due.extend(some);
        }
    }
    if window > 0 {
        due.extend(dispatch::due_batches(db, &Of::AllBut(apart), window).await?);
    }
    if due.is_empty() {
        return Ok(0);
    }
    let ids: Vec<i64> = due.iter().map(|d| d.id).collect();
    dispatch::note_batch_rings(db, &ids).await?;
    let (mut rings, mut unrung) = (0, Vec::new());
    for due in due {
        let job = Job { kind: JobKind::Batch, id: due.id };
        if unrung.is_empty() && ring(engine, bell, &job, due.rings + 1).await {
            rings += 1;
        } else {
            unrung.push(due.id);
        }
    }
    dispatch::unnote_batch_rings(db, &unrung).await?;
    Ok(rings)
}

/// Rings under an id that no queue has seen: a restored ledger counts its rings anew, so the
/// worker's own name, new at each start, is part of it.
async fn ring(engine: &Engine, bell: &dyn Doorbell, job: &Job, rings: i64) -> bool {
    let rung = bell.ring(job, &format!("{job}.d{rings}.{}", engine.worker)).await;
    if let Err(e) = &rung {
        tracing::warn!("{job} was not rung: {e}");
    }
    rung.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_shortens_no_waiting_time() {
        let hour = 3_600_000;
        assert_eq!(both_saw(Duration::from_millis(900), 1_000), 900);
        assert_eq!(both_saw(Duration::from_secs(1), hour), 1_000, "the database's was set forward");
        assert_eq!(both_saw(Duration::from_secs(3_600), 1_000), 1_000, "this machine's jumped");
        assert!(both_saw(Duration::from_secs(1), -hour) <= 0, "the database's was set back");
    }
}
