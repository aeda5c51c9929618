//! What a worker does besides its jobs: dispatch, presence, tidying. Each goes on whatever a round
//! of it does, panics included.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use reseal_queue::Queue;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, warn};

use crate::jobs::{Asked, Shared};
use crate::presence::State;
use crate::pulse::Pulse;

/// The least time between two rounds of dispatch. A rotation of few rows ends in a few of these;
/// a busy fleet asks the ledger no more often.
const DISPATCH_PAUSE: Duration = Duration::from_millis(50);

/// Between two looks for finished messages, where the last one found little or much.
const TIDY_PAUSE: Duration = Duration::from_secs(10);
const TIDY_SOON: Duration = Duration::from_secs(1);

/// Rounds at every tick and right after a job has ended, until the worker drains.
pub(crate) async fn dispatch(shared: &Shared, queue: &Queue, every: Duration, pulse: &Pulse) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.drain.draining() => return,
            _ = ticks.tick() => {}
            () = shared.finished.notified() => {}
        }
        note("dispatch", pulse, shared.steps.dispatch(queue)).await;
        sleep(DISPATCH_PAUSE).await;
    }
}

/// Tells the ledger that the worker is alive, and at once when it begins to drain; drains it when a person
/// asks for it there.
pub(crate) async fn heartbeat(shared: &Shared, every: Duration, pulse: &Pulse) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut state = State::Running;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shared.drain.draining(), if state == State::Running => state = State::Draining,
        }
        let presence = shared.roster.presence(state);
        let beat = async {
            if shared.steps.heartbeat(&presence).await? == Asked::ToDrain {
                shared.drain.trigger();
            }
            Ok(())
        };
        note("heartbeat", pulse, beat).await;
    }
}

/// Several workers that tidy one queue get in nobody's way.
pub(crate) async fn tidy(queue: &Queue) {
    let mut pause = TIDY_SOON;
    loop {
        sleep(pause).await;
        pause = match queue.tidy().await {
            Ok(removed) if removed > 0 => TIDY_SOON,
            Ok(_) => TIDY_PAUSE,
            Err(error) => {
                debug!(%error, "the queue was not tidied");
                TIDY_PAUSE
            }
        };
    }
}

/// A round that hangs on a connection whose other end is gone without a word is given up: the next one takes another.
const ROUND: Duration = Duration::from_secs(30);

async fn note(what: &str, pulse: &Pulse, round: impl Future<Output = Result<(), String>>) {
    let result = match timeout(ROUND, AssertUnwindSafe(round).catch_unwind()).await {
        Ok(result) => result.unwrap_or_else(|panic| Err(format!("panicked: {}", words(&*panic)))),
        Err(_) => Err(format!("no answer within {} s", ROUND.as_secs())),
    };
    match result {
        Ok(()) => pulse.well(),
        Err(reason) => {
            warn!(reason, "a round of {what} failed; the next one comes");
            pulse.ill(reason);
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words")
}
