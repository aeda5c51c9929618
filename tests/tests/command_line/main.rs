//! The command line as a user meets it.

mod cases;
mod evidence;
mod keysets;
mod operations;
mod people;
mod pooler;

use reseal_tests::{Output, Reseal, wait_until};
use serde_json::Value;
use std::{os::unix::fs::PermissionsExt, time::Duration};

const EMBEDDED: &str = "
[ledger]
url = \"sqlite://{data}/ledger.sqlite\"
key_backup = \"{data}/keys\"
[queue]
url = \"memory:\"
[kek]
uri = \"file:{data}/kek\"
[[source]]
name = \"app\"
url = \"sqlite://{data}/app.sqlite\"
[[table]]
source = \"app\"
name = \"messages\"
primary_key = [\"id\"]
columns = [{ name = \"encrypted_content\", associated_data = \"messages.encrypted_content:{id}\" }]
[rotation]
clear_after = \"0s\"
writer_ttl = \"0s\"
";

fn embedded() -> Reseal {
    // {id} is the template's own, {data} the harness's.
    Reseal::new(EMBEDDED.to_owned())
}

fn failed(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.code, code, "{}{}", output.stdout, output.stderr);
    let said = format!("{}{}", output.stdout, output.stderr);
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

/// With KEK, ledger, tables and a first key.
fn ready(reseal: Reseal) -> Reseal {
    reseal.run(&["keys", "init"]).ok();
    reseal.run(&["migrate", "--reference-tables", "app"]).ok();
    reseal.run(&["keys", "create", "default"]).ok();
    reseal
}

#[test]
fn the_demo_reads_every_row_back_under_the_new_key_and_leaves_nothing() {
    let reseal = embedded();
    let output = reseal.run(&["demo", "--rows", "4000", "--json"]).ok();
    let end: Value = serde_json::from_str(&output.stdout).expect("one object");
    assert_eq!((&end["state"], &end["old_key_state"]), (&"completed".into(), &"destroyed".into()));
    assert_eq!(end["quarantined"], 0);
    assert!(end["rows"].as_i64().unwrap() > 3_900 && end["reencrypted"].as_i64().unwrap() > 3_900, "{end}");
    assert_eq!(end["tables"].as_array().unwrap().len(), 3);
    assert!(end["seconds"].is_number());
}

#[test]
fn up_rotates_on_one_machine_what_another_command_asks_for() {
    let reseal = ready(embedded());
    let up = reseal.spawn(&["up"]);
    let output = reseal.run(&["rotate", "--wait", "--json"]).ok();
    let end: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((&end["state"], &end["old_key_state"]), (&"completed".into(), &"destroyed".into()));
    up.terminate();
    assert_eq!(up.wait(Duration::from_secs(20)).code, 0, "{}", up.stderr());
    assert!(reseal.run(&["audit", "verify"]).ok().stdout.contains("holds"));
}

#[test]
fn a_waiting_time_that_is_left_ends_the_wait_with_its_date() {
    let reseal = ready(embedded().env("RESEAL__ROTATION__CLEAR_AFTER", "1h"));
    let _up = reseal.spawn(&["up"]);
    let output = reseal.run(&["rotate", "--wait", "--json"]).ok();
    let end: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((&end["state"], &end["old_key_state"]), (&"waiting".into(), &"suspended".into()));
    let old = reseal.json(&["status", "1"])["old_keys"][0]["key_id"].to_string();
    failed(&reseal.run(&["keys", "clear", &old]), 1, &["waiting time"]);
}

#[test]
fn mistakes_in_the_configuration_are_named_before_anything_is_done() {
    let without = Reseal::new(EMBEDDED.replace("clear_after = \"0s\"", ""));
    without.run(&["keys", "init"]).ok();
    without.run(&["migrate", "--reference-tables", "app"]).ok();
    without.run(&["keys", "create", "default"]).ok();
    failed(&without.run(&["rotate"]), 2, &["rotation.clear_after"]);
    let column = Reseal::new(EMBEDDED.replace("{ name = \"encrypted_content\"", "{ name = \"content\""));
    column.run(&["keys", "init"]).ok();
    column.run(&["migrate", "--reference-tables", "app"]).ok();
    column.run(&["keys", "create", "default"]).ok();
    let refused = column.run(&["rotate"]);
    assert!(
        refused.code != 0 && refused.stderr.contains("table[0]") && refused.stderr.contains("content"),
        "{}",
        refused.stderr
    );
    assert_eq!(column.json(&["status"])["rotations"].as_array().unwrap().len(), 0, "nothing was enqueued");
}

#[test]
fn keys_are_guarded_by_clear_refusals() {
    let reseal = embedded();
    reseal.run(&["keys", "init"]).ok();
    failed(&reseal.run(&["keys", "list"]), 1, &["reseal migrate"]);
    reseal.run(&["migrate", "--reference-tables", "app"]).ok();
    reseal.run(&["keys", "create", "default"]).ok();
    let out = reseal.dir().join("out.json").display().to_string();
    let refused = reseal.run(&["keys", "export", "default", "--format", "tink-json", &out]);
    assert!(refused.code != 0 && refused.stderr.contains("--insecure-cleartext"), "{}", refused.stderr);
    reseal.run(&["keys", "export", "default", "--format", "tink-json", "--insecure-cleartext", &out]).ok();
    let mode = std::fs::metadata(&out).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let again = reseal.run(&["keys", "export", "default", "--format", "tink-json", "--insecure-cleartext", &out]);
    assert_ne!(again.code, 0, "an export is never written over a file");
    assert!(reseal.run(&["audit", "list"]).ok().stdout.contains("keyset.exported"));
    let kek = reseal.dir().join("kek");
    std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o644)).unwrap();
    failed(&reseal.run(&["check"]), 1, &["chmod 600"]);
    std::fs::remove_file(&kek).unwrap();
    failed(&reseal.run(&["check"]), 1, &["restore"]);
}

#[test]
fn status_watch_ends_when_the_rotation_does() {
    let reseal = ready(embedded());
    reseal.run(&["rotate"]).ok();
    let watch = reseal.spawn(&["status", "1", "--watch"]);
    wait_until(Duration::from_secs(20), "it watches", || watch.stdout().contains("requested").then_some(()));
    let _up = reseal.spawn(&["up"]);
    let output = watch.wait(Duration::from_secs(60));
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.contains("completed"), "{}", output.stdout);
}
