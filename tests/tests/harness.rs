//! The harness keeps its own promises.

use std::{process::Command, time::Duration};

use reseal_tests::{Leash, Postgres, Redis, Signal, run_python, shared_postgres, spawn_python, wait_until};

const SECONDS: Duration = Duration::from_secs(1);

/// Command lines of all processes that name this text.
fn processes(text: &str) -> Vec<String> {
    let out = Command::new("ps").args(["-eo", "args="]).output().expect("ps");
    let all = String::from_utf8_lossy(&out.stdout).into_owned();
    all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

fn nothing_left(dir: &std::path::Path) -> Option<()> {
    (processes(dir.to_str().unwrap()).is_empty() && !dir.exists()).then_some(())
}

#[test]
fn a_server_that_is_dropped_leaves_no_process_and_no_folder() {
    let server = Postgres::start();
    let dir = server.sql("postgres", "show unix_socket_directories");
    let pid = server.sql("postgres", "select pg_backend_pid()");
    assert!(!pid.is_empty() && !processes(&dir).is_empty());
    drop(server);
    wait_until(10 * SECONDS, "no process and no folder", || nothing_left(dir.as_ref()));
}

#[test]
fn what_a_killed_process_had_started_goes_with_it() {
    // given a process that holds a leash, as a test process does
    let leash = Leash::new();
    let (inner, script) = (leash.dir().join("inner"), leash.dir().join("leash.sh"));
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(&script, include_str!("../src/leash.sh")).unwrap();
    let holder =
        format!("{{ echo \"a sleep 1000\"; exec sleep 2000; }} | sh {} {} 9", script.display(), inner.display());
    let job = leash.start("sh", &["-c", &holder], &[]);
    let pid = wait_until(10 * SECONDS, "started", || std::fs::read_to_string(inner.join("a.pid")).ok());
    let alive = || Command::new("kill").args(["-0", pid.trim()]).output().unwrap().status.success();
    assert!(alive());
    // when its end of the pipe closes without a word
    let job = job.pid().as_raw_nonzero().to_string();
    let holder = Command::new("pgrep").args(["-P", &job, "sleep"]).output().unwrap();
    let holder = String::from_utf8_lossy(&holder.stdout).trim().to_owned();
    assert!(Command::new("kill").args(["-9", &holder]).status().unwrap().success());
    // then
    wait_until(10 * SECONDS, "ended", || (!alive() && !inner.exists()).then_some(()));
}

#[test]
fn a_database_survives_a_crash_and_keeps_commits_on() {
    let server = Postgres::start();
    let url = server.create_database("one");
    assert_eq!(url, server.url("one"));
    server.sql("one", "create table t (x int); insert into t values (7)");
    server.kill_immediate();
    server.restart();
    assert_eq!(server.sql("one", "select x from t"), "7");
    assert_eq!(server.sql("one", "show synchronous_commit"), "on");
}

#[test]
fn redis_comes_back_empty_on_its_port() {
    let redis = Redis::start();
    assert!(redis.command("SET a 1").starts_with("+OK"));
    redis.flush();
    assert!(redis.command("GET a").starts_with("$-1"));
    redis.command("SET a 1");
    let url = redis.url();
    redis.start_again_empty();
    assert_eq!(redis.url(), url);
    assert!(redis.command("GET a").starts_with("$-1"));
    assert!(redis.command("CONFIG GET maxmemory-policy").contains("noeviction"));
}

/// A keyset and a thousand rows under it.
fn seeded(server: &Postgres, database: &str) -> (Leash, String, String) {
    let leash = Leash::new();
    let keyset = leash.dir().join("keyset.json").to_str().unwrap().to_owned();
    let url = server.create_database(database);
    run_python("keyset.py", &["new", &keyset]).ok();
    let counts = ["--user-profiles", "400", "--messages", "400", "--sync-queue", "200"];
    run_python("seed.py", &[&[url.as_str(), &keyset, "--create-tables"], &counts[..]].concat()).ok();
    (leash, url, keyset)
}

fn compared(url: &str, keyset: &str) -> (i32, serde_json::Value) {
    let out = run_python("compare.py", &[url, keyset]);
    let json = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.stderr));
    (out.code, json)
}

#[test]
fn python_finds_what_python_wrote_and_each_kind_of_difference() {
    let server = shared_postgres();
    let (_leash, url, keyset) = seeded(server, "compare");
    let (code, json) = compared(&url, &keyset);
    assert_eq!((code, &json["rows"]), (0, &1000.into()), "{json}");
    assert_eq!(json["key_ids"].as_object().unwrap().len(), 1, "{json}");

    // one byte, one row swapped into another's place, one gone, one too many
    let cell = "encrypted_content";
    for change in [
        format!("update messages set {cell} = set_byte({cell}, 30, get_byte({cell}, 30) # 1) where id = 1"),
        format!("update messages set {cell} = (select {cell} from messages where id = 3) where id = 2"),
        "delete from sync_queue where id = 1".to_owned(),
        "insert into sync_queue (id) values (1000)".to_owned(),
    ] {
        server.sql("compare", &change);
    }
    let (code, json) = compared(&url, &keyset);
    assert_eq!(code, 1);
    for (what, count) in [("rows", 1000), ("wrong", 2), ("missing", 1), ("extra", 1)] {
        assert_eq!(json[what], count, "{what}: {json}");
    }
}

#[test]
fn a_writer_keeps_the_shadow_true_and_counts_what_a_fence_refuses() {
    // its own server, because it crashes it
    let server = Postgres::start();
    let (leash, url, keyset) = seeded(&server, "writer");
    let writers = [&["--writer", "1"][..], &["--writer", "2", "--stale"]]
        .map(|more| spawn_python(&leash, "writer.py", &[&[url.as_str(), &keyset], more].concat()));
    for writer in &writers {
        wait_until(30 * SECONDS, "writing", || writer.stderr().contains("writing").then_some(()));
    }
    let changes = || server.sql("writer", "select sum(n_tup_upd) > 200 from pg_stat_user_tables");
    wait_until(30 * SECONDS, "updates", || (changes() == "t").then_some(()));
    // a fence against everything, so against either writer
    server.sql(
        "writer",
        "create function refuse() returns trigger language plpgsql as \
         $$ begin raise exception 'fenced' using errcode = 'RS001'; end $$; \
         create trigger fence before insert or update on messages \
         for each row execute function refuse()",
    );
    server.restart();
    let out = writers.map(|writer| {
        wait_until(30 * SECONDS, "connected again", || {
            let clients = "select count(*) > 1 from pg_stat_activity where datname = 'writer'";
            (server.sql("writer", clients) == "t").then_some(())
        });
        let before = server.sql("writer", "select count(*) from sync_queue");
        wait_until(30 * SECONDS, "goes on", || {
            (server.sql("writer", "select count(*) from sync_queue") != before).then_some(())
        });
        writer.signal(Signal::TERM);
        let out = writer.wait(30 * SECONDS).ok();
        let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
        for what in ["inserts", "updates", "deletes", "refused", "reconnects"] {
            assert_ne!(json[what], 0, "{what}: {json}");
        }
        assert_eq!(json["unreadable"], 0, "{json}");
        json
    });
    let (code, json) = compared(&url, &keyset);
    assert_eq!(code, 0, "{json} {out:?}");
}
