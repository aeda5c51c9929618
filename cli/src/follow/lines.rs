//! Progress where there is no terminal.

use crate::output::Output;
use reseal_entities::ledger::read::RotationStatus;
use std::time::Duration;
use tokio::time::Instant;

const AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// One line at each change of state, and every five seconds.
pub(crate) struct Lines {
    output: Output,
    said: Option<(String, Instant)>,
}

impl Lines {
    pub(crate) fn new(output: Output) -> Self {
        Self { output, said: None }
    }

    pub(crate) fn show(&mut self, status: &RotationStatus) {
        if let Some(line) = self.due(status, Instant::now()) {
            self.output.note(&line);
        }
    }

    /// The line, when one is due.
    pub(crate) fn due(&mut self, status: &RotationStatus, now: Instant) -> Option<String> {
        let mark = format!("{} {} {:?}", status.state, status.needs_attention, status.paused_by);
        if self.said.as_ref().is_some_and(|(said, at)| *said == mark && now - *at < AT_LEAST_EVERY) {
            return None;
        }
        self.said = Some((mark, now));
        Some(format!("rotation {}: {}", status.id, status.summary))
    }
}
