use std::sync::Arc;

use tokio::sync::watch;

/// The request to finish what is claimed and take no more. Clones share it; it is never taken back.
#[derive(Clone, Debug)]
pub struct Drain(Arc<watch::Sender<bool>>);

impl Drain {
    /// Not asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Asks for it; again does nothing.
    pub fn trigger(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was asked for. A batch looks at this between two chunks.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves once it was asked for, at once if it was before.
    pub async fn draining(&self) {
        // The sender lives in self, so the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|asked| *asked).await;
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}
