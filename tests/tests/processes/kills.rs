//! Workers killed, Redis lost.

use crate::world::{PATIENCE, World, rows};
use reseal_tests::wait_until;
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
