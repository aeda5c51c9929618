//! The lanes: apalis over either queue.

use std::sync::Arc;

use apalis::layers::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use apalis::prelude::{Backend, BoxDynError, Event, Monitor, ParallelizeLayer, Task, WorkerBuilder, WorkerBuilderExt};
use apalis_core::backend::BackendConfig;
use apalis_core::backend::finalize::FinalizeBackend;
use reseal_entities::job::Job;
use reseal_queue::Queue;
use tokio::sync::Semaphore;
use tower::util::BoxService;
use tower::{Layer, Service};
use tracing::warn;

use crate::jobs::{Shared, handle};
use crate::pulse::Pulse;

type Boxed = BoxService<Task<Job>, (), BoxDynError>;

/// What a crew needs beside its queue.
#[derive(Clone)]
pub(crate) struct Crew {
    pub(crate) name: String,
    pub(crate) lanes: usize,
    pub(crate) shared: Arc<Shared>,
    /// Beats whenever apalis has told the queue that the crew is alive.
    pub(crate) queue_pulse: Arc<Pulse>,
}

impl Crew {
    /// A crew that takes its messages from `queue`.
    pub(crate) fn over(self, queue: &Queue) -> Monitor {
        match queue.clone() {
            Queue::Redis(queue) => self.monitor(move |restarts| queue.backend(restarts)),
            Queue::Local(queue) => self.monitor(move |_| queue.backend()),
        }
    }

    /// The first layer is the outermost.
    ///
    /// The lanes are counted twice. Outside the spawned task, so that no more is fetched than can
    /// be done: a worker that hoards messages leaves nothing for the others. And inside it: apalis
    /// lets go of the running ones when it restarts a worker, and the count outside would then hand
    /// their lanes out again. No job has a time limit: proving a large table may take days, whoever works renews a lease, and
    /// one that has lost it ends.
    fn monitor<B, F>(self, backend: impl Fn(usize) -> B + Send + Sync + 'static) -> Monitor
    where
        B: Backend + BackendConfig<Args = Job, Kind: FinalizeBackend<B, Job, Backend = F>> + 'static,
        F: Backend<Task = Task<Job>, Error: Send> + BackendConfig<Args = Job> + Send + Unpin + 'static,
        F::Layer: Layer<
                Boxed,
                Service: Service<
                    Task<Job>,
                    Response: Send + Sync,
                    Error: Into<BoxDynError> + Send + Sync,
                    Future: Send,
                > + Send,
            >,
    {
        let Self { name, lanes, shared, queue_pulse } = self;
        let (drain, pulse) = (shared.drain.clone(), queue_pulse.clone());
        let (width, lanes) = (lanes, Arc::new(Semaphore::new(lanes)));
        Monitor::new()
            .register(move |restarts| {
                WorkerBuilder::new(format!("{name}-{restarts}"))
                    .backend(backend(restarts))
                    .layer(Boxed::layer())
                    .data(shared.clone())
                    .layer(ConcurrencyLimitLayer::new(width))
                    .layer(ParallelizeLayer::new(tokio::spawn))
                    .layer(GlobalConcurrencyLimitLayer::with_semaphore(lanes.clone()))
                    .enable_tracing()
                    .catch_panic()
                    .build(handle)
            })
            .on_event(move |_, event| {
                if matches!(event, Event::HeartBeat) {
                    pulse.well();
                }
            })
            .should_restart(move |worker, error| {
                queue_pulse.ill(error);
                warn!(worker = worker.name(), %error, "the queue failed the crew");
                // Closing fails as well while the queue is away, and would restart for ever.
                !drain.is_draining()
            })
    }
}
