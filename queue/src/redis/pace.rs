//! How often an idle worker looks into the queue.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::backend::ext::poll_strategy::{PollSnapshot, PollStrategy};
use tokio::time::{Instant, Sleep, sleep};

/// Wakes its worker each so often, whatever happens. apalis's own interval arms its next timer without
/// polling it, so a worker that finds the queue empty at the wrong moment sleeps until its heartbeat,
/// while others take everything.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, timer: None }
    }
}

impl PollStrategy for Pace {
    fn poll_drive(&mut self, cx: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.every)));
        let mut due = Poll::Pending;
        while timer.as_mut().poll(cx).is_ready() {
            timer.as_mut().reset(Instant::now() + self.every);
            due = Poll::Ready(Some(()));
        }
        due
    }
}
