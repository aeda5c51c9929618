//! One message: what it may do, and what is made of how it ends.

use std::sync::Arc;

use apalis::prelude::{BoxDynError, Data};
use reseal_entities::job::{Doorbell, Job, JobKind};
use tokio::sync::Notify;
use tracing::warn;

use crate::presence::{Jobs, Roster};
use crate::{Drain, Presence};

/// What a worker does, told apart from when it does it. A crash between any two lines of an
/// implementation must leave the ledger fit to go on from; nothing here is ever repeated because
/// it failed, only because it is due.
#[async_trait::async_trait]
pub trait Steps: Send + Sync + 'static {
    /// One look at the ledger for `job` and the work that is due; in short pieces, with a look at
    /// `drain` between them. A failure has been recorded in the ledger when this returns; the
    /// string is for the log. Dropped at the end of the grace, at whatever await it stands.
    async fn perform(&self, job: &Job, drain: &Drain) -> Result<(), String>;

    /// One round of the dispatch loop. An error means that the round could not do its work, for
    /// want of the ledger or the queue; when no round succeeds for long the worker ends itself.
    /// Dropped at whatever await it stands when the worker ends.
    async fn dispatch(&self, bell: &dyn Doorbell) -> Result<(), String>;

    /// Writes this worker's presence into the ledger and hears what a person asks of it. Errors
    /// count as those of dispatch do. What is asked stays asked, so a lost answer comes again.
    async fn heartbeat(&self, presence: &Presence) -> Result<Asked, String>;

    /// Takes this worker's presence out of the ledger, once, when it stops in good order.
    async fn goodbye(&self, presence: &Presence) -> Result<(), String>;
}

/// What a person asks of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing.
    Nothing,
    /// To drain and end, as SIGTERM does.
    ToDrain,
}

/// What all jobs and loops of one worker share.
pub(crate) struct Shared {
    pub(crate) steps: Arc<dyn Steps>,
    pub(crate) drain: Drain,
    /// The end of the grace: whatever still runs is dropped.
    pub(crate) abandon: Drain,
    pub(crate) roster: Roster,
    /// A job has ended, so something else may be due. Any number of them wake dispatch once.
    pub(crate) finished: Notify,
}

/// Handles one message and always tells the queue that it is done. The queue's own retries are not
/// to be trusted; what failed is due again when the ledger says so.
pub(crate) async fn handle(job: Job, shared: Data<Arc<Shared>>) -> Result<(), BoxDynError> {
    let mut running = Running::begin(&shared);
    if job.kind == JobKind::Unknown {
        warn!(%job, "a message that makes no sense was acknowledged and dropped");
        running.outcome = |jobs| jobs.unknown += 1;
        return Ok(());
    }
    let result = tokio::select! {
        result = shared.steps.perform(&job, &shared.drain) => result,
        () = shared.abandon.draining() => {
            warn!(%job, "still running at the end of the grace; cut off");
            return Ok(());
        }
    };
    running.outcome = match result {
        Ok(()) => |jobs| jobs.done += 1,
        Err(reason) => {
            warn!(%job, reason, "a job failed; the ledger decides when it is due again");
            |jobs| jobs.failed += 1
        }
    };
    Ok(())
}

/// A job from its first line to its last, however that comes: a cut-off job is dropped and a
/// panicking one unwound, and both leave through here.
struct Running<'a> {
    shared: &'a Shared,
    outcome: fn(&mut Jobs),
}

impl<'a> Running<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.roster.begin();
        Self { shared, outcome: |jobs| jobs.cut_off += 1 }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let panicked = std::thread::panicking();
        let count = if panicked { |jobs: &mut Jobs| jobs.panicked += 1 } else { self.outcome };
        self.shared.roster.end(count);
        self.shared.finished.notify_one();
    }
}
