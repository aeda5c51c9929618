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
    /// A person cancelled it or turned it round.
    Stopped,
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
        match status.state {
            RotationState::Completed => return Some(End::Completed),
            RotationState::Cancelled | RotationState::RolledBack => return Some(End::Stopped),
            _ => {}
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

#[cfg(test)]
mod tests {
    use super::*;
    use RotationState::{Completed, Proving, Reencrypting, Waiting};

    fn status(state: RotationState) -> RotationStatus {
        RotationStatus {
            id: 1,
            keyset: "default".into(),
            state,
            summary: String::new(),
            needs_attention: false,
            requested_by: "ada".into(),
            needs_approval: false,
            approved_by: None,
            approved_at: None,
            paused_by: None,
            limits: Default::default(),
            throttle: None,
            throttled_ms: 0,
            code: None,
            detail: None,
            code_for_ms: None,
            rows: 10,
            rows_done: 5,
            rows_per_second: None,
            time_left: None,
            reencrypted: 5,
            quarantined: 0,
            batches: [].into(),
            tables: Vec::new(),
            new_key: None,
            old_keys: Vec::new(),
            old_key_state: None,
            gate: Vec::new(),
            workers: 1,
            writers: Vec::new(),
            stragglers: Vec::new(),
            requested_at: 0,
            completed_at: None,
            rolled_back_by: None,
            waiting_left_ms: None,
        }
    }

    /// What is said when it looks like this for so many seconds.
    fn after(seconds: u64, status: &RotationStatus, step: Step) -> Option<End> {
        let (mut judge, began) = (Judge::default(), Instant::now());
        (0..=seconds).find_map(|s| judge.look(status, &step, began + Duration::from_secs(s)))
    }

    #[test]
    fn a_rotation_that_goes_on_is_followed_to_its_end() {
        assert_eq!(after(3_600, &status(Reencrypting), Step::default()), None);
        assert_eq!(after(0, &status(Completed), Step::default()), Some(End::Completed));
    }

    #[test]
    fn only_the_waiting_time_is_left_to_nobody() {
        let waiting = |left| RotationStatus { waiting_left_ms: Some(left), ..status(Waiting) };
        assert_eq!(after(0, &waiting(1), Step::default()), Some(End::Waiting));
        assert_eq!(after(60, &waiting(0), Step::default()), None, "it is being cleared");
        let held = Step { held: true, ..Step::default() };
        assert_eq!(after(60, &waiting(1), held), Some(End::Attention));
    }

    #[test]
    fn a_step_that_fails_needs_a_person_only_when_it_goes_on_failing() {
        let failing = RotationStatus { needs_attention: true, code: Some("proof_blocked".into()), ..status(Proving) };
        assert_eq!(after(9, &failing, Step::default()), None);
        assert_eq!(after(10, &failing, Step::default()), Some(End::Attention));
    }

    #[test]
    fn failed_rows_need_a_person_when_nothing_else_is_left_to_do() {
        let failed = RotationStatus { needs_attention: true, quarantined: 1, ..status(Reencrypting) };
        let step = Step { rows_or_batches_failed: true, ..Step::default() };
        assert_eq!(after(2, &failed, step), Some(End::Attention));
        assert_eq!(after(3_600, &failed, Step { batches_due: true, ..step }), None);
        assert_eq!(after(3_600, &failed, Step { planning: true, ..step }), None);
    }

    #[test]
    fn without_a_worker_nothing_is_waited_for_long() {
        let alone = RotationStatus { workers: 0, ..status(Reencrypting) };
        assert_eq!(after(14, &alone, Step::default()), None);
        assert_eq!(after(15, &alone, Step { batches_due: true, ..Step::default() }), Some(End::NoWorker));
    }
}
