//! `/metrics`: what this server did, in the Prometheus text format.

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use std::time::Instant;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StateLabel {
    pub(super) state: String,
}

type Seconds = Family<Labels, Histogram, fn() -> Histogram>;

/// Everything that is counted.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    seconds: Seconds,
    pub(super) rotations: Family<StateLabel, Gauge>,
    pub(super) workers: Gauge,
    pub(super) streams: Gauge,
    pub(super) needs_attention: Gauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("reseal");
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let metrics = (Family::default(), Seconds::new_with_constructor(buckets));
        let (requests, seconds): (Family<Labels, Counter>, Seconds) = metrics;
        registry.register("http_requests", "Requests by route and status", requests.clone());
        registry.register("http_request_seconds", "Until the first byte of the answer", seconds.clone());
        let rotations = Family::<StateLabel, Gauge>::default();
        registry.register("rotations_open", "Rotations that have not ended, by state", rotations.clone());
        let (workers, streams, needs_attention) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("workers_alive", "Workers seen within half a minute", workers.clone());
        registry.register("event_streams", "Streams of events that are open", streams.clone());
        registry.register(
            "rotations_needing_attention",
            "Rotations that go on only with a person",
            needs_attention.clone(),
        );
        Self { registry, requests, seconds, rotations, workers, streams, needs_attention }
    }

    /// In the text format.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let _ = encode(&mut text, &self.registry); // a String takes everything
        text
    }
}

/// Counts a request by its route, never by its path: those are without number.
pub(super) async fn count(State(app): State<super::App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let (method, began) = (request.method().to_string(), Instant::now());
    let response = next.run(request).await;
    let labels = Labels { method, route, status: response.status().as_u16() };
    let metrics = app.metrics();
    metrics.requests.get_or_create(&labels).inc();
    metrics.seconds.get_or_create(&labels).observe(began.elapsed().as_secs_f64());
    response
}
