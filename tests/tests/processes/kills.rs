//! Workers killed, Redis lost.

use crate::world::{PATIENCE, World, rows};
use reseal_tests::wait_until;
use sqlx::Connection;
use std::time::{Duration, Instant};

#[test]
fn workers_killed_every_second_and_redis_lost_twice_lose_nothing() {
    let world = World::new(rows(), "");
    let mut workers = [world.worker(), world.worker(), world.worker()];
    world.rotate(&[]).ok();
    let mut holders_killed = 0;
    for round in 0..6 {
        // A worker that holds a lease is killed with it in hand.
        let holder = wait_until(PATIENCE, "a worker holds a batch", || {
            let held = world.ledger_sql("SELECT DISTINCT worker FROM reseal_batches WHERE state = 'leased' AND lease_until > extract(epoch from clock_timestamp()) * 1000");
            let done = world.ledger_count(
                "SELECT count(*) FROM reseal_rotations WHERE state NOT IN ('requested', 'planning', 'reencrypting')",
            );
            let pids: Vec<String> =
                held.lines().filter_map(|name| name.rsplit('.').nth(1).map(str::to_owned)).collect();
            let found = workers.iter().position(|w| pids.contains(&w.pid().to_string()));
            found.map(Some).or((done > 0).then_some(None))
        });
        let Some(victim) = holder else { break };
        let pid = workers[victim].pid();
        workers[victim].kill9();
        let held = format!("SELECT count(*) FROM reseal_batches WHERE state = 'leased' AND worker LIKE '%.{pid}.%'");
        holders_killed += i64::from(world.ledger_count(&held) > 0);
        workers[victim] = world.worker();
        match round {
            1 => world.redis.flush(),
            3 => {
                world.redis.kill();
                world.redis.start_again_empty();
            }
            _ => {}
        }
        let next = Instant::now() + Duration::from_secs(1);
        wait_until(PATIENCE, "a second has passed", || (Instant::now() > next).then_some(()));
    }
    assert!(holders_killed >= 3, "only {holders_killed} kills hit a worker with a batch in hand");
    world.until_completed();
    world.nothing_is_lost_and_the_old_key_is_gone();
    let reclaimed = world.ledger_count("SELECT count(*) FROM reseal_batches WHERE epoch > 1");
    assert!(reclaimed > 0, "no batch was taken over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_the_middle_of_a_census_is_followed_by_another() {
    let world = World::of_storage("");
    // A table that nobody can read until it is unlocked keeps the census from ending.
    let mut blocker = sqlx::PgConnection::connect(&world.app_url()).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE messages IN ACCESS EXCLUSIVE MODE").execute(&mut blocker).await.unwrap();
    let first = world.worker();
    world.ledger_sql(
        "INSERT INTO reseal_operations (kind, state, params, requested_by, requested_at, epoch, attempts, due_at, next_ring_at, rings) \
         VALUES ('census', 'requested', '{\"column\": null, \"key_id\": null}', 'tester', 1, 0, 0, 0, 0, 0)",
    );
    world.until("it is worked on", "SELECT count(*) FROM reseal_operations WHERE state = 'running'", |n| n == 1);
    first.kill9();
    let held = world.ledger_sql("SELECT state || ' ' || epoch FROM reseal_operations");
    assert_eq!(held, "running 1", "it died with the operation in hand");

    sqlx::raw_sql("ROLLBACK").execute(&mut blocker).await.unwrap();
    world.ledger_sql("UPDATE reseal_operations SET lease_until = 1, next_ring_at = 0");
    let _second = world.worker();
    world.until(
        "another did it",
        "SELECT count(*) FROM reseal_operations WHERE state = 'succeeded' AND epoch = 2",
        |n| n == 1,
    );
    let ended = "SELECT count(*) FROM reseal_audit WHERE action = 'operation.ended'";
    assert_eq!(world.ledger_count(ended), 1);
}
