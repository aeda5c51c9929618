//! The encryption service: what an application embeds, over HTTP, for those that cannot
//!
//! Three routes, many values a call, one result a value in the order of the request: a bad value does not refuse
//! the others. Cells are Tink's bytes, as everywhere; nothing is stored. `docs/encryption-service.md` says what is
//! guaranteed, and at what price.

#![expect(clippy::result_large_err, reason = "a problem is made once, and answered")]

mod bytes;
mod call;
mod reencrypt;
mod refused;
mod shapes;

use std::sync::Arc;

use axum::{
    extract::{DefaultBodyLimit, FromRequestParts, State},
    http::request::Parts,
    response::{IntoResponse, Response},
};
use reseal_http::{JsonBody, Problem, RequestId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::Storage;
use call::perform;
use refused::Refusals;
use shapes::{DecryptAnswer, DecryptRequest, EncryptAnswer, EncryptRequest, ReencryptAnswer, ReencryptRequest};

/// What one call may take
///
/// The work and the memory of a call are bounded by its body. Calls at once are the server's to bound: each of them
/// holds about four times its body.
#[derive(Clone, Copy, Debug)]
pub struct ServiceLimits {
    /// Values of a call: 1,000
    pub values: usize,
    /// Bytes of a value's plaintext: 65,536; its ciphertext may have the 45 more that a cell has at most
    pub value_bytes: usize,
    /// Bytes that a value is bound to: 4,096
    pub associated_data_bytes: usize,
    /// Bytes of a body: 8 MiB, on these routes alone
    pub body_bytes: usize,
    /// Calls at once: 16; one more is answered 503 and told to come back. Each holds about four times its body until its work
    /// is done, also when its client has gone
    pub calls: usize,
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self { values: 1_000, value_bytes: 65_536, associated_data_bytes: 4_096, body_bytes: 8 << 20, calls: 16 }
    }
}

/// The routes `POST /v1/encrypt`, `/v1/decrypt` and `/v1/re-encrypt`, with their part of the OpenAPI document
///
/// They ask nobody who they are: whoever mounts them puts authentication around (the right is that of an
/// application), the time-out, the bound on calls at once, and [`reseal_http::with_request_id`], by which a person
/// finds who used a suspended key. [`Storage::close`] is the caller's, too.
pub fn service(storage: Storage, limits: ServiceLimits) -> OpenApiRouter {
    let service = Service { storage, limits, calls: Arc::new(Semaphore::new(limits.calls)) };
    routes().layer(DefaultBodyLimit::max(limits.body_bytes)).with_state(Arc::new(service))
}

/// That part of the document alone, for who serves nothing
#[must_use]
pub fn described() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(encrypt))
        .routes(routes!(decrypt))
        .routes(routes!(reencrypt))
}

#[derive(OpenApi)]
#[openapi(
    components(schemas(Problem)),
    tags((name = "encryption", description = "Encrypt, decrypt and re-encrypt values that are kept elsewhere"))
)]
struct Document;

struct Service {
    storage: Storage,
    limits: ServiceLimits,
    calls: Arc<Semaphore>,
}

/// A place among the calls at once, taken before a body is read
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl FromRequestParts<Arc<Service>> for Turn {
    type Rejection = Response;

    async fn from_request_parts(_: &mut Parts, service: &Arc<Service>) -> Result<Self, Response> {
        let permit = service.calls.clone().try_acquire_owned();
        permit.map(|_permit| Self { _permit }).map_err(|_| refused::too_busy().into_response())
    }
}

/// Encrypt values
///
/// Under the keyset's active key, which the answer names. A client that stores what it got for longer than a
/// rotation's `writer_ttl` may find it refused by the database's fence: re-encrypt it then.
#[utoipa::path(
    post,
    path = "/v1/encrypt",
    operation_id = "encrypt",
    tag = "encryption",
    request_body = EncryptRequest,
    responses((status = 200, description = "A result for each value, in the order of the request", body = EncryptAnswer), Refusals)
)]
async fn encrypt(
    State(service): State<Arc<Service>>,
    turn: Turn,
    id: Result<RequestId, Problem>,
    body: Result<JsonBody, Problem>,
) -> Result<Response, Problem> {
    perform::<EncryptRequest>(service, turn, id.ok(), body).await
}

/// Decrypt values
///
/// Each under the key that its header names. Whatever does not authenticate gets one and the same error.
#[utoipa::path(
    post,
    path = "/v1/decrypt",
    operation_id = "decrypt",
    tag = "encryption",
    request_body = DecryptRequest,
    responses((status = 200, description = "A result for each value, in the order of the request", body = DecryptAnswer), Refusals)
)]
async fn decrypt(
    State(service): State<Arc<Service>>,
    turn: Turn,
    id: Result<RequestId, Problem>,
    body: Result<JsonBody, Problem>,
) -> Result<Response, Problem> {
    perform::<DecryptRequest>(service, turn, id.ok(), body).await
}

/// Re-encrypt values
///
/// Under the keyset's active key, with the same associated data; no plaintext leaves. A value that is under it
/// already comes back as it is, so that a call may be repeated.
#[utoipa::path(
    post,
    path = "/v1/re-encrypt",
    operation_id = "reencrypt",
    tag = "encryption",
    request_body = ReencryptRequest,
    responses((status = 200, description = "A result for each value, in the order of the request", body = ReencryptAnswer), Refusals)
)]
async fn reencrypt(
    State(service): State<Arc<Service>>,
    turn: Turn,
    id: Result<RequestId, Problem>,
    body: Result<JsonBody, Problem>,
) -> Result<Response, Problem> {
    perform::<ReencryptRequest>(service, turn, id.ok(), body).await
}
