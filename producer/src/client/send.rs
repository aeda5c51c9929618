//! One call, and whether it may be sent again.

use super::{Client, ClientError, TIMEOUT};
use crate::api::Problem;
use backon::{ExponentialBuilder, Retryable};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// Whether a call has one effect however often it is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Safe,
    Once,
}

/// What is to be sent.
pub(super) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<serde_json::Value>,
    key: Option<String>,
    repeat: Repeat,
}

impl Call {
    pub(super) fn new(method: Method, path: &str) -> Self {
        let repeat = if method == Method::GET { Repeat::Safe } else { Repeat::Once };
        Self { method, path: path.to_owned(), query: Vec::new(), body: None, key: None, repeat }
    }

    pub(super) fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post(path: &str) -> Self {
        Self::new(Method::POST, path)
    }

    pub(super) fn query(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_owned())));
        self
    }

    pub(super) fn body(mut self, body: &impl Serialize) -> Result<Self, ClientError> {
        self.body = Some(serde_json::to_value(body).map_err(|e| ClientError::Usage(e.to_string()))?);
        Ok(self)
    }

    /// The server answers the same key with the same answer.
    pub(super) fn key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), repeat: Repeat::Safe, ..self }
    }

    /// Asking for what is so already changes nothing.
    pub(super) fn again(self) -> Self {
        Self { repeat: Repeat::Safe, ..self }
    }
}

/// A failure, and whether and when the call may be sent again.
struct Failed {
    error: ClientError,
    again: bool,
    after: Option<Duration>,
}

impl Client {
    pub(super) async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(8))
            .with_max_times(7)
            .with_jitter();
        let repeats = call.repeat == Repeat::Safe;
        let send = || self.send(&call);
        let sent = send
            .retry(pauses)
            .when(|failed: &Failed| failed.again && repeats)
            .adjust(|failed: &Failed, pause| pause.map(|pause| failed.after.map_or(pause, |after| after.max(pause))))
            .await;
        let body = sent.map_err(|failed| failed.error)?;
        serde_json::from_slice(&body)
            .map_err(|e| ClientError::Unexpected(format!("{} {}: {e}", call.method, call.path)))
    }

    async fn send(&self, call: &Call) -> Result<Vec<u8>, Failed> {
        let mut request =
            self.request(call.method.clone(), &call.path).map_err(never)?.timeout(TIMEOUT).query(&call.query);
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|e| lost(&e))?;
        if response.status().is_success() {
            return Ok(response.bytes().await.map_err(|e| lost(&e))?.to_vec());
        }
        Err(refused(response).await)
    }

    pub(super) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ClientError> {
        let mut url = self.0.base.clone();
        let under = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{under}{path}"));
        Ok(self.0.http.request(method, url).bearer_auth(&self.0.token))
    }
}

fn never(error: ClientError) -> Failed {
    Failed { error, again: false, after: None }
}

fn lost(error: &reqwest::Error) -> Failed {
    let mut why = error.to_string();
    let mut behind = std::error::Error::source(error);
    while let Some(cause) = behind {
        why = cause.to_string();
        behind = cause.source();
    }
    Failed { error: ClientError::Unreachable(why), again: true, after: None }
}

async fn refused(response: Response) -> Failed {
    let status = response.status();
    let after = response.headers().get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    let error = error_of(response).await;
    let again = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    Failed { error, again, after: after.map(Duration::from_secs) }
}

/// The problem that an answer carries.
pub(super) async fn error_of(response: Response) -> ClientError {
    let status = response.status();
    let problem = response.bytes().await.ok().and_then(|body| serde_json::from_slice::<Problem>(&body).ok());
    problem.map_or_else(|| ClientError::Unexpected(format!("status {status}")), |p| ClientError::Problem(Box::new(p)))
}
