//! What all requests share.

use super::{guard::Guard, hub::Hub, metrics::Metrics};
use reseal_entities::{
    job::{Doorbell, Job, RingError},
    ledger::Ledger,
};
use reseal_queue::Queue;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::watch;

/// What a rotation gets that is asked for here.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The shortest wait between proof and clearing, and the default; none: a request must say it.
    pub clear_after: Option<Duration>,
    /// How long applications may go on writing with an old keyset before the fence.
    pub writer_ttl: Duration,
    /// Rows in a batch.
    pub batch_rows: u32,
    /// Somebody other than the requester must approve the clearing.
    pub two_person: bool,
}

/// How the API behaves.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What rotations get.
    pub rules: Rules,
    /// The server listens on loopback alone.
    pub on_loopback: bool,
    /// It speaks TLS itself.
    pub tls: bool,
    /// Requests a second of one token that has no limit of its own; twice as many at once.
    pub requests_per_second: u32,
    /// How long a key may be active; none: no age is too high. It informs, and rotates nothing.
    pub cryptoperiod: Option<Duration>,
}

/// What all requests share: the ledger, and where to ring.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    ledger: Ledger,
    queue: OnceLock<Queue>,
    rings: bool,
    settings: Settings,
    guard: Guard,
    hub: Hub,
    metrics: Metrics,
    closing: watch::Sender<bool>,
}

impl App {
    /// Over a ledger that is migrated. With `queue_url` it is rung in Redis as soon as that answers; without, or until then,
    /// dispatch finds what is asked for within a second.
    pub fn open(ledger: Ledger, queue: Option<Queue>, queue_url: Option<&str>, settings: Settings) -> Self {
        let app = Self(Arc::new(Shared {
            guard: Guard::new(settings.requests_per_second),
            hub: Hub::new(ledger.clone()),
            metrics: Metrics::new(),
            rings: queue.is_some() || queue_url.is_some_and(|url| url != "memory:"),
            queue: queue.map(OnceLock::from).unwrap_or_default(),
            closing: watch::Sender::new(false),
            ledger,
            settings,
        }));
        if let Some(url) = queue_url.filter(|url| *url != "memory:") {
            tokio::spawn(app.clone().open_queue(url.to_owned()));
        }
        app
    }

    /// What it stands on.
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Where to ring; none until it has answered once.
    pub(super) fn bell(&self) -> Option<&dyn Doorbell> {
        self.0.queue.get().map(|queue| queue as &dyn Doorbell)
    }

    /// There is a queue to ring in.
    pub(super) fn rings(&self) -> bool {
        self.0.rings
    }

    /// Rings, or leaves it to dispatch.
    pub(super) async fn ring(&self, job: Job) {
        let Some(bell) = self.bell() else { return };
        let at = reseal_entities::ledger::now_ms(self.ledger().db()).await.unwrap_or_default();
        if let Err(RingError(e)) = bell.ring(&job, &format!("p{job}.r{at}")).await {
            tracing::warn!(%job, "was not rung for, dispatch will: {e}");
        }
    }

    /// Ends the streams of events.
    pub(super) fn close(&self) {
        let _ = self.0.closing.send_replace(true);
    }

    /// Resolves when it closes.
    pub(super) fn closing(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut closing = self.0.closing.subscribe();
        async move {
            let _ = closing.wait_for(|closing| *closing).await;
        }
    }

    async fn open_queue(self, url: String) {
        let closing = self.closing();
        tokio::pin!(closing);
        let mut pause = Duration::from_millis(500);
        loop {
            let opened = async {
                let name = self.ledger().identity().await.map_err(|e| e.to_string())?.name;
                Queue::open(&url, &name).await.map_err(|e| e.to_string())
            };
            match opened.await {
                Ok(queue) => return drop(self.0.queue.set(queue)),
                Err(e) => tracing::warn!("the queue does not answer; dispatch finds what is asked for: {e}"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(30)),
                () = &mut closing => return,
            }
        }
    }
}
