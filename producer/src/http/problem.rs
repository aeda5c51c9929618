//! What the ledger said, as a problem.

use reseal_entities::ledger::LedgerError;
use reseal_http::Problem;

/// The status belongs to the code. A database's own words go to the log, never out.
pub fn problem(error: LedgerError) -> Problem {
    match error {
        LedgerError::Database(_) => {
            tracing::error!("{error}");
            let detail = "the ledger's database did not answer as it should, and what was asked for may be done or not: look, or send the same \
                          request again with its Idempotency-Key";
            Problem::new(503, "ledger_failed", detail)
        }
        LedgerError::LeaseLost => Problem::new(409, "lease_lost", "somebody else was quicker: look again"),
        LedgerError::Refused { code, message } => Problem::new(status(code), code, message),
    }
}

fn status(code: &str) -> u16 {
    match code {
        _ if code.starts_with("unknown_") => 404,
        "no_randomness" | "audit_without_head" => 500,
        _ => 409,
    }
}
