//! The key is published before it is promoted: readers with an exported keyset never miss one.

use crate::{
    world::{PATIENCE, World, full_scale},
    writers,
};
use reseal_tests::{Job, Leash, Signal, spawn_python, wait_until};
use serde_json::Value;
use std::time::Duration;

/// The commands that a refusal gives, each as a user would type it.
fn commands_in(message: &str) -> Vec<Vec<String>> {
    let quoted = message.split('`').skip(1).step_by(2).filter(|text| text.starts_with("reseal "));
    let lines = message.lines().map(str::trim).filter(|line| line.starts_with("reseal "));
    let found: Vec<&str> = lines.chain(quoted).collect();
    // what stands behind three blanks is said to the reader
    let typed = |line: &str| line.split("   ").next().unwrap().split_whitespace().map(str::to_owned).collect();
    found.into_iter().map(typed).collect()
}

/// Runs one of them, with what the user puts in the place of the words in capitals.
fn typed(world: &World, command: &[String], file: &str, key_id: &str) -> reseal_tests::Output {
    let fill = |word: &String| word.replace("FILE", file).replace("KEY_ID", key_id);
    let words: Vec<String> = command[1..].iter().map(fill).collect();
    world.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The new key's id, read from what `keys create` says to a person.
fn key_id_in(said: &str) -> String {
    let after = said.split("key ").nth(1).unwrap_or_else(|| panic!("no key id in {said:?}"));
    after.chars().take_while(char::is_ascii_digit).collect()
}

fn active_key(world: &World) -> String {
    world.ledger_sql("SELECT key_id FROM reseal_keys WHERE state = 'active'")
}

fn reader(world: &World, leash: &Leash, keyset: &str) -> Job {
    spawn_python(leash, "reader.py", &[&world.app_url(), keyset])
}

fn reads(reader: &Job) -> usize {
    let told = reader.stderr();
    assert!(reader.exited().is_none(), "a reader ended: {told}");
    told.lines().filter_map(|line| line.strip_prefix("read ")?.parse().ok()).next_back().unwrap_or(0)
}

fn holds(reader: &Job, key_id: &str) -> bool {
    let told = reader.stderr();
    let last = told.lines().filter_map(|line| line.strip_prefix("holds ")).next_back().unwrap_or_default().to_owned();
    last.split(',').any(|id| id == key_id)
}

fn stop(reader: &Job) -> Value {
    reader.signal(Signal::TERM);
    let output = reader.wait(Duration::from_secs(30));
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(output.stderr.matches("failed:").count(), 0, "{}", output.stderr);
    serde_json::from_str(output.stdout.trim()).unwrap()
}

#[test]
#[expect(clippy::print_stderr, reason = "figures, for who runs it with --nocapture")]
fn readers_with_an_exported_keyset_fail_at_no_read_when_its_next_key_is_published_as_the_refusal_says() {
    let rows = if full_scale() { [100_000, 500_000, 50_000] } else { [2_000, 8_000, 2_000] };
    let (world, leash) = (World::new(rows, ""), Leash::new());
    let (deployed, old) = (world.path("deployed.json"), active_key(&world));
    std::fs::copy(world.path("tink.json"), &deployed).unwrap();
    let readers = [reader(&world, &leash, &deployed), reader(&world, &leash, &deployed)];
    let writer = writers::writer(&world, &leash, &deployed, false);
    let every_reader = |what: &str, enough: &dyn Fn(&Job) -> bool| {
        wait_until(PATIENCE, what, || readers.iter().all(enough).then_some(()));
    };
    every_reader("the readers read under the old key", &|r| reads(r) >= 2_000);

    let refused = world.run(&["rotate"]);
    assert_eq!(refused.code, 1, "an imported keyset is not rotated in one step: {}", refused.stdout);
    let commands = commands_in(&refused.stderr);
    let [create, export, rotate] = &commands[..] else { panic!("not three commands: {}", refused.stderr) };
    assert_eq!(world.ledger_count("SELECT count(*) FROM reseal_rotations"), 0);
    let new = key_id_in(&typed(&world, create, "", "").ok().stdout);
    let file = world.path("next.json");
    typed(&world, export, &file, &new).ok();
    std::fs::rename(file, &deployed).unwrap();
    every_reader("the readers have loaded what was deployed", &|r| holds(r, &new));
    let before: Vec<usize> = readers.iter().map(reads).collect();
    let _workers = [world.worker(), world.worker()];
    typed(&world, rotate, "", &new).ok();

    world.until("the key is promoted", "SELECT count(promoted_at) FROM reseal_rotations", |n| n == 1);
    // Afterwards the operator deploys once more, so that applications write under the new key.
    std::fs::rename(world.export("afterwards.json"), &deployed).unwrap();
    world.until_completed();
    let at_the_end: Vec<usize> = readers.iter().map(reads).collect();
    every_reader("the readers have gone on", &|r| {
        reads(r) >= 12_000 && at_the_end.iter().all(|n| reads(r) > n + 2_000)
    });
    let (summaries, changes) = (readers.each_ref().map(stop), writers::stop(&writer));

    for (summary, before) in summaries.iter().zip(before) {
        assert_eq!(summary["failed"], 0, "{summary}");
        let under = |key: &str| summary["by_key"][key].as_u64().unwrap_or(0) as usize;
        let all = summary["reads"].as_u64().unwrap() as usize;
        assert!(under(&old) >= 2_000 && under(&new) >= 2_000, "they do not span the promotion: {summary}");
        assert!(under(&old) + under(&new) == all && all > before, "{summary}");
    }
    let all: u64 = summaries.iter().map(|s| s["reads"].as_u64().unwrap()).sum();
    assert!(all >= 20_000, "{all} reads");
    eprintln!("{summaries:?}, {changes}");
    assert!(writers::changes(&changes) > 100, "{changes}");
    world.nothing_is_lost_and_the_old_key_is_gone();
}

#[test]
fn a_key_that_is_in_no_export_is_refused_and_can_be_rotated_to_once_the_refusal_was_followed() {
    let world = World::new([60, 60, 60], "");
    let _worker = world.worker();
    let new = world.reseal.json(&["keys", "create", "default"])["key_id"].to_string();
    let refused = world.run(&["rotate", "--to", &new, "--wait"]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains(&format!("key {new} is in no export")), "{}", refused.stderr);
    assert_eq!(world.ledger_count("SELECT count(*) FROM reseal_rotations"), 0);
    let commands = commands_in(&refused.stderr);
    assert!(!commands.is_empty(), "no command in {}", refused.stderr);
    for command in &commands {
        typed(&world, command, &world.path("next.json"), &new).ok();
    }
    world.run(&["rotate", "--to", &new, "--wait"]).ok();
    world.nothing_is_lost_and_the_old_key_is_gone();
}
