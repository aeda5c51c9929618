//! What is refused, and in which words: a value, or the whole call

use reseal_http::{FieldError, Problem};
use reseal_keyring::{KeyId, KeyState};
use utoipa::IntoResponses;

use super::{ServiceLimits, shapes::ValueError};
use crate::StorageError;

/// For everything that does not authenticate, whatever the reason: which of them it was would tell somebody who
/// alters a ciphertext how far it got.
const DECRYPTION_FAILED: ValueError = ValueError {
    code: "decryption_failed",
    detail: "the value does not decrypt with this associated data and this keyset: compare both with what encrypted it",
};
/// It authenticates, so its caller holds the whole value: this tells nobody anything that it should not.
const KEY_SUSPENDED: ValueError = ValueError {
    code: "key_suspended",
    detail: "the value's key is suspended, and about to be destroyed unless that is held: tell an operator, who sees in \
             `reseal status` what became of it",
};
const KEYSET_UNAVAILABLE: ValueError = ValueError {
    code: "keyset_unavailable",
    detail: "the value names a key that the server does not know yet, and the ledger could not be asked: try again",
};
pub(super) const NOT_BASE64: ValueError = ValueError {
    code: "not_base64",
    detail: "not base64 with the standard alphabet and padding: look at how the value was stored",
};
pub(super) const UNDER_ANOTHER_KEY: ValueError = ValueError {
    code: "under_another_key",
    detail: "the value is under another key than from_key_id: leave from_key_id out to take it as it is",
};
pub(super) const VALUE_TOO_LARGE: ValueError = ValueError {
    code: "value_too_large",
    detail: "the value is larger than this server takes: split it, or encrypt it where it is, with a keyset of Tink's",
};
pub(super) const ASSOCIATED_DATA_TOO_LARGE: ValueError = ValueError {
    code: "associated_data_too_large",
    detail: "the associated data is larger than this server takes: bind the value to a name or a hash of it",
};
pub(super) const NOT_ROUND_TRIP: ValueError = ValueError {
    code: "not_round_trip",
    detail: "the re-encrypted value did not decrypt to the same: keep the one you have, and check the server's memory",
};

pub(super) fn too_busy() -> Problem {
    Problem::new(503, "too_busy", "too many calls at once: try again in a second").with("retry_after", 1)
}

impl ValueError {
    pub(super) fn of(error: &StorageError) -> Self {
        match error {
            StorageError::Cell { .. } => DECRYPTION_FAILED,
            StorageError::Suspended { .. } => KEY_SUSPENDED,
            _ => KEYSET_UNAVAILABLE,
        }
    }

    pub(super) fn decryption_failed() -> Self {
        DECRYPTION_FAILED
    }
}

/// Names the field, like bad input, with a status and a code of its own.
fn field(status: u16, code: &str, pointer: &str, detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    let mut problem = Problem::new(status, code, detail.clone());
    problem.errors.push(FieldError { pointer: pointer.to_owned(), detail });
    problem
}

pub(super) fn too_many_values(values: usize, limits: ServiceLimits) -> Problem {
    let most = limits.values;
    let detail = format!("{values} values, and a call takes {most}: send the rest in further calls");
    Problem::invalid("/values", detail).with("values_max", most)
}

pub(super) fn body_too_large(limits: ServiceLimits) -> Problem {
    let most = limits.body_bytes;
    let detail = format!("the body has more than the {most} bytes that a call takes: send fewer values at a time");
    Problem::new(413, "body_too_large", detail).with("body_bytes_max", most)
}

/// A keyset without which nothing can be done. The name is not quoted: it may be a value in the wrong place.
pub(super) fn no_keyset(error: &StorageError) -> Problem {
    if matches!(error, StorageError::NoKeyset(_)) {
        return unknown_keyset();
    }
    if let StorageError::Unconfirmed { .. } = error {
        let detail = "the ledger has not confirmed the keyset for too long, and its key may be retired by now: nothing was \
                      encrypted, try again when the ledger answers; decrypting goes on";
        return Problem::new(503, "keyset_unconfirmed", detail);
    }
    tracing::warn!(%error, "a call to the encryption service was refused: its keyset cannot be used");
    let detail = "the keyset cannot be used at the moment, the server's log says why: try again in a second";
    Problem::new(503, "keyset_unavailable", detail)
}

pub(super) fn unknown_keyset() -> Problem {
    field(404, "no_keyset", "/keyset", "the ledger has no keyset of this name: see `reseal keys list`")
}

pub(super) fn raw_key_active(active: KeyId) -> Problem {
    let detail = format!(
        "the keyset's active key {active} writes ciphertexts that do not name it: rotate the keyset, its next key does"
    );
    field(409, "raw_key_active", "/keyset", detail).with("key_id", active)
}

pub(super) fn unknown_key(to: KeyId) -> Problem {
    field(404, "unknown_key", "/to_key_id", format!("the keyset has no key {to}: see `reseal keys list`"))
}

pub(super) fn key_not_active(to: KeyId, state: KeyState, active: KeyId) -> Problem {
    let detail = format!(
        "key {to} is {state}, and only the active key encrypts, which is {active}: leave to_key_id out, or rotate first"
    );
    let problem = field(409, "key_not_active", "/to_key_id", detail);
    problem.with("state", state.as_str()).with("active_key_id", active)
}

pub(super) fn key_compromised(to: KeyId) -> Problem {
    let detail = format!("key {to} is marked as compromised: rotate the keyset, then re-encrypt to its next key");
    field(409, "key_compromised", "/to_key_id", detail)
}

pub(super) fn internal() -> Problem {
    Problem::new(500, "internal", "something went wrong that should not: see the server's log by the request id")
}

/// The whole call was refused; nothing was done
#[derive(IntoResponses)]
#[expect(dead_code, reason = "described, never made")]
pub(super) enum Refusals {
    /// The body is not JSON
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// `no_keyset`, or `unknown_key`: the keyset has no key `to_key_id`
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(Problem),
    /// `raw_key_active`; `key_not_active` and `key_compromised` for `to_key_id`
    #[response(status = 409, content_type = "application/problem+json")]
    NotNow(Problem),
    /// `body_too_large`, with `body_bytes_max`
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not declared as JSON
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// `invalid_request`: a field that is wrong, or too many values, with `values_max`
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
    /// `keyset_unavailable`: the ledger does not answer, or its keys do not unwrap; `keyset_unconfirmed`: it has not answered
    /// for so long that nothing is encrypted
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}
