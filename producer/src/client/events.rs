//! The stream of events, across connections.

use super::{Client, ClientError, send::error_of};
use crate::api::Event;
use eventsource_stream::{EventStream, Eventsource};
use futures::{
    StreamExt,
    stream::{BoxStream, Stream},
};
use reqwest::{Method, header};
use std::time::Duration;

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// The server says something every fifteen seconds.
const SILENCE_MAX: Duration = Duration::from_secs(45);

type Bytes = BoxStream<'static, Result<Vec<u8>, reqwest::Error>>;

/// Events as they happen; see [`Client::events`].
pub struct Events {
    client: Client,
    rotation_id: Option<i64>,
    last: Option<i64>,
    pause: Duration,
    open: Option<EventStream<Bytes>>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Events {
    pub(super) fn new(client: Client, rotation_id: Option<i64>, last: Option<i64>) -> Self {
        Self { client, rotation_id, last, pause: PAUSE_MIN, open: None }
    }

    /// The place of the last change that was seen: begin again with it, also in another process.
    pub fn last_event_id(&self) -> Option<i64> {
        self.last
    }

    /// The next event. Waits as long as it takes, also for a server that is away.
    ///
    /// # Errors
    ///
    /// What the server refuses for good, such as a token that was revoked.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            let Some(open) = &mut self.open else {
                self.connect().await?;
                continue;
            };
            match open.next().await {
                Some(Ok(event)) => {
                    if let Ok(id) = event.id.parse() {
                        self.last = Some(id);
                    }
                    let said = serde_json::from_str::<serde_json::Value>(&event.data).ok();
                    let typed = said.map(|data| serde_json::json!({"event": event.event, "data": data}));
                    // An event of a newer server is passed over.
                    if let Some(event) = typed.and_then(|typed| serde_json::from_value(typed).ok()) {
                        return Ok(event);
                    }
                }
                Some(Err(_)) | None => {
                    self.open = None;
                    self.wait().await;
                }
            }
        }
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Event, ClientError>> + Send {
        futures::stream::unfold(Some(self), |events| async move {
            let mut events = events?;
            match events.next().await {
                Ok(event) => Some((Ok(event), Some(events))),
                Err(e) => Some((Err(e), None)),
            }
        })
    }

    async fn connect(&mut self) -> Result<(), ClientError> {
        let mut request = self.client.request(Method::GET, "/v1/events")?.header(header::ACCEPT, "text/event-stream");
        if let Some(id) = self.rotation_id {
            request = request.query(&[("rotation_id", id)]);
        }
        if let Some(last) = self.last {
            request = request.header("last-event-id", last);
        }
        match tokio::time::timeout(SILENCE_MAX, request.send()).await {
            Ok(Ok(response)) if response.status().is_success() => {
                let bytes: Bytes = response.bytes_stream().map(|piece| piece.map(|p| p.to_vec())).boxed();
                self.open = Some(heard(bytes).eventsource());
                self.pause = PAUSE_MIN;
            }
            Ok(Ok(response)) if response.status().is_client_error() && response.status().as_u16() != 429 => {
                return Err(error_of(response).await);
            }
            Ok(Ok(_) | Err(_)) | Err(_) => self.wait().await,
        }
        Ok(())
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

/// The same bytes, until they stop coming. Looked at here, because what is made of them leaves out the heartbeats.
fn heard(bytes: Bytes) -> Bytes {
    let next = |mut bytes: Bytes| async move {
        let piece = tokio::time::timeout(SILENCE_MAX, bytes.next()).await.ok()??;
        Some((piece, bytes))
    };
    futures::stream::unfold(bytes, next).boxed()
}
