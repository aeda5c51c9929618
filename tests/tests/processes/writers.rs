//! Applications that write meanwhile.

use crate::world::{World, rows};
use reseal_tests::{Job, Leash, Signal, spawn_python, wait_until};
use serde_json::Value;
use std::time::Duration;

pub(crate) fn writer(world: &World, leash: &Leash, keyset: &str, stale: bool) -> Job {
    let mut args = vec![world.app_url(), keyset.to_owned()];
    if stale {
        args.push("--stale".into());
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let writer = spawn_python(leash, "writer.py", &args);
    wait_until(Duration::from_secs(30), "the application writes", || writer.stderr().contains("writing").then_some(()));
    writer
}

pub(crate) fn stop(writer: &Job) -> Value {
    writer.signal(Signal::TERM);
    let output = writer.wait(Duration::from_secs(30));
    assert_eq!(output.code, 0, "{}", output.stderr);
    serde_json::from_str(output.stdout.trim()).unwrap()
}

pub(crate) fn changes(summary: &Value) -> i64 {
    ["inserts", "updates", "deletes"].iter().map(|k| summary[k].as_i64().unwrap()).sum()
}

#[test]
fn an_application_at_full_speed_loses_no_write_when_the_key_is_published_first() {
    let world = World::new(rows(), "");
    let leash = Leash::new();
    let refused = world.run(&["rotate"]);
    assert_eq!(refused.code, 1, "an imported keyset is not rotated in one step");
    assert!(refused.stderr.contains("keys create") && refused.stderr.contains("--to"), "{}", refused.stderr);
    let key = world.reseal.json(&["keys", "create", "default"])["key_id"].to_string();
    let published = world.export("published.json");
    let app = writer(&world, &leash, &published.display().to_string(), false);
    let _workers = [world.worker(), world.worker()];
    world.run(&["rotate", "--to", &key]).ok();
    world.until("the key is promoted", "SELECT count(promoted_at) FROM reseal_rotations", |n| n == 1);
    let promoted = world.export("promoted.json");
    std::fs::rename(promoted, &published).unwrap();
    let status = world.until_completed();
    let summary = stop(&app);
    assert!(changes(&summary) > 1_000, "{summary}");
    assert_eq!(summary["unreadable"], 0, "{summary}");
    let underneath: i64 =
        status["tables"].as_array().unwrap().iter().map(|t| t["changed_underneath"].as_i64().unwrap()).sum();
    assert!(underneath > 0, "no row changed underneath, so nothing was tried");
    world.nothing_is_lost_and_the_old_key_is_gone();
}

#[test]
fn a_stale_application_is_swept_then_refused_and_the_rotation_still_finishes() {
    let world = World::new([300, 3_000, 300], "");
    let leash = Leash::new();
    let app = writer(&world, &leash, &world.path("tink.json"), true);
    let _worker = world.worker();
    world.rotate(&[]).ok();
    let status = world.until_completed();
    let summary = stop(&app);
    assert!(changes(&summary) > 0 && summary["refused"].as_i64().unwrap() > 0, "{summary}");
    let planned = status["rows"].as_i64().unwrap();
    assert!(status["reencrypted"].as_i64().unwrap() > planned, "nothing was swept: {status}");
    world.nothing_is_lost_and_the_old_key_is_gone();
    let refused = world.run(&["fence", "list", "--json"]).ok();
    assert_eq!(
        refused.stdout.matches("\"complete\":true").count() + refused.stdout.matches("\"complete\": true").count(),
        3,
        "{}",
        refused.stdout
    );
}

#[test]
fn a_history_table_that_nobody_registered_blocks_the_proof_by_name() {
    let world = World::new([600, 600, 600], "");
    world.app_sql(
        "CREATE TABLE message_history (id bigint, was bytea);
         CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           INSERT INTO message_history VALUES (OLD.id, OLD.encrypted_content); RETURN NEW; END $$;
         CREATE TRIGGER keep BEFORE UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION keep()",
    );
    let _worker = world.worker();
    let waited = world.rotate(&["--wait"]);
    assert_eq!(waited.code, 3, "{}{}", waited.stdout, waited.stderr);
    let status = world.status();
    assert_eq!(status["code"], "proof_blocked");
    let detail = status["detail"].as_str().unwrap();
    assert!(detail.contains("public.message_history.was is not registered and holds 600 cells"), "{detail}");
    assert_eq!(status["old_key_state"], "deactivated");
    world.app_sql("DELETE FROM message_history");
    world.until_completed();
    world.nothing_is_lost_and_the_old_key_is_gone();
}
