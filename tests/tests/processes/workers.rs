//! Several workers.

use crate::world::{World, full_scale, rows};
use std::time::Duration;

#[test]
#[expect(clippy::print_stderr, reason = "figures, for who runs it at full scale with --nocapture")]
fn three_workers_share_a_rotation_fairly_and_lose_nothing() {
    let world = World::new(rows(), "");
    let workers = [world.worker(), world.worker(), world.worker()];
    world.until("three workers are present", "SELECT count(*) FROM reseal_workers", |n| n == 3);
    let output = world.rotate(&["--wait", "--json"]).ok();
    let end: serde_json::Value = serde_json::from_str(&output.stdout).expect("one object at the end");
    let rows = rows().iter().sum::<usize>();
    assert_eq!((&end["rows"], &end["reencrypted"]), (&rows.into(), &rows.into()));
    assert_eq!(
        (&end["state"], &end["old_key_state"], &end["quarantined"]),
        (&"completed".into(), &"destroyed".into(), &0.into())
    );
    assert!(end["seconds"].is_number() && end["tables"].as_array().unwrap().len() == 3, "{end}");
    let compared = world.nothing_is_lost_and_the_old_key_is_gone();
    assert_eq!(compared["rows"], rows);
    let peak = |w: &reseal_tests::Child| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", w.pid())).unwrap_or_default();
        status.lines().find_map(|l| l.strip_prefix("VmHWM:").map(|kb| kb.trim().to_owned())).unwrap_or_default()
    };
    eprintln!("peak memory of the workers: {}", [0, 1, 2].map(|i| peak(&workers[i])).join(", "));
    for worker in &workers {
        worker.terminate();
        assert_eq!(worker.wait(Duration::from_secs(20)).code, 0, "{}", worker.stderr());
    }
    eprintln!("{end} by {}", world.ledger_sql("SELECT string_agg(reencrypted::text, ', ') FROM reseal_workers"));
    let shares = world.ledger_sql("SELECT reencrypted FROM reseal_workers ORDER BY 1");
    let shares: Vec<usize> = shares.lines().map(|n| n.parse().unwrap()).collect();
    assert_eq!(shares.iter().sum::<usize>(), rows);
    assert!(shares.len() == 3 && shares[0] > rows / 10, "one did next to nothing: {shares:?}");
    let batches =
        world.ledger_sql("SELECT min(n) FROM (SELECT count(*) n FROM reseal_batches GROUP BY planned_table_id) t");
    assert!(full_scale() || batches.parse::<usize>().unwrap() >= 20, "{batches} batches");
}

#[test]
fn a_worker_that_is_told_to_stop_gives_its_batch_back_within_seconds() {
    let world = World::new([60, 6_000, 60], "");
    let worker = world.worker();
    world.rotate(&[]).ok();
    world.until("a batch is held", "SELECT count(*) FROM reseal_batches WHERE state = 'leased'", |n| n > 0);
    worker.terminate();
    assert_eq!(worker.wait(Duration::from_secs(10)).code, 0, "{}", worker.stderr());
    assert_eq!(world.ledger_count("SELECT count(*) FROM reseal_batches WHERE state = 'leased'"), 0);
    assert!(
        world.ledger_count("SELECT count(*) FROM reseal_batches WHERE state = 'pending'") > 0,
        "it had nothing left to give back"
    );
    assert_eq!(world.ledger_sql("SELECT state FROM reseal_workers"), "stopped");
    let _another = world.worker();
    world.until_completed();
    world.nothing_is_lost_and_the_old_key_is_gone();
}

#[test]
fn rotate_without_a_worker_says_so_and_a_second_request_finds_the_first() {
    let world = World::new([60, 60, 60], "");
    let waited = world.rotate(&["--wait"]);
    assert_eq!(waited.code, 1, "{}{}", waited.stdout, waited.stderr);
    assert!(waited.stderr.contains("no worker"), "{}", waited.stderr);
    let again = world.reseal.json(&["rotate"]);
    assert_eq!(again["id"], 1);
    assert_eq!(world.ledger_count("SELECT count(*) FROM reseal_rotations"), 1);
    let _worker = world.worker();
    world.until_completed();
}
