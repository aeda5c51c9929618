//! Server-sent events: what is done, and how open rotations stand.

use super::{
    App,
    auth::Caller,
    hub::{Listener, Seen, change},
    problem::problem,
};
use crate::api::{Change, Event};
use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{self, KeepAlive, Sse},
};
use futures::{Stream, StreamExt, stream};
use reseal_entities::ledger::{LedgerError, pages};
use reseal_http::{Problem, Query};
use serde::Deserialize;
use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Streams at once; one more is refused.
const STREAMS_MAX: usize = 2_000;
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(events))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Only this rotation, and changes of it.
    rotation_id: Option<i64>,
}

/// Sends what is done as it happens
///
/// `change` events are what the audit records, each once and in order; their `id` is their place there, and a client that comes back
/// with it as `Last-Event-ID` misses none, also after a restart of the server. Without it the stream begins now. `rotation` events
/// are how an open rotation stands, at most two a second; only the last one counts. A stream that begins now says first where that
/// is, by a `ready` event with an id. A comment every 15 s shows that the
/// line is alive.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "streamEvents",
    params(Which, ("Last-Event-ID" = Option<i64>, Header, description = "The last id that was received")),
    responses((status = 200, description = "Events; the data of each is JSON", content_type = "text/event-stream", body = Event))
)]
pub(crate) async fn events(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Query(which): Query<Which>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Problem> {
    let last = headers.get("last-event-id").filter(|id| !id.is_empty());
    let last = last.map(|id| id.to_str().ok().and_then(|id| id.parse::<i64>().ok()).filter(|id| *id >= 0));
    let last = match last {
        Some(None) => return Err(Problem::invalid("Last-Event-ID", "not an id of this stream")),
        last => last.flatten(),
    };
    if app.hub().listeners() >= STREAMS_MAX {
        return Err(Problem::new(503, "too_busy", "too many streams of events at once: try again later"));
    }
    let (closing, refused) = (app.closing(), app.clone().until_refused(caller));
    let from = Reader { listener: app.hub().listen(), app, last, sent: BTreeMap::new(), only: which.rotation_id };
    let groups = stream::unfold(from, |mut reader| async move {
        let events = reader.next().await?;
        Some((stream::iter(events), reader))
    });
    let stream = groups.flatten().map(Ok).take_until(futures::future::select(Box::pin(closing), Box::pin(refused)));
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("alive")))
}

/// Where one client is.
struct Reader {
    app: App,
    listener: Listener,
    /// The last change that it was sent, or passed over; none: it begins at the end.
    last: Option<i64>,
    /// Which version of each rotation it was sent.
    sent: BTreeMap<i64, u64>,
    only: Option<i64>,
}

impl Reader {
    /// The next events, when there are some; none: the stream ends, and the client comes back to where it was.
    async fn next(&mut self) -> Option<Vec<sse::Event>> {
        loop {
            let seen = self.listener.seen.borrow_and_update().clone();
            let events = match seen.seq {
                0 => Vec::new(), // nobody has looked yet
                _ => match self.since(&seen).await {
                    Ok(events) => events,
                    Err(e) => {
                        tracing::warn!("a stream of events ends: {}", problem(e));
                        return None;
                    }
                },
            };
            if !events.is_empty() {
                return Some(events);
            }
            // A page may hold nothing that is wanted, and the next one may.
            if self.last.is_some_and(|last| last < seen.seq) {
                continue;
            }
            self.listener.seen.changed().await.ok()?;
        }
    }

    async fn since(&mut self, seen: &Seen) -> Result<Vec<sse::Event>, LedgerError> {
        let mut events = Vec::new();
        if self.last.is_none() {
            // So that who is cut off before the first change knows where it was.
            let place = sse::Event::default().event("ready").id(seen.seq.to_string()).data("{}");
            events.push(place);
        }
        let last = *self.last.get_or_insert(seen.seq);
        for change in self.changes(seen, last).await? {
            self.last = Some(change.seq);
            if self.only.is_none_or(|id| change.subject == format!("rotation {id}")) {
                let id = change.seq.to_string();
                events.extend(sse::Event::default().event("change").id(id).json_data(&*change));
            }
        }
        for (id, (version, event)) in &seen.rotations {
            let wanted = self.only.is_none_or(|only| only == *id);
            if wanted && self.sent.insert(*id, *version) != Some(*version) {
                let Event::Rotation(rotation) = &**event else { continue };
                let last = self.last.unwrap_or(seen.seq).to_string();
                events.extend(sse::Event::default().event("rotation").id(last).json_data(rotation));
            }
        }
        self.sent.retain(|id, _| seen.rotations.contains_key(id));
        Ok(events)
    }

    /// At most a few hundred at a time: a client that was away for long is served page by page.
    async fn changes(&self, seen: &Seen, last: i64) -> Result<Vec<Arc<Change>>, LedgerError> {
        let kept = seen.recent.front().is_some_and(|first| first.seq <= last + 1);
        if last >= seen.seq || kept {
            return Ok(seen.recent.iter().filter(|change| change.seq > last).cloned().collect());
        }
        let rows = pages::audit_after(self.app.ledger().db(), last, 500).await?;
        Ok(rows.into_iter().map(|row| Arc::new(change(row))).collect())
    }
}
