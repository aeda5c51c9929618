//! What a worker promises, over the queue in process and over Redis servers of its own.

mod fake;
mod redis_faults;
#[path = "../../queue/tests/server/mod.rs"]
mod server;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fake::{Seen, Worker, panicking, patient, quick, stubborn};
use reseal_queue::Queue;
use reseal_worker::{State, WorkerError, protect_keys};
use server::Server;

async fn queue_in_redis() -> (Queue, Server) {
    let server = Server::start(&[]);
    (Queue::open(&server.url(), "test").await.unwrap(), server)
}

/// Both queues, and the server that must outlive the one in Redis.
async fn queues() -> (Vec<Queue>, Server) {
    let (redis, server) = queue_in_redis().await;
    (vec![Queue::open("memory:", "test").await.unwrap(), redis], server)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_that_is_rung_is_performed() {
    let (queues, _server) = queues().await;
    for queue in queues {
        let mut worker = Worker::start(&queue);
        for id in 0..200 {
            worker.ring(&quick(id)).await;
        }
        let mut missing: BTreeSet<i64> = (0..200).collect();
        while !missing.is_empty() {
            let id = worker.sees_some("an end", |seen| if let Seen::Ended(id) = seen { Some(*id) } else { None }).await;
            missing.remove(&id);
        }
        let summary = worker.stop().await.unwrap();
        assert!(summary.drained && summary.jobs.done == 200, "{summary:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_panic_nor_an_error_in_a_job_stops_the_crew() {
    let (queues, _server) = queues().await;
    for queue in queues {
        let mut worker = Worker::with(&queue, |options| options.lanes = 1);
        for job in [panicking(1), quick(-2), panicking(3), quick(4)] {
            worker.ring(&job).await;
        }
        worker.sees(&Seen::Ended(4)).await;
        let jobs = worker.stop().await.unwrap().jobs;
        assert_eq!((jobs.panicked, jobs.failed, jobs.done), (2, 1, 1), "{jobs:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_lets_a_long_job_give_up_and_says_goodbye_within_seconds() {
    let (queues, _server) = queues().await;
    for queue in queues {
        let mut worker = Worker::start(&queue);
        worker.ring(&patient(1)).await;
        worker.sees(&Seen::Began(1)).await;
        let stopping = Instant::now();
        let name = worker.name.clone();
        let (summary, seen) = worker.stop_and_watch().await;
        assert!(stopping.elapsed() < Duration::from_secs(4), "{:?}", stopping.elapsed());
        assert!(summary.drained && summary.jobs.done == 1, "{summary:?}");
        assert!(seen.contains(&Seen::Ended(1)));
        assert!(seen.contains(&Seen::Heartbeat(name, State::Draining)));
        assert_eq!(seen.last(), Some(&Seen::Goodbye(State::Draining)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_in_the_ledger_drains_as_at_a_signal() {
    let (queues, _server) = queues().await;
    for queue in queues {
        let mut worker = Worker::start(&queue);
        worker.ring(&patient(1)).await;
        worker.sees(&Seen::Began(1)).await;
        worker.steps.asks_to_drain.store(true, Ordering::SeqCst);
        worker.sees(&Seen::Ended(1)).await;
        worker.sees(&Seen::Goodbye(State::Draining)).await;
        let summary = worker.ends().await.unwrap();
        assert!(summary.drained && summary.jobs.done == 1, "{summary:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_begun_while_draining() {
    let (queues, _server) = queues().await;
    for queue in queues {
        let mut worker = Worker::with(&queue, |options| options.grace = Duration::from_secs(1));
        worker.ring(&stubborn(1)).await;
        worker.sees(&Seen::Began(1)).await;
        worker.ask_to_stop();
        let name = worker.name.clone();
        worker.sees(&Seen::Heartbeat(name, State::Draining)).await;
        worker.ring(&quick(2)).await;
        let (_, seen) = worker.stop_and_watch().await;
        assert!(!seen.contains(&Seen::Began(2)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_does_not_drain_is_dropped_at_the_end_of_the_grace() {
    let (queues, _server) = queues().await;
    for queue in queues {
        let mut worker = Worker::with(&queue, |options| options.grace = Duration::from_millis(300));
        worker.ring(&stubborn(1)).await;
        worker.sees(&Seen::Began(1)).await;
        let (summary, seen) = worker.stop_and_watch().await;
        assert!(!summary.drained && summary.jobs.cut_off == 1, "{summary:?}");
        assert!(seen.contains(&Seen::Dropped(1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_worker_takes_its_jobs_with_it() {
    let (queues, _server) = queues().await;
    for queue in queues {
        let mut worker = Worker::start(&queue);
        worker.ring(&stubborn(1)).await;
        worker.sees(&Seen::Began(1)).await;
        worker.abort();
        worker.sees(&Seen::Dropped(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_wakes_dispatch() {
    let (queues, _server) = queues().await;
    for queue in queues {
        let mut worker = Worker::with(&queue, |options| options.dispatch_every = Duration::from_secs(3_600));
        worker.sees(&Seen::Dispatched).await;
        worker.ring(&quick(1)).await;
        worker.sees(&Seen::Ended(1)).await;
        worker.sees(&Seen::Dispatched).await;
        worker.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dispatch_goes_on_after_a_panic_and_after_an_error() {
    let mut worker = Worker::start(&Queue::open("memory:", "test").await.unwrap());
    worker.steps.dispatch_panics.store(true, Ordering::SeqCst);
    worker.steps.ledger_is_away.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        worker.sees(&Seen::Dispatched).await;
    }
    worker.steps.ledger_is_away.store(false, Ordering::SeqCst);
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_its_ledger_gives_up_and_says_why() {
    let (queues, _server) = queues().await;
    for queue in queues {
        let mut worker = Worker::with(&queue, |options| options.give_up_after = Duration::from_millis(600));
        worker.sees(&Seen::Dispatched).await;
        worker.steps.ledger_is_away.store(true, Ordering::SeqCst);
        let WorkerError::CannotWork(reason) = worker.ends().await.unwrap_err() else { panic!() };
        assert!(reason.contains("the ledger is away"), "{reason}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_holds_keys_leaves_no_core_and_lets_nobody_read_it() {
    protect_keys().unwrap();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    let dumpable = rustix::process::dumpable_behavior().unwrap();
    assert_eq!(dumpable, rustix::process::DumpableBehavior::NotDumpable);
}
