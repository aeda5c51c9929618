//! When following ends. Pure: what is seen and when it is seen are arguments.

use reseal_entities::{ledger::read::RotationStatus, state::RotationState};
use std::time::Duration;
use tokio::time::Instant;

/// A step that fails is tried again by itself; it needs a person when it goes on failing for so long.
const FAILING_MAX: Duration = Duration::from_secs(10);
/// Rows and batches that failed are settled a moment after the last batch.
const SETTLING: Duration = Duration::from_secs(2);
/// Workers that are started at the same time as the rotation are waited for.
const NO_WORKER_MAX: Duration = Duration::from_secs(15);

/// Why following ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The old key is destroyed.
    Completed,
    /// Only the waiting time is left.
    Waiting,
    /// Nothing can go on without a person.
    Attention,
    /// Nobody works on it.
    NoWorker,
}

/// What else of the rotation decides.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Step {
    /// Tables are still being cut.
    pub planning: bool,
    /// Batches are pending or held.
    pub batches_due: bool,
    /// Rows are quarantined or batches have failed.
    pub rows_or_batches_failed: bool,
    /// A use of a suspended key holds the clearing.
    pub held: bool,
}

/// Remembers since when it looks bad.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    stuck_since: Option<Instant>,
    alone_since: Option<Instant>,
}

impl Judge {
    pub(crate) fn look(&mut self, status: &RotationStatus, step: &Step, now: Instant) -> Option<End> {
        if status.state == RotationState::Completed {
            return Some(End::Completed);
        }
        if status.waiting_left_ms.is_some_and(|left| left > 0) && status.paused_by.is_none() && !step.held {
            return Some(End::Waiting);
        }
        let stuck = status.needs_attention || status.paused_by.is_some() || step.held;
        let stuck_for = since(&mut self.stuck_since, stuck, now);
        let alone_for = since(&mut self.alone_since, status.workers == 0, now);
        let patience = if step.rows_or_batches_failed { SETTLING } else { FAILING_MAX };
        let goes_on = step.batches_due && status.paused_by.is_none();
        let plans_on = step.planning && step.rows_or_batches_failed && status.code.is_none();
        if stuck && !goes_on && !plans_on && stuck_for >= patience {
            return Some(End::Attention);
        }
        (status.workers == 0 && alone_for >= NO_WORKER_MAX).then_some(End::NoWorker)
    }
}

/// For how long it has been so.
fn since(at: &mut Option<Instant>, is: bool, now: Instant) -> Duration {
    if !is {
        *at = None;
        return Duration::ZERO;
    }
    now - *at.get_or_insert(now)
}
