/// Why a queue was not opened. Servers are named by host, never by URL: a URL can hold a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// Neither `memory:` nor a Redis URL.
    #[error("the queue's address is not understood ({0}); write redis://host:port or memory:")]
    Address(String),

    /// Goes into the names of keys, so not every character will do.
    #[error("the queue's namespace must be 1 to 64 letters, digits, '-', '_' or '.'")]
    Namespace,

    /// Nobody answered, or not in time.
    #[error("the Redis at {host} was not reached: {reason}; check its address and that it runs")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the connection said.
        reason: String,
    },

    /// It answered with an error.
    #[error("the Redis at {host} refused: {reason}; check user, password and their permissions")]
    Refused {
        /// Host and port.
        host: String,
        /// The server's answer.
        reason: String,
    },

    /// It would drop parts of the queue when memory runs short.
    #[error("the Redis at {host} evicts keys ({policy}); set maxmemory-policy noeviction")]
    Evicts {
        /// Host and port.
        host: String,
        /// Its `maxmemory-policy`.
        policy: String,
    },

    /// Its version or mode cannot run the queue's scripts.
    #[error("the Redis at {host} cannot carry the queue: {reason}")]
    Unsuitable {
        /// Host and port.
        host: String,
        /// What is missing, and what to use instead.
        reason: String,
    },

    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system: {0}")]
    Randomness(String),
}
