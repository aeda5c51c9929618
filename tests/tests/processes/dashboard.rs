//! What operators do in the dashboard, in a real browser, over a real database and real workers.

use crate::{
    serving::{address, serve, token},
    world::{PATIENCE, World},
};
use reseal_tests::{Browser, Postgres, Redis, Reseal};
use serde_json::{Value, json};
use std::{cell::RefCell, net::TcpListener};

#[test]
fn an_operator_starts_a_rotation_and_does_what_failed_again_by_keyboard_alone() {
    let world = World::new([600, 600, 600], "");
    let admin = token(&world, "admin", "ada");
    let (_server, url) = serve(&world, &[]);
    let to = world.reseal.json(&["keys", "create", "default"])["key_id"].as_i64().expect("a key");
    world.export("published.json");
    let old = world.ledger_count("SELECT key_id FROM reseal_keys WHERE state = 'active'");
    // a byte of some values is not as it was written
    world.app_sql("CREATE TABLE check_good AS SELECT id, encrypted_content FROM messages ORDER BY id LIMIT 3");
    world.app_sql(
        "UPDATE messages SET encrypted_content = set_byte(encrypted_content, 20, get_byte(encrypted_content, 20) # 1) \
         WHERE id IN (SELECT id FROM check_good)",
    );
    let _workers = [world.worker(), world.worker()];
    let browser = Browser::start();
    let started = browser.run(json!({"kind": "start", "url": url, "token": admin}));
    assert_eq!(started["causes"], json!(["not_authentic"]));

    world.app_sql(
        "UPDATE messages SET encrypted_content = good.encrypted_content FROM check_good good WHERE good.id = messages.id",
    );
    world.app_sql("DROP TABLE check_good");
    let again = json!({"kind": "retry", "url": url, "token": admin, "cause": "not_authentic", "key": old});
    browser.run(again);
    assert_eq!(world.ledger_count("SELECT to_key_id FROM reseal_rotations"), to);
    world.nothing_is_lost_and_the_old_key_is_gone();
}

/// A server at a port of its own, to be found there again.
struct Kept {
    reseal: Reseal,
    postgres: Postgres,
    bind: String,
}

impl Kept {
    fn new() -> Self {
        Self::with_queue("memory:")
    }

    fn with_queue(queue: &str) -> Self {
        let postgres = Postgres::start();
        let ledger = postgres.create_database("ledger");
        let config = format!(
            "[ledger]\nurl = \"{ledger}\"\nkey_backup = \"{{data}}/keys\"\n[queue]\nurl = \"{queue}\"\n\
             [kek]\nuri = \"file:{{data}}/kek\"\n[rotation]\nclear_after = \"1d\"\n"
        );
        let reseal = Reseal::new(config);
        reseal.run(&["keys", "init"]).ok();
        reseal.run(&["migrate"]).ok();
        reseal.run(&["keys", "create", "first"]).ok();
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
        Self { reseal, postgres, bind: free.to_string() }
    }
}

#[test]
fn eight_tabs_share_a_stream_and_live_through_a_killed_server_and_a_ledger_that_was_away() {
    let kept = Kept::new();
    let token = kept.reseal.json(&["token", "create", "--role", "admin", "--name", "ada"]);
    let serve = || {
        let server = kept.reseal.spawn(&["serve", "--bind", &kept.bind]);
        address(&server);
        server
    };
    let server = RefCell::new(Some(serve()));
    let steps = json!([
        {"say": "make a key", "expect": "second"},
        {"say": "kill the server", "banner": "The server does not answer."},
        {"say": "make a key while it is away", "banner": "The server does not answer."},
        {"say": "start the server", "expect": "third", "gone": true},
        {"say": "stop the ledger", "banner": "The ledger does not answer.", "expect": "third"},
        {"say": "start the ledger", "gone": true},
        {"say": "make a last key", "expect": "fourth"},
    ]);
    let mut job = json!({"kind": "tabs", "tabs": 8, "path": "/keys", "steps": steps});
    (job["url"], job["token"]) = (Value::String(format!("http://{}", kept.bind)), token["token"].clone());
    let made = |keyset: &str| drop(kept.reseal.run(&["keys", "create", keyset]).ok());
    Browser::start().run_with(job, |what| match what {
        "make a key" => made("second"),
        "kill the server" => drop(server.take().expect("a server").kill9()),
        "make a key while it is away" => made("third"),
        "start the server" => drop(server.replace(Some(serve()))),
        "stop the ledger" => kept.postgres.kill_immediate(),
        "start the ledger" => kept.postgres.restart(),
        "make a last key" => made("fourth"),
        what => panic!("nobody knows how to {what}"),
    });
    let server = server.take().expect("a server");
    server.terminate();
    assert_eq!(server.wait(PATIENCE).code, 0, "{}", server.stderr());
}

#[test]
fn the_overview_says_that_the_queue_is_away_and_that_it_is_back() {
    let redis = Redis::start();
    let kept = Kept::with_queue(&redis.url());
    let token = kept.reseal.json(&["token", "create", "--role", "viewer", "--name", "bob"]);
    let server = kept.reseal.spawn(&["serve", "--bind", &kept.bind]);
    let url = format!("http://{}", address(&server).trim_start_matches("http://"));
    let steps = json!([
        {"say": "stop the queue", "expect": "The queue does not answer."},
        {"say": "start the queue", "without": "The queue does not answer."},
    ]);
    let job = json!({"kind": "tabs", "tabs": 1, "path": "/", "steps": steps, "url": url, "token": token["token"]});
    Browser::start().run_with(job, |what| match what {
        "stop the queue" => redis.kill(),
        "start the queue" => redis.start_again_empty(),
        what => panic!("nobody knows how to {what}"),
    });
}
