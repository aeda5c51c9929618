//! Codes in words: what kind of failure each is, and what to do. The ledger knows neither source nor cipher and
//! repeats their codes here; a test holds the two lists together.

use serde::Serialize;

/// What kind of thing a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Nature {
    /// Passes by itself or with what it waits for: do it again then.
    Transient,
    /// Too large or too slow for the source as it is set.
    Size,
    /// The row itself: doing it again changes nothing before the row is mended.
    Poison,
    /// Rights, schema, keys or configuration: a person changes those first.
    Setup,
}

/// The nature of a failure with `code`, and what to do about it.
pub fn cause(code: &str) -> (Nature, &'static str) {
    use Nature::{Poison, Setup, Size, Transient};
    match code {
        "source_unreachable" | "source_failed" | "source_silent" => {
            (Transient, "see that the source is up and reachable from every worker, then retry")
        }
        "source_busy" => (
            Transient,
            "the source has too few connections for its workers: give it more, or lower worker.lanes, then retry",
        ),
        "source_conflict" => (
            Transient,
            "the application changes the same rows all the time: retry when it is quieter, or with fewer lanes",
        ),
        "source_lock_timeout" => (Transient, "something holds a lock on the table for long: let it end, then retry"),
        "source_read_only" => (
            Transient,
            "the source is read-only: let the primary take writes, or correct the URL, the file's rights or the role's settings",
        ),
        "source_disk_full" => (Transient, "the source's disk is full: make room, then retry"),
        "fenced" | "keyset_stale" => {
            (Transient, "a worker had an older keyset than the source: it has reloaded, retry")
        }
        "ledger_failed" | "ledger_silent" | "lease_lost" => {
            (Transient, "the ledger did not answer as it should: see that it is up, then retry")
        }
        "source_statement_timeout" => (
            Size,
            "a statement took longer than the 30 s that it is given: lower rotation.chunk_rows, or see what slows the table down, then retry",
        ),
        "source_too_large" => {
            (Size, "the value is too large for the source's limits on a statement: raise them, then retry")
        }
        "kills_its_worker" | "reencryption_panicked" => {
            (Size, "workers died at it: see their logs and memory, give them more of it, then retry")
        }
        "write_refused" => {
            (Poison, "a constraint or trigger refuses the re-encrypted row: mend the row or the rule, then retry")
        }
        "write_ignored" => (
            Poison,
            "a trigger returns NULL or ignores the row, so that it stays as it is: let it pass changes of encrypted columns, then retry",
        ),
        "value_altered" => {
            (Setup, "a trigger changes re-encrypted values: let it leave encrypted columns alone, then retry")
        }
        "source_type" => {
            (Poison, "the source returned a value of another type than its schema says: mend the row, then retry")
        }
        "cell_empty" | "cell_truncated" | "cell_wrong_version" | "cell_not_base64" => (
            Poison,
            "it is no encrypted value: put the right one back and retry, or give it up with `reseal quarantine resolve N --abandon`",
        ),
        "not_authentic" => (
            Poison,
            "it was damaged, or belongs to another row: put the right value back and retry, or give it up with `reseal quarantine resolve N --abandon`",
        ),
        "unknown_key" => (
            Poison,
            "its key is in no keyset here: bring the key in with `reseal keys import` or `reseal keys recover`, then retry",
        ),
        "key_not_usable" => (
            Poison,
            "its key is suspended, destroyed or not active yet: see `reseal keys list`, put another value back, then retry",
        ),
        "raw_key_active" => {
            (Setup, "the active key is a raw one, and no value can be re-encrypted to it: rotate to a Tink key")
        }
        "raw_cell" => (
            Setup,
            "the column was declared as plaintext and holds encrypted values: declare format raw-aes-gcm, then retry",
        ),
        "cell_inside" => (Poison, "the value holds an encrypted value inside: take it out, then retry"),
        "not_round_trip" => {
            (Setup, "what was re-encrypted did not decrypt again: check that machine's memory, then retry on another")
        }
        "source_refused" => {
            (Setup, "see the code, and the triggers, publications and settings of the table; the rows are not at fault")
        }
        "source_damaged" => (Setup, "restore the source's file, or correct the URL"),
        "source_rights" => (Setup, "give the role the right that is named, then retry"),
        "source_schema" => (Setup, "the table changed since the plan: put it back, or cancel and rotate anew"),
        "source_login" | "source_tls" | "source_url" | "source_too_old" => {
            (Setup, "mend the source's URL or its login, then retry")
        }
        "source_not_configured" => (Setup, "add the [[source]] to every worker's configuration, then retry"),
        "source_is_older" => {
            (Setup, "a worker is connected to a restored backup, a clone or an old primary: mend its URL, then retry")
        }
        "source_owned" | "ledger_moved" | "ledger_is_older" => {
            (Setup, "the source belongs to another ledger, or to another state of this one: see its detail, then retry")
        }
        "source_replaced" => {
            (Transient, "the source's file was replaced while rows were written: the new one is opened at the next try")
        }
        "source_is_another" => {
            (Setup, "a worker is connected to another database than was registered: mend its URL, then retry")
        }
        code if code.starts_with("kek_") || code.starts_with("keyset_") || code.starts_with("backup_") => {
            (Setup, "a worker cannot use the keys: see `reseal check` there, then retry")
        }
        "wrapped_malformed" | "dek_wrong_length" => {
            (Setup, "a key in the ledger is damaged: see `reseal keys recover`, then retry")
        }
        _ => (Setup, "see the sample and the worker's log, mend the cause, then retry"),
    }
}
