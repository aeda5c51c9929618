//! What people ask and say of keys and workers.

use crate::{embedded, failed, ready};
use reseal_tests::{Reseal, Signal, wait_until};
use sqlx::Connection;
use std::time::Duration;

fn first_key(reseal: &Reseal) -> String {
    reseal.json(&["keys", "list"])["keys"][0]["key_id"].to_string()
}

#[test]
fn show_tells_of_a_key_what_promoted_and_what_retires_it_and_what_blocks_its_clearing() {
    let reseal = ready(embedded().env("RESEAL__ROTATION__CLEAR_AFTER", "1h"));
    let old = first_key(&reseal);
    let shown = reseal.json(&["keys", "show", &old]);
    assert_eq!((&shown["state"], &shown["encryptions_max"]), (&"active".into(), &(1_i64 << 31).into()));
    assert!(shown["retired_by"].is_null() && shown["gate"] == serde_json::json!([]), "{shown}");
    let _up = reseal.spawn(&["up"]);
    reseal.run(&["rotate", "--wait"]).ok();

    let shown = reseal.json(&["keys", "show", &old]);
    assert_eq!((&shown["state"], &shown["retired_by"]["id"]), (&"suspended".into(), &1.into()));
    let unmet: Vec<_> = shown["gate"].as_array().unwrap().iter().filter(|c| c["met"] == false).collect();
    assert!(unmet.len() == 1 && unmet[0]["what"].as_str().unwrap().contains("waiting time"), "{shown}");
    let text = reseal.run(&["keys", "show", &old]).ok().stdout;
    assert!(text.contains("before rotation 1 clears it") && text.contains("no   the waiting time is over"), "{text}");

    let new = reseal.json(&["keys", "list"])["keys"][1]["key_id"].to_string();
    let loaded = || {
        let shown = reseal.json(&["keys", "show", &new]);
        (shown["promoted_by"]["id"] == 1 && shown["loaded_by"].as_array().unwrap().len() == 1).then_some(())
    };
    wait_until(Duration::from_secs(15), "the worker says that it has the key", loaded);
    failed(&reseal.run(&["keys", "show", "7"]), 1, &["no key 7", "reseal keys list"]);
    reseal.run(&["cancel", "1"]).ok();
    let text = reseal.run(&["keys", "show", &old]).ok().stdout;
    assert!(text.contains("rotation 1 no longer retires it: the next rotation of `default`"), "{text}");
}

#[test]
fn a_compromised_key_is_marked_once_and_shown_everywhere() {
    let reseal = ready(embedded());
    let key = first_key(&reseal);
    failed(&reseal.run(&["keys", "compromise", &key]), 2, &["--reason"]);
    failed(&reseal.run(&["keys", "compromise", &key, "--reason", ""]), 2, &["--reason"]);
    let said = reseal.run(&["keys", "compromise", &key, "--reason", "found in a ticket"]).ok().stdout;
    assert!(said.contains("reseal rotate default"), "it says what to do: {said}");
    failed(&reseal.run(&["keys", "compromise", &key, "--reason", "again"]), 1, &["already", "found in a ticket"]);
    assert!(reseal.run(&["keys", "list"]).ok().stdout.contains("active, compromised"));
    assert!(reseal.run(&["keys", "show", &key]).ok().stdout.contains("found in a ticket"));
    let shown = reseal.json(&["keys", "show", &key]);
    assert_eq!((&shown["state"], &shown["compromised_reason"]), (&"active".into(), &"found in a ticket".into()));
    let audit = reseal.run(&["audit", "list", "--json"]).ok().stdout;
    assert_eq!(audit.matches("key.compromised").count(), 1, "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_clearing_goes_on_only_when_it_is_dismissed_with_a_note() {
    let reseal = ready(embedded().env("RESEAL__ROTATION__CLEAR_AFTER", "1h"));
    let _up = reseal.spawn(&["up"]);
    reseal.run(&["rotate", "--wait"]).ok();
    failed(&reseal.run(&["keys", "dismiss", "1", "--note", "nothing"]), 1, &["nothing holds rotation 1"]);
    let file = reseal.dir().join("ledger.sqlite");
    let mut ledger = sqlx::SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    let hold = "UPDATE reseal_rotations SET hold_at = 1, hold_detail = 'key 7 was used'";
    sqlx::raw_sql(hold).execute(&mut ledger).await.unwrap();
    failed(&reseal.run(&["status", "1"]), 3, &["key 7 was used"]);
    failed(&reseal.run(&["keys", "dismiss", "1"]), 2, &["--note"]);
    let said = reseal.run(&["keys", "dismiss", "1", "--note", "an old replica, gone"]).ok().stdout;
    assert!(said.contains("key 7 was used"), "{said}");
    reseal.run(&["status", "1"]).ok();
    let audit = reseal.run(&["audit", "list", "--json"]).ok().stdout;
    assert!(audit.contains("hold.dismissed") && audit.contains("an old replica, gone"), "{audit}");
}

#[test]
fn ctrl_c_ends_the_following_and_not_the_rotation() {
    let reseal = ready(embedded());
    let following = reseal.spawn(&["rotate", "--wait"]);
    wait_until(Duration::from_secs(20), "it follows", || following.stderr().contains("requested; waits").then_some(()));
    following.signal(Signal::INT);
    let output = following.wait(Duration::from_secs(10));
    failed(&output, 130, &["rotation 1 goes on", "reseal status 1 --watch"]);
    assert!(!output.stderr.contains("error:"), "{}", output.stderr);
    assert_eq!(reseal.json(&["status", "1"])["state"], "requested");
}

#[test]
fn colours_are_for_terminals_unless_forced_and_never_against_no_color() {
    let reseal = embedded();
    let said = |env: &[(&str, &str)]| reseal.spawn_with(&["status"], env).wait(Duration::from_secs(10)).stderr;
    assert!(!said(&[]).contains('\x1b'), "a file is no terminal");
    assert!(said(&[("CLICOLOR_FORCE", "1")]).starts_with("\x1b[31;1merror:"));
    assert!(!said(&[("CLICOLOR_FORCE", "0")]).contains('\x1b'));
    assert!(!said(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains('\x1b'));
}

#[test]
fn a_log_file_is_appended_to_and_takes_the_log_off_stderr() {
    let reseal = ready(embedded());
    let file = reseal.dir().join("reseal.log").display().to_string();
    for starts in 1..=2 {
        let up = reseal.spawn(&["up", "--log-file", &file, "--log-format", "json"]);
        let starts_in = |log: String| log.matches("the worker starts").count() == starts;
        let written = || std::fs::read_to_string(&file).is_ok_and(starts_in);
        wait_until(Duration::from_secs(20), "it logs", || written().then_some(()));
        up.terminate();
        let output = up.wait(Duration::from_secs(20));
        assert!(!output.stderr.contains("the worker starts"), "{}", output.stderr);
    }
    let log = std::fs::read_to_string(&file).unwrap();
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
    assert_eq!(log.matches("the worker starts").count(), 2);
    failed(&reseal.run(&["status", "--log-file", "/nowhere/log"]), 1, &["/nowhere/log cannot be opened"]);
}

#[test]
fn a_worker_that_is_asked_to_drain_ends_well_and_is_listed_as_it_stands() {
    let reseal = ready(embedded());
    failed(&reseal.run(&["workers", "drain"]), 2, &["--all"]);
    failed(&reseal.run(&["workers", "drain", "nobody"]), 1, &["no worker `nobody` is alive"]);
    let up = reseal.spawn(&["up", "--lanes", "3"]);
    let alive = || {
        let workers = reseal.json(&["workers", "list"])["workers"].clone();
        (workers.as_array().unwrap().len() == 1).then(|| workers[0].clone())
    };
    let worker = wait_until(Duration::from_secs(20), "it is alive", alive);
    assert_eq!(
        (&worker["state"], &worker["lanes"], &worker["jobs_running"]),
        (&"running".into(), &3.into(), &0.into())
    );
    let name = worker["name"].as_str().unwrap();
    assert!(name.starts_with(worker["host"].as_str().unwrap()));

    assert_eq!(reseal.json(&["workers", "drain", name])["asked"][0], name);
    assert_eq!(up.wait(Duration::from_secs(20)).code, 0, "{}", up.stderr());
    assert_eq!(reseal.json(&["workers", "list"])["workers"], serde_json::json!([]));
    assert_eq!(reseal.json(&["workers", "list", "--all"])["workers"][0]["state"], "stopped");
    assert_eq!(reseal.json(&["workers", "drain", "--all"])["asked"], serde_json::json!([]));
}

#[test]
fn limits_are_set_one_by_one_shown_lifted_and_refused_once_a_rotation_has_ended() {
    let reseal = ready(embedded());
    assert!(reseal.run(&["rotate"]).ok().stdout.contains("rotation 1"));
    let limits = |args: &[&str]| reseal.json(&[&["limit", "1"], args].concat())["limits"].clone();
    let none = serde_json::json!({"rows_per_second": null, "lanes": null, "batches": null});
    assert_eq!(limits(&[]), none);
    limits(&["--rows-per-second", "500"]);
    let both = serde_json::json!({"rows_per_second": 500, "lanes": 2, "batches": null});
    assert_eq!(limits(&["--lanes", "2"]), both, "the other limit stays");
    assert_eq!(reseal.json(&["status", "1"])["limits"], both);
    let words = "at most 500 rows per second, 2 batches in hand";
    assert!(reseal.run(&["limit", "1"]).ok().stdout.contains(words));
    assert!(reseal.run(&["status", "1"]).ok().stdout.contains(words));
    assert_eq!(limits(&["--rows-per-second", "none", "--lanes", "none"]), none);
    failed(&reseal.run(&["limit", "1", "--lanes", "0"]), 2, &["a number from 1 on", "reseal pause"]);
    let audit = reseal.run(&["audit", "list", "--json"]).ok().stdout;
    assert_eq!(audit.matches("rotation.limited").count(), 3, "{audit}");

    let _up = reseal.spawn(&["up"]);
    let ended = || (reseal.json(&["status", "1"])["state"] == "completed").then_some(());
    wait_until(Duration::from_secs(60), "it completes", ended);
    failed(&reseal.run(&["limit", "1", "--lanes", "1"]), 1, &["rotation 1 is completed"]);
}

#[test]
fn a_token_is_shown_once_and_kept_nowhere() {
    let reseal = ready(embedded());
    let made = reseal.run(&["token", "create", "--role", "operator", "--name", "billing", "--expires", "90d"]).ok();
    let token = made.stdout.trim();
    assert!(token.starts_with("reseal_1_") && token.len() == 73, "the token alone is on stdout: {}", made.stdout);
    assert!(made.stderr.contains("shown this once") && made.stderr.contains("billing"), "{}", made.stderr);
    let object = reseal.json(&["token", "create", "--role", "key_admin", "--requests-per-second", "5"]);
    assert_eq!(
        (&object["id"], &object["role"], &object["requests_per_second"]),
        (&2.into(), &"key_admin".into(), &5.into())
    );
    assert!(object["token"].as_str().unwrap().starts_with("reseal_2_") && object["expires_at"].is_null());

    let secrets = [token.rsplit('_').next().unwrap(), object["token"].as_str().unwrap().rsplit('_').next().unwrap()];
    let listed = reseal.run(&["token", "list", "--json"]).ok().stdout + &reseal.run(&["token", "list"]).ok().stdout;
    let audit = reseal.run(&["audit", "export"]).ok().stdout;
    let ledger = std::fs::read(reseal.dir().join("ledger.sqlite")).unwrap();
    for secret in secrets {
        assert!(!listed.contains(secret) && !audit.contains(secret));
        assert!(!ledger.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()));
    }
    assert!(!listed.contains("secret_hash") && !audit.contains("secret_hash"));
    failed(&reseal.run(&["token", "create", "--role", "viewer", "--expires", "0s"]), 1, &["larger than 0"]);
    assert_eq!(reseal.json(&["token", "revoke", "1"])["changed"], true);
    assert_eq!(reseal.json(&["token", "revoke", "1"])["changed"], false);
    assert_eq!(reseal.json(&["token", "list"])["tokens"][0]["state"], "revoked");
}

#[test]
fn with_the_two_person_rule_the_second_person_is_waited_for_and_named() {
    let reseal = ready(embedded().env("RESEAL__ROTATION__TWO_PERSON", "true").env("USER", "ada"));
    let _up = reseal.spawn(&["up"]);
    // nothing goes on without a person, and it says what that one does
    let waited = reseal.run(&["rotate", "--wait"]);
    failed(&waited, 3, &["somebody other than ada@", "reseal approve 1"]);
    failed(&reseal.run(&["status", "1"]), 3, &["no   somebody other than who asked for it has approved it"]);
    let key = reseal.json(&["status", "1"])["old_keys"][0]["key_id"].to_string();
    failed(&reseal.run(&["keys", "clear", &key]), 1, &["key_in_use", "reseal approve 1"][1..]);
    failed(&reseal.run(&["approve", "1"]), 1, &["ada@", "somebody else has to approve it"]);

    let as_bob = |args: &[&str]| reseal.spawn_with(args, &[("USER", "bob")]).wait(Duration::from_secs(20)).ok();
    assert!(as_bob(&["approve", "1"]).stdout.contains("rotation 1 was approved by bob@"));
    let completed = || (reseal.json(&["status", "1"])["state"] == "completed").then_some(());
    wait_until(Duration::from_secs(60), "it is cleared", completed);
    let again = as_bob(&["approve", "1", "--json"]).stdout;
    assert!(again.contains("\"changed\":false") && again.contains("bob@"), "{again}");
    let audit = reseal.run(&["audit", "list", "--json"]).ok().stdout;
    assert_eq!(audit.matches("rotation.approved").count(), 1, "{audit}");
}
