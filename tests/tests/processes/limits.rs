//! What an operator allows a rotation holds over all workers together.

use crate::world::{PATIENCE, World};
use reseal_tests::{Child, wait_until};

/// Batches in hand, and rows that the database changed, each at a moment of the ledger's database.
const IN_HAND: &str = "SELECT count(*) FROM reseal_batches WHERE state = 'leased' \
                       AND lease_until > extract(epoch from clock_timestamp()) * 1000";
const ROWS: &str = "SELECT coalesce(sum(reencrypted), 0)::bigint FROM reseal_progress";

/// A rotation that was limited before anybody worked on it, and then three workers that all have work in hand.
fn limited(limits: &[&str], in_hand: i64) -> (World, [Child; 3]) {
    let world = World::new([1_500, 3_000, 1_500], "");
    world.rotate(&[]).ok();
    world.run(&[&["limit", "1"], limits].concat()).ok();
    let workers = [world.worker(), world.worker(), world.worker()];
    world.until("there is work in hand", IN_HAND, |n| n >= in_hand);
    (world, workers)
}

impl World {
    /// The answer to a question, and when the database gave it, in milliseconds.
    fn at(&self, question: &str) -> (i64, i64) {
        let answer =
            self.ledger_sql(&format!("SELECT (extract(epoch from clock_timestamp()) * 1000)::bigint, ({question})"));
        let (at, n) = answer.split_once('|').expect("two columns");
        (at.parse().unwrap(), n.parse().unwrap())
    }
}

#[test]
fn rows_per_second_are_kept_by_three_workers_together_and_lifting_the_limit_lets_them_finish() {
    const N: i64 = 60;
    const SPAN_MS: i64 = 15_000;
    let (world, _workers) = limited(&["--rows-per-second", &N.to_string()], 1);
    // given: each worker has batches, and the pace is what they share
    let holders = IN_HAND.replace("count(*)", "count(DISTINCT worker)");
    world.until("every worker has a batch", &holders, |n| n == 3);
    let shared = format!("SELECT coalesce(pace_rows_per_hour, 1000000) * ({IN_HAND}) FROM reseal_rotations");
    world.until("the pace is shared", &shared, |all| all <= N * 3_600);
    // when they go on for a while, by the database's clock
    let (began, before) = world.at(ROWS);
    let (now, after) =
        wait_until(PATIENCE, "a while has passed", || Some(world.at(ROWS)).filter(|(at, _)| at - began >= SPAN_MS));
    // then it was not more than about that: what is in hand may change between two looks of the leader, and
    // what was done a second ago may be written down now
    let (rows, allowed) = (after - before, N * (now - began + SPAN_MS / 3) / 1_000);
    assert!(rows > 0 && rows <= allowed, "{rows} rows in {} ms, {allowed} allowed", now - began);
    let status = world.status();
    assert_eq!((&status["state"], &status["throttle"]["code"]), (&"reencrypting".into(), &"limit".into()));
    // and it is told how long that will take, once there are samples
    let told = || Some(world.status()).filter(|s| s["time_left"].is_object());
    let status = wait_until(PATIENCE, "the time left is told", told);
    let (from, to) = (&status["time_left"]["from_ms"], &status["time_left"]["to_ms"]);
    assert!(status["rows_per_second"].as_f64() > Some(0.0) && from.as_i64() <= to.as_i64(), "{status}");
    let shown = world.run(&["status", "1"]).ok().stdout;
    let fits = |line: &str| line.contains("rows/s, ") && line.ends_with(" left of re-encrypting") && line.len() <= 80;
    assert!(shown.lines().any(fits), "{shown}");

    world.run(&["limit", "1", "--rows-per-second", "none"]).ok();
    world.until_completed();
    world.nothing_is_lost_and_the_old_key_is_gone();
}

#[test]
fn lanes_are_kept_by_three_workers_together_and_lifting_the_limit_lets_them_finish() {
    const LANES: i64 = 2;
    // a claim too many is given back within a second, which a busy machine may make longer
    const SURPLUS_MS: i64 = 5_000;
    // given batches that last, so that the lanes are always wanted
    let (world, _workers) = limited(&["--lanes", "2", "--rows-per-second", "30"], LANES);
    let (began, mut within) = (world.at(IN_HAND).0, world.at(IN_HAND).0);
    wait_until(PATIENCE, "a while has passed", || {
        let (at, in_hand) = world.at(IN_HAND);
        if in_hand <= LANES {
            within = at;
        }
        assert!(at - within < SURPLUS_MS, "{in_hand} batches in hand");
        (at - began > 2 * SURPLUS_MS).then_some(())
    });
    world.run(&["limit", "1", "--lanes", "none", "--rows-per-second", "none"]).ok();
    world.until_completed();
    world.nothing_is_lost_and_the_old_key_is_gone();
}
