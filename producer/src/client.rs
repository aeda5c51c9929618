//! The typed HTTP client: enqueue, follow, steer.

mod error;
mod events;
mod send;

pub use error::ClientError;
pub use events::Events;

use crate::api::{
    Batch, Failure, Key, KeyDetail, Limits, NewCensus, NewDryRun, NewRotation, Operation, OperationState, Page, Reason,
    Retry, Rotation, RotationDetail, RotationState,
};
use reqwest::{Certificate, Method, Url, redirect::Policy};
use send::Call;
use std::{fmt, sync::Arc, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(70);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A client of one `reseal serve`
///
/// Clones share their connections. What can be asked twice with one effect is asked again when the server does not answer, is
/// busy, or says when to come back: with growing pauses, for about half a minute. The price: a call can take that long.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    base: Url,
    token: String,
}

/// Options of a [`Client`].
#[derive(Clone, Debug, Default)]
pub struct Options {
    root_certificate: Option<Vec<u8>>,
}

impl Options {
    /// Trusts this authority too: a certificate as PEM.
    #[must_use]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificate = Some(pem.into());
        self
    }
}

/// How far [`Client::wait`] follows a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until it is proved that nothing is left under the old key; the waiting time may be long.
    Proved,
    /// Until it has ended: the old key is destroyed, or it was cancelled or turned round.
    Ended,
}

impl Client {
    /// For the server at `url`, e.g. `http://127.0.0.1:7373`, with a token that `reseal token create` made. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// A URL that is none, or of another scheme than http and https.
    pub fn new(url: &str, token: impl Into<String>) -> Result<Self, ClientError> {
        Self::with(url, token, Options::default())
    }

    /// The same with options.
    ///
    /// # Errors
    ///
    /// As [`Client::new`], and a certificate that cannot be read.
    pub fn with(url: &str, token: impl Into<String>, options: Options) -> Result<Self, ClientError> {
        let base = Url::parse(url).map_err(|e| ClientError::Usage(format!("`{url}` is not a URL: {e}")))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(ClientError::Usage(format!("`{url}` is neither http nor https")));
        }
        // A redirect would carry the token to wherever it leads.
        let mut http = reqwest::Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("reseal-producer/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = options.root_certificate {
            let bad = |e: reqwest::Error| ClientError::Usage(format!("the root certificate cannot be read: {e}"));
            http = http.add_root_certificate(Certificate::from_pem(&pem).map_err(bad)?);
        }
        let http = http.build().map_err(|e| ClientError::Usage(e.to_string()))?;
        Ok(Self(Arc::new(Inner { http, base, token: token.into() })))
    }

    /// Asks for a rotation. The same `idempotency_key` with the same request gives the same rotation, however often and from however
    /// many processes it is sent: take one that belongs to the reason, such as `2026-11`.
    ///
    /// # Errors
    ///
    /// `rotation_open` with the extension `rotation_id` while another one of the keyset is open.
    pub async fn enqueue(&self, new: &NewRotation, idempotency_key: &str) -> Result<Rotation, ClientError> {
        self.call(Call::post("/v1/rotations").body(new)?.key(idempotency_key)).await
    }

    /// How a rotation stands.
    ///
    /// # Errors
    ///
    /// `unknown_rotation`.
    pub async fn rotation(&self, id: i64) -> Result<RotationDetail, ClientError> {
        self.call(Call::get(&format!("/v1/rotations/{id}"))).await
    }

    /// Rotations, newest first; `cursor` is `next_cursor` of the page before.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn rotations(&self, keyset: Option<&str>, cursor: Option<&str>) -> Result<Page<Rotation>, ClientError> {
        self.call(Call::get("/v1/rotations").query("keyset", keyset).query("cursor", cursor)).await
    }

    /// Follows a rotation and says how it stands then. Looks once a second; what goes wrong for less than half a minute is borne.
    ///
    /// # Errors
    ///
    /// [`ClientError::NeedsAttention`] when nothing can go on without a person.
    pub async fn wait(&self, id: i64, until: Until) -> Result<RotationDetail, ClientError> {
        loop {
            let detail = self.rotation(id).await?;
            let rotation = &detail.rotation;
            let proved = matches!(rotation.state, RotationState::Waiting | RotationState::Clearing);
            if rotation.completed_at.is_some() || (until == Until::Proved && proved) {
                return Ok(detail);
            }
            if rotation.needs_attention {
                return Err(ClientError::NeedsAttention(Box::new(detail)));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What failed, by cause.
    ///
    /// # Errors
    ///
    /// `unknown_rotation`.
    pub async fn failures(&self, rotation_id: i64) -> Result<Vec<Failure>, ClientError> {
        self.call(Call::get(&format!("/v1/rotations/{rotation_id}/failures"))).await
    }

    /// Batches of a rotation; `cursor` is `next_cursor` of the page before.
    ///
    /// # Errors
    ///
    /// `unknown_rotation`.
    pub async fn batches(&self, rotation_id: i64, cursor: Option<&str>) -> Result<Page<Batch>, ClientError> {
        self.call(Call::get(&format!("/v1/rotations/{rotation_id}/batches")).query("cursor", cursor)).await
    }

    /// Does failed batches again, as many as the filter names.
    ///
    /// # Errors
    ///
    /// `rotation_ended`.
    pub async fn retry(
        &self,
        rotation_id: i64,
        which: &Retry,
        idempotency_key: &str,
    ) -> Result<Operation, ClientError> {
        self.call(Call::post(&format!("/v1/rotations/{rotation_id}/retry")).body(which)?.key(idempotency_key)).await
    }

    /// Stops a rotation's workers at their next chunk.
    ///
    /// # Errors
    ///
    /// `rotation_ended`.
    pub async fn pause(&self, id: i64, reason: &Reason) -> Result<RotationDetail, ClientError> {
        self.call(Call::post(&format!("/v1/rotations/{id}/pause")).body(reason)?.again()).await
    }

    /// Lets a paused rotation go on.
    ///
    /// # Errors
    ///
    /// `rotation_ended`.
    pub async fn resume(&self, id: i64) -> Result<RotationDetail, ClientError> {
        self.call(Call::post(&format!("/v1/rotations/{id}/resume")).again()).await
    }

    /// Stops a rotation for good; every value stays readable.
    ///
    /// # Errors
    ///
    /// `rotation_ended`, `key_destroyed`.
    pub async fn cancel(&self, id: i64, reason: &Reason) -> Result<RotationDetail, ClientError> {
        self.call(Call::post(&format!("/v1/rotations/{id}/cancel")).body(reason)?.again()).await
    }

    /// Turns a rotation round, and says which rotation does so.
    ///
    /// # Errors
    ///
    /// `too_late_to_roll_back`, `nothing_to_roll_back`.
    pub async fn roll_back(&self, id: i64, reason: &Reason) -> Result<RotationDetail, ClientError> {
        self.call(Call::post(&format!("/v1/rotations/{id}/rollback")).body(reason)?.again()).await
    }

    /// Sets how fast a rotation may go.
    ///
    /// # Errors
    ///
    /// `rotation_ended`.
    pub async fn limit(&self, id: i64, limits: &Limits) -> Result<Limits, ClientError> {
        self.call(Call::new(Method::PUT, &format!("/v1/rotations/{id}/limits")).body(limits)?.again()).await
    }

    /// Approves the clearing, where two persons must agree to it.
    ///
    /// # Errors
    ///
    /// `same_person`.
    pub async fn approve(&self, id: i64) -> Result<RotationDetail, ClientError> {
        self.call(Call::post(&format!("/v1/rotations/{id}/approve")).again()).await
    }

    /// Asks for a dry run; see [`Client::wait_for`].
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn dry_run(&self, what: &NewDryRun, idempotency_key: &str) -> Result<Operation, ClientError> {
        self.call(Call::post("/v1/dry-runs").body(what)?.key(idempotency_key)).await
    }

    /// Asks for a census; see [`Client::wait_for`].
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn census(&self, what: &NewCensus, idempotency_key: &str) -> Result<Operation, ClientError> {
        self.call(Call::post("/v1/census").body(what)?.key(idempotency_key)).await
    }

    /// Asks for the clearing of a retired key.
    ///
    /// # Errors
    ///
    /// `key_in_use` with the extension `conditions`: what still needs the key.
    pub async fn clear_key(&self, key_id: i64, idempotency_key: &str) -> Result<Operation, ClientError> {
        self.call(Call::post(&format!("/v1/keys/{key_id}/clear")).key(idempotency_key)).await
    }

    /// How an operation stands.
    ///
    /// # Errors
    ///
    /// `unknown_operation`.
    pub async fn operation(&self, id: i64) -> Result<Operation, ClientError> {
        self.call(Call::get(&format!("/v1/operations/{id}"))).await
    }

    /// Follows an operation to its end; [`Operation::state`] says which.
    ///
    /// # Errors
    ///
    /// `unknown_operation`.
    pub async fn wait_for(&self, operation_id: i64) -> Result<Operation, ClientError> {
        loop {
            let operation = self.operation(operation_id).await?;
            if !matches!(operation.state, OperationState::Requested | OperationState::Running) {
                return Ok(operation);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Every key that there is or was.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn keys(&self, keyset: Option<&str>) -> Result<Vec<Key>, ClientError> {
        self.call(Call::get("/v1/keys").query("keyset", keyset)).await
    }

    /// A key, and what stands between it and its clearing.
    ///
    /// # Errors
    ///
    /// `unknown_key`.
    pub async fn key(&self, key_id: i64) -> Result<KeyDetail, ClientError> {
        self.call(Call::get(&format!("/v1/keys/{key_id}"))).await
    }

    /// What is done, as it happens, of one rotation or of all; from after the change `last_event_id`, or from now. Comes back by
    /// itself when the connection is lost, and misses no change.
    pub fn events(&self, rotation_id: Option<i64>, last_event_id: Option<i64>) -> Events {
        Events::new(self.clone(), rotation_id, last_event_id)
    }
}

// Not derived: the token.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.0.base.as_str()).finish_non_exhaustive()
    }
}
