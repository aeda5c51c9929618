//! Applications on the crate `storage`, through a whole rotation.

use crate::world::{PATIENCE, World};
use reseal_tests::{Job, Leash, Signal, example_bin, wait_until};
use serde_json::Value;
use std::time::Duration;

const READS: i64 = 100_000;

struct Messenger {
    name: &'static str,
    job: Job,
}

impl Messenger {
    fn start(world: &World, leash: &Leash, name: &'static str, more: &[&str]) -> Self {
        let environment = environment(world);
        let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
        let job = leash.start(example_bin("messenger"), &[&["--name", name], more].concat(), &environment);
        let writes = || progress(&job).is_some_and(|(_, writes)| writes > 20).then_some(());
        wait_until(Duration::from_secs(30), &format!("{name} writes"), writes);
        Self { name, job }
    }

    fn stop(&self) -> Value {
        self.job.signal(Signal::TERM);
        let output = self.job.wait(Duration::from_secs(30));
        assert_eq!(output.code, 0, "{}: {}", self.name, output.stderr);
        let summary: Value = serde_json::from_str(output.stdout.trim()).unwrap();
        for never in ["failed_reads", "failed_writes", "lost"] {
            assert_eq!(summary[never], 0, "{summary}\n{}", errors(&output.stderr));
        }
        summary
    }

    fn reads(&self) -> i64 {
        progress(&self.job).map_or(0, |(reads, _)| reads)
    }
}

fn environment(world: &World) -> [(&'static str, String); 3] {
    [
        ("APP_URL", world.app_url()),
        ("LEDGER_URL", world.postgres.url(&world.ledger)),
        ("KEK_URI", format!("file:{}", world.path("kek"))),
    ]
}

/// Reads and writes so far.
fn progress(job: &Job) -> Option<(i64, i64)> {
    let text = job.stderr();
    let line = text.lines().rev().find(|l| l.starts_with("progress ") && l.contains("refused"))?;
    let words: Vec<&str> = line.split(' ').collect();
    Some((words[2].parse().ok()?, words[4].parse().ok()?))
}

fn errors(stderr: &str) -> String {
    stderr.lines().filter(|l| !l.starts_with("progress ")).take(20).collect::<Vec<_>>().join("\n")
}

fn sum(summaries: &[Value], what: &str) -> i64 {
    summaries.iter().map(|s| s[what].as_i64().unwrap()).sum()
}

#[test]
#[expect(clippy::print_stderr, reason = "figures, for who runs it with --nocapture")]
fn applications_read_and_write_through_a_rotation_and_a_straggler_is_named_refused_and_loses_nothing() {
    let world = World::of_storage("writer_ttl = \"6s\"\n");
    let leash = Leash::new();
    let apps = ["app-1", "app-2", "app-3"].map(|name| Messenger::start(&world, &leash, name, &["--readers", "2"]));
    let old = world.ledger_sql("SELECT key_id FROM reseal_keys WHERE keyset = 'default'");
    wait_until(PATIENCE, "reads before", || (apps.iter().map(Messenger::reads).sum::<i64>() > 5_000).then_some(()));

    world.run(&["rotate"]).ok();
    // Before the request it would be a reason to refuse the rotation.
    let stale = Messenger::start(&world, &leash, "stale", &["--stale"]);
    let _workers = [world.worker(), world.worker()];
    let named = wait_until(PATIENCE, "the straggler is named", || {
        let status = world.status();
        assert!(status["state"] != "completed", "it was never named: {status}");
        let waits = status["code"] == "writer_ttl" && status["stragglers"].as_array().unwrap().len() == 1;
        waits.then_some(status)
    });
    assert_eq!(named["stragglers"][0]["name"], "stale");
    assert_eq!(named["stragglers"][0]["key_id"].to_string(), old);
    assert_eq!(named["writers"].as_array().unwrap().len(), 4, "{named}");
    let told = format!("1 application still writes with key {old}: stale");
    assert!(named["detail"].as_str().unwrap().contains(&told), "{}", named["detail"]);
    assert!(named["summary"].as_str().unwrap().contains(&told), "{}", named["summary"]);
    let shown = world.run(&["status", "1"]).ok().stdout;
    assert!(shown.lines().any(|l| l.contains("stale") && l.contains("straggler")), "{shown}");
    assert!(shown.lines().any(|l| l.contains("app-1") && !l.contains("straggler")), "{shown}");
    let fences = world.run(&["fence", "list", "--json"]).ok().stdout;
    assert!(!fences.contains("\"complete\": true") && !fences.contains("\"complete\":true"), "{fences}");

    world.run(&["exclude", "1", "--writer", "stale", "--note", "it never refreshes"]).ok();
    let status = world.until_completed();
    assert_eq!(status["stragglers"].as_array().unwrap().len(), 0);
    wait_until(PATIENCE, "reads in all", || (apps.iter().map(Messenger::reads).sum::<i64>() >= READS).then_some(()));
    let straggler = stale.stop();
    let summaries = apps.each_ref().map(Messenger::stop);
    eprintln!("{straggler}\n{}", summaries.each_ref().map(Value::to_string).join("\n"));

    assert!(straggler["refused"].as_i64().unwrap() > 0, "the fence met no stale write: {straggler}");
    assert!(straggler["retried"].as_i64().unwrap() > 0, "{straggler}");
    let new = status["new_key"]["key_id"].to_string();
    assert!(sum(&summaries, "reads") >= READS);
    for summary in &summaries {
        for when in ["reads_before_promotion", "reads_after_promotion"] {
            assert!(summary[when].as_i64().unwrap() > 100, "{when}: {summary}");
        }
        let keys = summary["keys_read"].as_object().unwrap();
        assert!(keys.contains_key(&old) && keys.contains_key(&new) && keys.len() == 2, "{summary}");
    }

    let environment = environment(&world);
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let verified = leash.start(example_bin("messenger"), &["--verify"], &environment);
    let verified = verified.wait(Duration::from_secs(60)).ok();
    let verified: Value = serde_json::from_str(verified.stdout.trim()).unwrap();
    assert_eq!(verified["failed_reads"], 0, "{verified}");
    assert!(verified["rows"].as_i64().unwrap() > 300, "{verified}");
    assert_eq!((&verified["rows"], &verified["nulls"]), (&verified["shadows"], &0.into()), "{verified}");
    assert_eq!(verified["reads"], verified["rows"], "{verified}");
    let header = format!("01{:08x}", new.parse::<u32>().unwrap());
    for (table, column) in [("messages", "encrypted_content"), ("user_profiles", "encrypted_data")] {
        let others =
            format!("SELECT count(*) FROM {table} WHERE encode(substring({column} from 1 for 5), 'hex') <> '{header}'");
        assert_eq!(world.app_sql(&others), "0", "{table}");
    }
    let destroyed = format!("SELECT state || ' ' || (wrapped_dek IS NULL)::text FROM reseal_keys WHERE key_id = {old}");
    assert_eq!(world.ledger_sql(&destroyed), "destroyed true");
    let counted = world.ledger_count(&format!("SELECT encryptions FROM reseal_keys WHERE key_id = {new}"));
    assert!(counted > 500, "applications count what they encrypt: {counted}");
    assert_eq!(world.ledger_count("SELECT count(*) FROM reseal_writers"), 0, "whoever stops in order leaves");
}
