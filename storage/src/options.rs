//! What an application may choose

use std::time::Duration;

/// How an instance behaves; the defaults suit a rotation's defaults
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) name: Option<String>,
    pub(crate) refresh_every: Duration,
    pub(crate) confirmed_within: Duration,
    pub(crate) beat_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: None,
            refresh_every: Duration::from_secs(5),
            confirmed_within: Duration::from_secs(20),
            beat_every: Duration::from_secs(5),
        }
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

    /// How old a keyset in memory may become: 5 s by default
    ///
    /// A process whose keyset is older, such as one that was stopped for a while, asks the ledger before it
    /// encrypts. Keep this below the rotations' `writer_ttl` (60 s by default), which `reseal check` compares with
    /// it: a rotation waits for that long before its fence refuses the old key. The price of less is one small query
    /// to the ledger, per instance and keyset, that much more often.
    #[must_use]
    pub fn refresh_every(mut self, age_max: Duration) -> Self {
        self.refresh_every = age_max;
        self
    }

    /// How long a keyset still encrypts while the ledger does not answer: 20 s by default
    ///
    /// Counted from the last answer of the ledger. Afterwards nothing is encrypted until the ledger answers again, with
    /// [`StorageError::Unconfirmed`](crate::StorageError::Unconfirmed); reading continues. An instance that was silent
    /// for 30 s is taken for gone, and a rotation no longer waits for it before it destroys the old key. So a longer time
    /// is safe only where every rotation's `writer_ttl` and `clear_after` together are longer still.
    #[must_use]
    pub fn confirmed_within(mut self, age_max: Duration) -> Self {
        self.confirmed_within = age_max;
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
