//! Who is alive, and how it is doing.

use std::fmt;
use std::sync::Mutex;
use std::time::Instant;

use tokio::sync::watch;

use crate::WorkerError;

/// A name that no other start of a worker has: host, process and 32 random bits. It cannot be
/// made from a string or copied, because a name that comes back after a crash is refused by the
/// queue until the dead one has expired.
#[derive(Debug)]
pub struct WorkerName(String);

impl WorkerName {
    /// A new name. Fails only without random bytes from the operating system.
    pub fn unique() -> Result<Self, WorkerError> {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).map_err(|e| WorkerError::CannotWork(format!("no random bytes for a name: {e}")))?;
        Ok(Self(format!("{}.{}.{}", host(), std::process::id(), hex::encode(bytes))))
    }

    /// The name, as the ledger knows the worker.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a worker is doing with new messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Taking them.
    Running,
    /// Finishing what it has, taking no more.
    Draining,
}

/// A worker at one moment, for the ledger and for people.
#[derive(Clone, Debug)]
pub struct Presence {
    /// Unique for this start, see [`WorkerName`].
    pub name: String,
    /// The host's own name.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Of this program.
    pub version: &'static str,
    /// When the worker started.
    pub started: Instant,
    /// Jobs that may run at once.
    pub lanes: usize,
    /// Whether it takes new messages.
    pub state: State,
    /// Jobs that are running now.
    pub jobs_running: usize,
    /// How those that ended ended.
    pub jobs: Jobs,
}

/// How the jobs of one worker ended. The ledger knows what became of the work; this counts
/// messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jobs {
    /// Looked at and acted upon as far as was due.
    pub done: u64,
    /// Ended with an error, which the ledger has.
    pub failed: u64,
    /// Ended in a panic.
    pub panicked: u64,
    /// Cut off: still running at the end of the grace.
    pub cut_off: u64,
    /// Messages of another version or hand, acknowledged and dropped.
    pub unknown: u64,
}

/// Where the running jobs note how they end.
#[derive(Debug)]
pub(crate) struct Roster {
    name: String,
    started: Instant,
    lanes: usize,
    running: watch::Sender<usize>,
    jobs: Mutex<Jobs>,
}

impl Roster {
    pub(crate) fn new(name: &WorkerName, lanes: usize) -> Self {
        Self {
            name: name.as_str().to_owned(),
            started: Instant::now(),
            lanes,
            running: watch::Sender::new(0),
            jobs: Mutex::default(),
        }
    }

    pub(crate) fn presence(&self, state: State) -> Presence {
        Presence {
            name: self.name.clone(),
            host: host(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            started: self.started,
            lanes: self.lanes,
            state,
            jobs_running: *self.running.borrow(),
            jobs: self.jobs(),
        }
    }

    pub(crate) fn jobs(&self) -> Jobs {
        *self.jobs.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Resolves when no job runs.
    pub(crate) async fn idle(&self) {
        let _ = self.running.subscribe().wait_for(|running| *running == 0).await;
    }

    pub(crate) fn is_idle(&self) -> bool {
        *self.running.borrow() == 0
    }

    pub(crate) fn begin(&self) {
        self.running.send_modify(|running| *running += 1);
    }

    /// Counts first, so that whoever sees no job running sees how all of them ended.
    pub(crate) fn end(&self, count: impl FnOnce(&mut Jobs)) {
        count(&mut self.jobs.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        self.running.send_modify(|running| *running -= 1);
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
