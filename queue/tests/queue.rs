//! What the queue promises, on Redis servers of its own.

mod server;

use std::time::{Duration, Instant};

use redis::Commands;
use reseal_entities::job::{Doorbell, Job, JobKind};
use reseal_queue::{LocalQueue, Queue, QueueError, RedisQueue};
use server::Server;

const QUEUE: &str = "{reseal:test}:jobs";

fn job(id: i64) -> Job {
    Job { kind: JobKind::Batch, id }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_within_seconds() {
    let port = server::free_port();
    let began = Instant::now();
    let error = RedisQueue::connect(&format!("redis://:hunter2@127.0.0.1:{port}"), "test").await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(8));
    assert!(matches!(error, QueueError::Unreachable { .. }), "{error}");
    let text = format!("{error} {error:?}");
    assert!(text.contains(&format!("127.0.0.1:{port}")) && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_named_within_seconds() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let began = Instant::now();
    let error = RedisQueue::connect(&format!("redis://{}", silent.local_addr().unwrap()), "test").await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(8));
    assert!(matches!(error, QueueError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_never_shown() {
    let server = Server::start(&["--requirepass", "right"]);
    for url in [server.url().replace("//", "//:wrong-hunter2@"), server.url()] {
        let error = RedisQueue::connect(&url, "test").await.unwrap_err();
        assert!(matches!(error, QueueError::Refused { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    RedisQueue::connect(&server.url().replace("//", "//:right@"), "test").await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_not_understood_is_not_repeated() {
    for url in ["memory", "redis://:hunter2@", "http://hunter2", ""] {
        let error = Queue::open(url, "test").await.unwrap_err();
        assert!(matches!(error, QueueError::Address(_)), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn an_evicting_server_is_refused_with_what_to_set() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    let error = RedisQueue::connect(&server.url(), "test").await.unwrap_err();
    assert!(error.to_string().contains("allkeys-lru") && error.to_string().contains("maxmemory-policy noeviction"));
}

#[tokio::test]
async fn an_evicting_server_is_refused_also_where_config_is_forbidden() {
    let server = Server::start(&["--maxmemory-policy", "volatile-lru", "--rename-command", "CONFIG", ""]);
    let error = RedisQueue::connect(&server.url(), "test").await.unwrap_err();
    assert!(matches!(error, QueueError::Evicts { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_tells_nothing_about_itself_is_accepted() {
    let forbidden = ["--rename-command", "CONFIG", "", "--rename-command", "INFO", ""];
    let server = Server::start(&forbidden);
    RedisQueue::connect(&server.url(), "test").await.unwrap();
}

#[tokio::test]
async fn a_cluster_is_refused() {
    let server = Server::start(&["--cluster-enabled", "yes"]);
    let error = RedisQueue::connect(&server.url(), "test").await.unwrap_err();
    assert!(matches!(error, QueueError::Unsuitable { .. }), "{error}");
}

#[tokio::test]
async fn a_replica_is_refused() {
    let server = Server::start(&["--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "yes"]);
    let error = RedisQueue::connect(&server.url(), "test").await.unwrap_err();
    assert!(matches!(error, QueueError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn a_namespace_cannot_reach_into_another_key() {
    for namespace in ["", "a}b", "a:b", "a b", "ä", &"x".repeat(65)] {
        let error = RedisQueue::connect("redis://127.0.0.1:1", namespace).await.unwrap_err();
        assert!(matches!(error, QueueError::Namespace), "{error}");
    }
}

#[tokio::test]
async fn a_ring_puts_one_message_and_an_id_rings_once() {
    let server = Server::start(&[]);
    let queue = RedisQueue::connect(&server.url(), "test").await.unwrap();
    for ring in ["b1.d1", "b1.d1", "b1.d2"] {
        queue.ring(&job(1), ring).await.unwrap();
    }
    let mut redis = server.client();
    let waiting: Vec<String> = redis.zrange(format!("{QUEUE}:scheduled"), 0, -1).unwrap();
    assert_eq!(waiting, ["b1.d1", "b1.d2"]);
    let payload: String = redis.hget(format!("{QUEUE}:data"), "b1.d1").unwrap();
    assert_eq!(payload, r#"{"kind":"batch","id":1}"#);
}

#[tokio::test]
async fn two_namespaces_share_nothing() {
    let server = Server::start(&[]);
    let one = RedisQueue::connect(&server.url(), "test").await.unwrap();
    let two = RedisQueue::connect(&server.url(), "other").await.unwrap();
    one.ring(&job(1), "b1.d1").await.unwrap();
    assert_ne!(one.incarnation().await.unwrap(), two.incarnation().await.unwrap());
    let waiting: usize = server.client().zcard("{reseal:other}:jobs:scheduled").unwrap();
    assert_eq!(waiting, 0);
}

#[tokio::test]
async fn the_incarnation_lives_exactly_as_long_as_the_contents() {
    let mut server = Server::start(&[]);
    let queue = RedisQueue::connect(&server.url(), "test").await.unwrap();
    let first = queue.incarnation().await.unwrap();
    let again = RedisQueue::connect(&server.url(), "test").await.unwrap();
    assert_eq!(again.incarnation().await.unwrap(), first);

    let () = redis::cmd("FLUSHALL").query(&mut server.client()).unwrap();
    let flushed = queue.incarnation().await.unwrap();
    assert_ne!(flushed, first);

    server.restart();
    let restarted = server::until("the connection to come back", || queue.incarnation()).await;
    assert_ne!(restarted, flushed);
}

/// Makes `ids` look as apalis leaves them when they are finished.
fn finish(redis: &mut redis::Connection, set: &str, ids: impl Iterator<Item = String>, age: u64) {
    let (now, _): (u64, u64) = redis::cmd("TIME").query(redis).unwrap();
    for id in ids {
        let () = redis.sadd(format!("{QUEUE}:{set}"), &id).unwrap();
        let () = redis.hset(format!("{QUEUE}:data"), &id, "{}").unwrap();
        let () = redis.hset(format!("{QUEUE}:meta:{id}"), "done_at", now - age).unwrap();
    }
}

/// Finished, dead, payloads, metadata: how many there are.
fn counts(redis: &mut redis::Connection) -> (usize, usize, usize, usize) {
    let metas: Vec<String> = redis.keys(format!("{QUEUE}:meta:*")).unwrap();
    let done = redis.scard(format!("{QUEUE}:done")).unwrap();
    let dead = redis.scard(format!("{QUEUE}:dead")).unwrap();
    (done, dead, redis.hlen(format!("{QUEUE}:data")).unwrap(), metas.len())
}

#[tokio::test]
async fn tidy_removes_what_finished_long_ago_in_small_steps_and_nothing_else() {
    let server = Server::start(&[]);
    let queue = RedisQueue::connect(&server.url(), "test").await.unwrap();
    let mut redis = server.client();
    finish(&mut redis, "done", (0..1_000).map(|n| format!("old{n}")), 90_000);
    finish(&mut redis, "dead", (0..10).map(|n| format!("old-dead{n}")), 90_000);
    finish(&mut redis, "done", (0..30).map(|n| format!("new{n}")), 5);
    finish(&mut redis, "dead", (0..2).map(|n| format!("new-dead{n}")), 5);
    queue.ring(&job(1), "b1.d1").await.unwrap();

    let mut removed = 0;
    for _ in 0..10 {
        let step = queue.tidy().await.unwrap();
        assert!(step <= 500, "{step}");
        removed += step;
    }

    assert_eq!(removed, 1_010);
    assert_eq!(counts(&mut redis), (30, 2, 33, 33));
    let waiting: Vec<String> = redis.zrange(format!("{QUEUE}:scheduled"), 0, -1).unwrap();
    assert_eq!(waiting, ["b1.d1"]);
}

#[tokio::test]
async fn tidy_keeps_a_bounded_number_of_finished_messages() {
    let server = Server::start(&[]);
    let queue = RedisQueue::connect(&server.url(), "test").await.unwrap();
    let mut redis = server.client();
    finish(&mut redis, "done", (0..10_500).map(|n| format!("new{n}")), 5);
    for _ in 0..5 {
        queue.tidy().await.unwrap();
    }
    assert_eq!(counts(&mut redis), (10_000, 0, 10_000, 10_000));
}

#[tokio::test]
async fn the_queue_in_process_refuses_when_it_is_full_and_has_its_own_incarnation() {
    let queue = LocalQueue::new().unwrap();
    let mut taken = 0;
    while queue.ring(&job(taken), "").await.is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 4_096);
    let other = LocalQueue::new().unwrap();
    assert_eq!(queue.incarnation().await.unwrap(), queue.clone().incarnation().await.unwrap());
    assert_ne!(queue.incarnation().await.unwrap(), other.incarnation().await.unwrap());
}
