//! What a worker survives of its Redis.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use redis::Commands;
use reseal_entities::job::Doorbell;
use reseal_worker::{WorkerError, WorkerName};

use crate::fake::{Seen, Worker, patient, quick};
use crate::queue_in_redis;
use crate::server::{Server, until};

const QUEUE: &str = "{reseal:test}:jobs";

/// The names under which workers are registered with the queue.
fn registered(server: &Server) -> Vec<String> {
    server.client().zrange(format!("{QUEUE}:workers"), 0, -1).unwrap()
}

async fn registers(server: &Server, name: &str) {
    until(name, || async { registered(server).iter().any(|n| n == name).then_some(()).ok_or("absent") }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_its_queue_gives_up_and_says_why() {
    let (queue, server) = queue_in_redis().await;
    // More than the 5 s between two signs of life.
    let mut worker = Worker::with(&queue, |options| options.give_up_after = Duration::from_secs(7));
    worker.ring_until_it_begins(&quick(1)).await;
    drop(server);
    let WorkerError::CannotWork(reason) = worker.ends().await.unwrap_err() else { panic!() };
    assert!(reason.contains("queue"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_that_make_no_sense_are_acknowledged_and_counted() {
    let (queue, server) = queue_in_redis().await;
    let mut redis = server.client();
    let payloads: [&[u8]; 6] = [b"42", b"garbage", b"", b"\xff\xfe", b"[[[[", br#"{"kind":"rm -rf","id":1}"#];
    for (n, payload) in payloads.iter().enumerate() {
        forge(&mut redis, &format!("forged{n}"), payload);
    }
    let mut worker = Worker::with(&queue, |options| options.lanes = 1);
    worker.ring_until_it_begins(&quick(1)).await;
    until("all to be acknowledged", || async {
        let done: usize = server.client().scard(format!("{QUEUE}:done")).unwrap();
        (done >= 7).then_some(()).ok_or(done)
    })
    .await;
    assert_eq!(registered(&server), [format!("{}-0", worker.name)], "no worker ended over them");
    let jobs = worker.stop().await.unwrap().jobs;
    assert_eq!(jobs.unknown, 6, "{jobs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_without_payload_is_mended_and_the_worker_goes_on() {
    let (queue, server) = queue_in_redis().await;
    let mut worker = Worker::start(&queue);
    worker.ring_until_it_begins(&quick(1)).await;
    let _: usize = server.client().rpush(format!("{QUEUE}:active"), "ghost").unwrap();
    until("the ghost to get a payload", || async {
        let mended: bool = server.client().hexists(format!("{QUEUE}:meta:ghost"), "status").unwrap();
        mended.then_some(()).ok_or("not yet")
    })
    .await;
    worker.ring_until_it_begins(&quick(2)).await;
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_queue_has_a_new_incarnation_and_the_worker_goes_on() {
    let (queue, server) = queue_in_redis().await;
    let mut worker = Worker::start(&queue);
    worker.ring_until_it_begins(&quick(1)).await;
    let before = queue.incarnation().await.unwrap();
    let () = redis::cmd("FLUSHALL").query(&mut server.client()).unwrap();
    assert_ne!(queue.incarnation().await.unwrap(), before);
    worker.ring_until_it_begins(&quick(2)).await;
    assert!(worker.stop().await.unwrap().drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_killed_and_came_back_empty_is_worked_on() {
    let (queue, mut server) = queue_in_redis().await;
    let mut worker = Worker::start(&queue);
    worker.ring_until_it_begins(&quick(1)).await;
    server.restart();
    worker.ring_until_it_begins(&quick(2)).await;
    assert!(worker.stop().await.unwrap().drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_within_its_grace_also_without_its_queue() {
    let (queue, server) = queue_in_redis().await;
    let mut worker = Worker::start(&queue);
    worker.ring_until_it_begins(&quick(1)).await;
    drop(server);
    let stopping = Instant::now();
    worker.stop().await.unwrap();
    assert!(stopping.elapsed() < Duration::from_secs(10), "{:?}", stopping.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_keeps_its_lane_when_the_queue_fails_under_it() {
    let (queue, server) = queue_in_redis().await;
    let mut worker = Worker::with(&queue, |options| options.lanes = 1);
    worker.ring_until_it_begins(&patient(1)).await;
    let () = redis::cmd("FLUSHALL").query(&mut server.client()).unwrap();
    let restarted = format!("{}-1", worker.name);
    registers(&server, &restarted).await;
    worker.ring(&quick(2)).await;
    let began = tokio::time::timeout(Duration::from_secs(1), worker.sees(&Seen::Began(2))).await;
    assert!(began.is_err(), "one lane ran two jobs");
    assert!(worker.stop().await.unwrap().drained);
}

/// Makes the server refuse every command that writes, or take them again.
fn refuse(server: &Server, refuse: bool) {
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("min-replicas-to-write").arg(u8::from(refuse));
    let () = set.query(&mut server.client()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_every_command_does_not_make_the_worker_spin() {
    let (queue, server) = queue_in_redis().await;
    let mut worker = Worker::start(&queue);
    worker.ring_until_it_begins(&quick(1)).await;
    refuse(&server, true);
    tokio::time::sleep(Duration::from_secs(3)).await;
    refuse(&server, false);
    worker.ring_until_it_begins(&quick(2)).await;
    let number = |name: &String| name.rsplit('-').next()?.parse::<u32>().ok();
    let restarts = registered(&server).iter().filter_map(number).max().unwrap();
    assert!((1..=5).contains(&restarts), "{restarts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_at_once_also_while_the_server_refuses_every_command() {
    let (queue, server) = queue_in_redis().await;
    let mut worker = Worker::start(&queue);
    worker.ring_until_it_begins(&quick(1)).await;
    refuse(&server, true);
    let stopping = Instant::now();
    worker.stop().await.unwrap();
    assert!(stopping.elapsed() < Duration::from_secs(3), "{:?}", stopping.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_starts_share_a_name() {
    let (queue, server) = queue_in_redis().await;
    let mut names = BTreeSet::new();
    for id in 0..3 {
        let mut worker = Worker::start(&queue);
        names.insert(format!("{}-0", worker.name));
        // At once, although the one before is still registered.
        worker.ring_until_it_begins(&quick(id)).await;
        worker.stop().await.unwrap();
    }
    assert_eq!(registered(&server).into_iter().collect::<BTreeSet<_>>(), names);
    assert_eq!(names.len(), 3);
    assert_ne!(WorkerName::unique().unwrap().as_str(), WorkerName::unique().unwrap().as_str());
}

/// A message as apalis stores it, with any payload.
fn forge(redis: &mut redis::Connection, id: &str, payload: &[u8]) {
    let meta = [("attempts", "0"), ("max_attempts", "25"), ("status", "Pending")];
    let () = redis.hset(format!("{QUEUE}:data"), id, payload).unwrap();
    let () = redis.hset_multiple(format!("{QUEUE}:meta:{id}"), &meta).unwrap();
    let () = redis.zadd(format!("{QUEUE}:scheduled"), id, 1).unwrap();
}
