//! What an application may choose

use std::time::Duration;

/// How an instance behaves; the defaults suit a rotation's defaults
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) name: Option<String>,
    pub(crate) refresh_every: Duration,
    pub(crate) beat_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { name: None, refresh_every: Duration::from_secs(20), beat_every: Duration::from_secs(5) }
    }
}

impl Options {
    /// What `reseal status` calls this instance: 1 to 128 characters, another for each instance
    ///
    /// Made of host, process id and 32 random bits unless it is given. Two instances with one name
    /// hide each other, and a rotation may then not see the one that lags behind.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How old a keyset in memory may become: 20 s by default
    ///
    /// Keep it under the rotations' `writer_ttl` (60 s by default): whoever writes with an older keyset
    /// meets the fence, and each refused write costs a reload. The price of less is one small query to
    /// the ledger, per instance and keyset, that much more often.
    #[must_use]
    pub fn refresh_every(mut self, age_max: Duration) -> Self {
        self.refresh_every = age_max;
        self
    }

    /// How often this instance says which key it writes with, and adds its encryptions to the ledger's
    /// count: 5 s by default; one that was silent for 30 s is taken for gone
    ///
    /// A process that dies leaves the encryptions since its last beat uncounted.
    #[must_use]
    pub fn beat_every(mut self, pause: Duration) -> Self {
        self.beat_every = pause;
        self
    }
}
