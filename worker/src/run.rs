//! A worker from its start to its end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use reseal_queue::Queue;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::crew::Crew;
use crate::jobs::Shared;
use crate::presence::{Jobs, Roster, State};
use crate::pulse::Pulse;
use crate::{Drain, Steps, WorkerName, loops};

/// With no job left, what the queue gets to hear the last acknowledgements, and the ledger to take
/// the goodbye. Either may be the very thing that is away.
const CLOSING: Duration = Duration::from_secs(5);

/// How a worker runs.
#[derive(Debug)]
pub struct RunOptions {
    /// The name that the ledger and the queue know this start by.
    pub name: WorkerName,
    /// Jobs that run at once, at least 1.
    pub lanes: usize,
    /// Between two notes of presence.
    pub heartbeat_every: Duration,
    /// Between two rounds of dispatch when nothing happens.
    pub dispatch_every: Duration,
    /// What running jobs are given to come to an end. Longer than a chunk, shorter than the
    /// supervisor's patience.
    pub grace: Duration,
    /// After this long without one good round of dispatch or presence, or without the queue, the
    /// worker ends with an error, for its supervisor to start it afresh.
    pub give_up_after: Duration,
}

impl RunOptions {
    /// The defaults under a new name: 4 lanes, presence every 5 s, dispatch every
    /// 1 s, 25 s of grace, giving up after 120 s.
    pub fn unique() -> Result<Self, WorkerError> {
        Ok(Self {
            name: WorkerName::unique()?,
            lanes: 4,
            heartbeat_every: Duration::from_secs(5),
            dispatch_every: Duration::from_secs(1),
            grace: Duration::from_secs(25),
            give_up_after: Duration::from_secs(120),
        })
    }
}

/// What a worker did before it was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How its jobs ended.
    pub jobs: Jobs,
    /// Whether all of them came to their own end within the grace.
    pub drained: bool,
}

/// Why a worker ended although nobody stopped it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// Something it needs is away and stays away.
    #[error("the worker cannot work: {0}")]
    CannotWork(String),
}

/// Runs a worker until `stop` resolves or its heartbeat is asked to drain, then drains it: nothing more is fetched, the jobs that run
/// are asked to give up their leases and get the grace to do so, what is left is dropped, and the
/// ledger hears goodbye. With an unreachable ledger or queue it ends by itself, see
/// [`RunOptions::give_up_after`]; it drains then too.
pub async fn run(
    queue: Queue,
    steps: Arc<dyn Steps>,
    options: RunOptions,
    stop: impl Future<Output = ()>,
) -> Result<Summary, WorkerError> {
    let (drain, abandon) = (Drain::new(), Drain::new());
    // If this future is dropped, its jobs must not run on without it.
    let _cut_off = TriggerOnDrop(abandon.clone());
    let shared = Arc::new(Shared {
        steps,
        drain,
        abandon,
        roster: Roster::new(&options.name, options.lanes.max(1)),
        finished: Notify::new(),
    });
    let [dispatch, heartbeat] = ["dispatch", "heartbeat"].map(Pulse::new);
    let crew = Crew {
        name: options.name.to_string(),
        lanes: options.lanes.max(1),
        shared: shared.clone(),
        queue_pulse: Arc::new(Pulse::new("sign of life from the queue")),
    };
    let pulses = match &queue {
        Queue::Redis(_) => vec![&dispatch, &heartbeat, &*crew.queue_pulse],
        Queue::Local(_) => vec![&dispatch, &heartbeat],
    };
    info!(worker = %options.name, lanes = options.lanes, "the worker starts");

    let monitor = crew.clone().over(&queue);
    let lanes = monitor.context();
    let mut crew_at_work = Box::pin(monitor.run().fuse());
    let mut loops_at_work = Box::pin(
        async {
            tokio::join!(
                loops::dispatch(&shared, &queue, options.dispatch_every, &dispatch),
                loops::heartbeat(&shared, options.heartbeat_every, &heartbeat),
                loops::tidy(&queue),
            )
        }
        .fuse(),
    );

    let ended = tokio::select! {
        () = stop => Ok(()),
        () = shared.drain.draining() => {
            info!(worker = %options.name, "a person asked in the ledger for this worker to drain");
            Ok(())
        }
        reason = lost(&pulses, options.give_up_after) => Err(reason),
        crew = &mut crew_at_work => Err(match crew {
            Ok(()) => "the crew ended by itself".to_owned(),
            Err(error) => format!("the crew ended by itself: {error}"),
        }),
        _ = &mut loops_at_work => Err("the loops ended by themselves".to_owned()),
    };
    info!(worker = %options.name, "the worker drains");
    shared.drain.trigger();
    // Says Ok whatever happens.
    let _ = lanes.shutdown();
    tokio::select! {
        crew = &mut crew_at_work => if let Err(error) = crew {
            warn!(%error, "the queue did not hear the crew's last words; it may deliver again");
        },
        () = async { shared.roster.idle().await; sleep(CLOSING).await } => {}
        () = sleep(options.grace) => {}
        _ = &mut loops_at_work => {}
    }
    let drained = shared.roster.is_idle();
    shared.abandon.trigger();
    // What is dropped leaves at its next await; one that never comes to it is not waited for.
    let _ = timeout(CLOSING, shared.roster.idle()).await;
    drop((crew_at_work, loops_at_work));
    goodbye(&shared).await;
    let jobs = shared.roster.jobs();
    info!(worker = %options.name, ?jobs, drained, "the worker has ended");
    match ended {
        Ok(()) => Ok(Summary { jobs, drained }),
        Err(reason) => Err(WorkerError::CannotWork(reason)),
    }
}

/// Resolves when one of `pulses` has not beaten for `patience`.
async fn lost(pulses: &[&Pulse], patience: Duration) -> String {
    loop {
        sleep((patience / 20).clamp(Duration::from_millis(20), Duration::from_secs(1))).await;
        if let Some(reason) = pulses.iter().find_map(|pulse| pulse.lost(patience)) {
            return reason;
        }
    }
}

async fn goodbye(shared: &Shared) {
    let presence = shared.roster.presence(State::Draining);
    let said = AssertUnwindSafe(shared.steps.goodbye(&presence)).catch_unwind();
    match timeout(CLOSING, said).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(reason))) => warn!(reason, "the ledger did not take the goodbye"),
        Ok(Err(_)) => warn!("the goodbye panicked"),
        Err(_) => warn!("the ledger did not take the goodbye within {CLOSING:?}"),
    }
}

struct TriggerOnDrop(Drain);

impl Drop for TriggerOnDrop {
    fn drop(&mut self) {
        self.0.trigger();
    }
}
