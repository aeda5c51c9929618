//! A limit for what is asked of the ledger.
//!
//! A PostgreSQL whose host is gone says nothing more, and a lane that waits for it would be held for ever.

use crate::error::EngineError;
use std::time::Duration;

/// So long the ledger may say nothing. Its statements take milliseconds, or wait for locks of others that do.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What the ledger says, unless it says nothing.
pub(crate) async fn heard<T, E: Into<EngineError>>(ask: impl Future<Output = Result<T, E>>) -> Result<T, EngineError> {
    match tokio::time::timeout(SILENCE_MAX, ask).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => {
            let message = format!(
                "nothing was heard from the ledger for {} s: the server or the way to it may be gone without a word",
                SILENCE_MAX.as_secs()
            );
            Err(EngineError::refused("ledger_silent", message))
        }
    }
}
