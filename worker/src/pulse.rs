use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// When something last went well, and what it has complained about since.
#[derive(Debug)]
pub(crate) struct Pulse {
    what: &'static str,
    last: Mutex<(Instant, String)>,
}

impl Pulse {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, last: Mutex::new((Instant::now(), "no answer".to_owned())) }
    }

    pub(crate) fn well(&self) {
        self.last().0 = Instant::now();
    }

    pub(crate) fn ill(&self, reason: impl fmt::Display) {
        self.last().1 = reason.to_string();
    }

    /// Why to give up, once nothing has gone well for `patience`.
    pub(crate) fn lost(&self, patience: Duration) -> Option<String> {
        let last = self.last();
        let reason = || format!("no {} for {patience:?}: {}", self.what, last.1);
        (last.0.elapsed() >= patience).then(reason)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, (Instant, String)> {
        self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
