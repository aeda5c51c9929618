//! Steps that only tell what is asked of them, and a worker over them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use reseal_entities::job::{Doorbell, Job, JobKind};
use reseal_queue::Queue;
use reseal_worker::{Asked, Drain, Presence, RunOptions, State, Steps, Summary, WorkerError, run};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);

/// What the steps saw, in order.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    Began(i64),
    Ended(i64),
    Dropped(i64),
    Dispatched,
    Heartbeat(String, State),
    Goodbye(State),
}

/// Returns at once.
pub(crate) fn quick(id: i64) -> Job {
    Job { kind: JobKind::Plan, id }
}
/// Goes on until it is asked to drain.
pub(crate) fn patient(id: i64) -> Job {
    Job { kind: JobKind::Batch, id }
}
/// Never returns.
pub(crate) fn stubborn(id: i64) -> Job {
    Job { kind: JobKind::Prove, id }
}
/// Panics.
pub(crate) fn panicking(id: i64) -> Job {
    Job { kind: JobKind::Clear, id }
}

pub(crate) struct Fake {
    seen: mpsc::UnboundedSender<Seen>,
    pub(crate) dispatch_panics: AtomicBool,
    pub(crate) ledger_is_away: AtomicBool,
    pub(crate) asks_to_drain: AtomicBool,
}

/// Tells when a job's future goes, and whether it had come to its end.
struct Watch<'a>(&'a Fake, i64, bool);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let _ = self.0.seen.send(if self.2 { Seen::Ended(self.1) } else { Seen::Dropped(self.1) });
    }
}

#[async_trait::async_trait]
impl Steps for Fake {
    async fn perform(&self, job: &Job, drain: &Drain) -> Result<(), String> {
        let _ = self.seen.send(Seen::Began(job.id));
        let mut watch = Watch(self, job.id, false);
        match job.kind {
            JobKind::Batch => drain.draining().await,
            JobKind::Prove => std::future::pending().await,
            JobKind::Clear => panic!("as the test asked"),
            _ => {}
        }
        watch.2 = true;
        if job.id < 0 { Err("as the test asked".to_owned()) } else { Ok(()) }
    }

    async fn dispatch(&self, _bell: &dyn Doorbell) -> Result<(), String> {
        let _ = self.seen.send(Seen::Dispatched);
        assert!(!self.dispatch_panics.swap(false, Ordering::SeqCst), "as the test asked");
        self.ledger()
    }

    async fn heartbeat(&self, presence: &Presence) -> Result<Asked, String> {
        let _ = self.seen.send(Seen::Heartbeat(presence.name.clone(), presence.state));
        self.ledger()?;
        Ok(if self.asks_to_drain.load(Ordering::SeqCst) { Asked::ToDrain } else { Asked::Nothing })
    }

    async fn goodbye(&self, presence: &Presence) -> Result<(), String> {
        let _ = self.seen.send(Seen::Goodbye(presence.state));
        self.ledger()
    }
}

impl Fake {
    fn ledger(&self) -> Result<(), String> {
        match self.ledger_is_away.load(Ordering::SeqCst) {
            true => Err("the ledger is away".to_owned()),
            false => Ok(()),
        }
    }
}

/// A running worker.
pub(crate) struct Worker {
    pub(crate) steps: Arc<Fake>,
    pub(crate) queue: Queue,
    pub(crate) name: String,
    seen: mpsc::UnboundedReceiver<Seen>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<Summary, WorkerError>>,
}

impl Worker {
    pub(crate) fn start(queue: &Queue) -> Self {
        Self::with(queue, |_| {})
    }

    pub(crate) fn with(queue: &Queue, set: impl FnOnce(&mut RunOptions)) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let steps = Arc::new(Fake {
            seen: sender,
            dispatch_panics: AtomicBool::default(),
            ledger_is_away: AtomicBool::default(),
            asks_to_drain: AtomicBool::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let mut options = RunOptions::unique().unwrap();
        options.dispatch_every = Duration::from_millis(100);
        options.heartbeat_every = Duration::from_millis(100);
        set(&mut options);
        let (name, queue) = (options.name.to_string(), queue.clone());
        let stopped = async { drop(stopped.await) };
        let running = tokio::spawn(run(queue.clone(), steps.clone(), options, stopped));
        Self { steps, queue, name, seen, stop: Some(stop), running }
    }

    /// Rings under an id that no other ring has.
    pub(crate) async fn ring(&self, job: &Job) {
        self.queue.ring(job, &ring_id()).await.unwrap();
    }

    /// Rings as dispatch does, again and again, until the job begins: the queue may be away, or
    /// have lost it.
    pub(crate) async fn ring_until_it_begins(&mut self, job: &Job) {
        for _ in 0..60 {
            let _ = self.queue.ring(job, &ring_id()).await;
            let wanted = Seen::Began(job.id);
            if timeout(Duration::from_millis(500), self.sees(&wanted)).await.is_ok() {
                return;
            }
        }
        panic!("{job} never began");
    }

    /// Waits for `wanted`, passing over everything else.
    pub(crate) async fn sees(&mut self, wanted: &Seen) {
        self.sees_some(&format!("{wanted:?}"), |seen| (seen == wanted).then_some(())).await;
    }

    pub(crate) async fn sees_some<T>(&mut self, what: &str, pick: impl Fn(&Seen) -> Option<T>) -> T {
        let wait = async {
            loop {
                let seen = self.seen.recv().await.expect("the steps are gone");
                if let Some(picked) = pick(&seen) {
                    return picked;
                }
            }
        };
        timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    pub(crate) fn ask_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Asks it to stop and waits for it to end.
    pub(crate) async fn stop(mut self) -> Result<Summary, WorkerError> {
        self.ask_to_stop();
        self.ends().await
    }

    /// The same, with everything seen until then.
    pub(crate) async fn stop_and_watch(mut self) -> (Summary, Vec<Seen>) {
        self.ask_to_stop();
        let summary = self.ends().await.unwrap();
        let seen = std::iter::from_fn(|| self.seen.try_recv().ok()).collect();
        (summary, seen)
    }

    pub(crate) async fn ends(&mut self) -> Result<Summary, WorkerError> {
        timeout(DEADLINE, &mut self.running).await.expect("the worker did not end").unwrap()
    }

    /// Drops the worker's future where it stands.
    pub(crate) fn abort(&self) {
        self.running.abort();
    }
}

fn ring_id() -> String {
    static RINGS: AtomicI64 = AtomicI64::new(0);
    format!("t.d{}", RINGS.fetch_add(1, Ordering::Relaxed))
}
