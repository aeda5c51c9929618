//! One call: bounded, off the runtime's threads, in buffers that wipe themselves

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use futures::future::join_all;
use reseal_http::{JsonBody, Problem, RequestId};
use reseal_keyring::{KeyId, Layout, Prefix};
use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::Handle;
use zeroize::{Zeroize, Zeroizing};

use super::{
    Service, Turn,
    bytes::{self, Base64},
    refused,
    shapes::{
        CiphertextValue, DecryptAnswer, DecryptRequest, Decrypted, EncryptAnswer, EncryptRequest, Encrypted,
        PlaintextValue, ValueError,
    },
};
use crate::{
    Wiping,
    keysets::{Keysets, Loaded},
};

/// The longest keyset name that the ledger takes.
const KEYSET_CHARS_MAX: usize = 64;
/// Bytes that a cell of any algorithm has beside its plaintext.
const CELL_OVERHEAD_MAX: usize = 45;

pub(super) struct Call {
    service: Arc<Service>,
    /// For the person who asks who used a suspended key.
    place: String,
}

pub(super) trait Request: DeserializeOwned {
    type Answer: Serialize;
    const PATH: &str;

    fn values(&self) -> usize;

    async fn answer(self, call: &Call) -> Result<Self::Answer, Problem>;
}

/// Parses, works and writes the answer on a thread that may be held up: a call's work is bounded, but it would keep
/// a runtime's thread from others for many milliseconds. A client that goes away meanwhile does not end it.
pub(super) async fn perform<R: Request>(
    service: Arc<Service>,
    turn: Turn,
    id: Option<RequestId>,
    body: Result<JsonBody, Problem>,
) -> Result<Response, Problem> {
    let limits = service.limits;
    let body = body.map_err(|problem| if problem.status == 413 { refused::body_too_large(limits) } else { problem })?;
    let id = id.map_or_else(|| "a request without an id".to_owned(), |RequestId(id)| format!("request {id}"));
    let call = Call { service, place: format!("{id} to {}", R::PATH) };
    let (runtime, span) = (Handle::current(), tracing::Span::current());
    let work = move || {
        // Until the work is done, not until somebody has stopped waiting for it.
        let _turn = turn;
        span.in_scope(|| runtime.block_on(work::<R>(&call, body)))
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| refused::internal())?
}

async fn work<R: Request>(call: &Call, body: JsonBody) -> Result<Response, Problem> {
    let request = body.parse::<R>();
    // Where the body came in one piece its buffer is the connection's, which is not ours to wipe.
    if let Ok(mut body) = body.0.try_into_mut() {
        body[..].zeroize();
    }
    let request = request?;
    let limits = call.service.limits;
    if request.values() > limits.values {
        return Err(refused::too_many_values(request.values(), limits));
    }
    let answer = request.answer(call).await?;
    let mut json = Wiping::default();
    serde_json::to_writer(&mut json, &answer).map_err(|_| refused::internal())?;
    let mut response = Response::new(Body::from(Bytes::from_owner(json)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl Call {
    pub(super) fn keysets(&self) -> &Keysets {
        &self.service.storage.inner.keysets
    }

    pub(super) fn encrypted(&self, under: KeyId, values: usize) {
        let values = i64::try_from(values).unwrap_or(i64::MAX);
        self.keysets().counted.encryptions(under.0, values);
    }

    /// The bytes of a ciphertext and what it is bound to, if they are within their bounds.
    pub(super) fn cell(&self, value: &CiphertextValue) -> Result<Vec<u8>, ValueError> {
        let bytes_max = self.service.limits.value_bytes.saturating_add(CELL_OVERHEAD_MAX);
        if value.ciphertext.len() > bytes::encoded_len(bytes_max) {
            return Err(refused::VALUE_TOO_LARGE);
        }
        self.check_associated_data(value.associated_data.as_ref())?;
        bytes::decode(&value.ciphertext).ok_or(refused::NOT_BASE64)
    }

    /// The plaintext of the value that stands at `at` in the call.
    pub(super) async fn open(
        &self,
        loaded: &Arc<Loaded>,
        at: usize,
        value: &CiphertextValue,
        cell: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, ValueError> {
        let place = || format!("/values/{at} of {}", self.place);
        let associated_data = bound_to(value.associated_data.as_ref());
        let opened = self.keysets().open(loaded.clone(), Layout::NATIVE, cell, associated_data, place).await;
        opened.map_err(|error| ValueError::of(&error))
    }

    fn encrypt(&self, loaded: &Loaded, value: &PlaintextValue) -> Result<Vec<u8>, ValueError> {
        if value.plaintext.0.len() > self.service.limits.value_bytes {
            return Err(refused::VALUE_TOO_LARGE);
        }
        self.check_associated_data(value.associated_data.as_ref())?;
        Ok(loaded.keyset.encrypt(&value.plaintext.0, bound_to(value.associated_data.as_ref())))
    }

    async fn decrypt(&self, loaded: &Arc<Loaded>, at: usize, value: &CiphertextValue) -> Decrypted {
        let opened = match self.cell(value) {
            Ok(cell) => self.open(loaded, at, value, &cell).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(plaintext) => Decrypted::Done { plaintext: Base64(plaintext) },
            Err(error) => Decrypted::Refused { error },
        }
    }

    fn check_associated_data(&self, given: Option<&Base64>) -> Result<(), ValueError> {
        let fits = bound_to(given).len() <= self.service.limits.associated_data_bytes;
        if fits { Ok(()) } else { Err(refused::ASSOCIATED_DATA_TOO_LARGE) }
    }
}

impl Request for EncryptRequest {
    type Answer = EncryptAnswer;
    const PATH: &str = "/v1/encrypt";

    fn values(&self) -> usize {
        self.values.len()
    }

    async fn answer(self, call: &Call) -> Result<EncryptAnswer, Problem> {
        let keyset = keyset_name(self.keyset.as_deref())?;
        let loaded = call.keysets().for_writing(keyset).await.map_err(|error| refused::no_keyset(&error))?;
        let active = names_its_cells(&loaded)?;
        let mut done = 0;
        let one = |value: &PlaintextValue| match call.encrypt(&loaded, value) {
            Ok(cell) => {
                done += 1;
                Encrypted::Done { ciphertext: bytes::encode(cell) }
            }
            Err(error) => Encrypted::Refused { error },
        };
        let results = self.values.iter().map(one).collect();
        call.encrypted(active, done);
        Ok(EncryptAnswer { key_id: active.0, results })
    }
}

impl Request for DecryptRequest {
    type Answer = DecryptAnswer;
    const PATH: &str = "/v1/decrypt";

    fn values(&self) -> usize {
        self.values.len()
    }

    async fn answer(self, call: &Call) -> Result<DecryptAnswer, Problem> {
        let keyset = keyset_name(self.keyset.as_deref())?;
        let loaded = call.keysets().for_reading(keyset).await.map_err(|error| refused::no_keyset(&error))?;
        // Together, so that those that name unknown keys wait for one look into the ledger and not for one each.
        let results = join_all(self.values.iter().enumerate().map(|(at, value)| call.decrypt(&loaded, at, value)));
        Ok(DecryptAnswer { results: results.await })
    }
}

pub(super) fn bound_to(associated_data: Option<&Base64>) -> &[u8] {
    associated_data.map_or(&[], |data| &data.0)
}

pub(super) fn keyset_name(given: Option<&str>) -> Result<&str, Problem> {
    let name = given.unwrap_or("default");
    // The ledger is not asked for what it cannot have.
    if (1..=KEYSET_CHARS_MAX).contains(&name.chars().count()) { Ok(name) } else { Err(refused::unknown_keyset()) }
}

/// The active key, unless nobody could tell from its cells that they are under it.
pub(super) fn names_its_cells(loaded: &Loaded) -> Result<KeyId, Problem> {
    let active = loaded.keyset.active();
    match loaded.keyset.info(active).map(|key| key.prefix) {
        Some(Prefix::Raw) => Err(refused::raw_key_active(active)),
        _ => Ok(active),
    }
}

#[cfg(test)]
mod tests {
    use super::CELL_OVERHEAD_MAX;

    #[test]
    fn what_was_encrypted_at_the_bound_can_be_sent_back() {
        let longest = reseal_keyring::Algorithm::ALL.iter().map(|a| a.overhead()).max();
        assert_eq!(longest, Some(CELL_OVERHEAD_MAX));
    }
}
