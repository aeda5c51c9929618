//! `reseal serve` beside workers: it holds no key, and being killed costs nothing.

use crate::world::{PATIENCE, World};
use reqwest::Method;
use reseal_producer::{
    Client, Options, Until,
    api::{NewCensus, NewDryRun, NewRotation, OperationState, RotationState},
};
use reseal_tests::{Child, python, run_python, wait_until};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    time::Duration,
};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A server on a free port, with a KEK that is not there.
pub(crate) fn serve(world: &World, more: &[(&str, &str)]) -> (Child, String) {
    let no_kek = format!("file:{}", world.path("no-such-kek"));
    let env = [&[("RESEAL__KEK__URI", no_kek.as_str())], more].concat();
    let server = world.reseal.spawn_with(&["serve", "--bind", "127.0.0.1:0"], &env);
    let url = address(&server);
    (server, url)
}

/// Where it says that it listens.
pub(crate) fn address(server: &Child) -> String {
    wait_until(PATIENCE, "the server listens", || {
        assert!(server.is_running(), "{}", server.stderr());
        let told = server.stderr();
        let line = told.lines().find_map(|line| line.strip_prefix("serving"))?.trim().to_owned();
        line.split_whitespace().next().map(str::to_owned)
    })
}

pub(crate) fn token(world: &World, role: &str, name: &str) -> String {
    let made = world.reseal.json(&["token", "create", "--role", role, "--name", name]);
    made["token"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
}

/// Whether a process has these bytes anywhere in its writable memory.
fn remembers(pid: i32, bytes: &[u8]) -> bool {
    let maps = BufReader::new(File::open(format!("/proc/{pid}/maps")).expect("its maps"));
    let mut memory = File::open(format!("/proc/{pid}/mem")).expect("its memory");
    maps.lines().map(|line| line.expect("a line")).any(|line| {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().expect("a range"), words.next().expect("rights"));
        let (from, to) = range.split_once('-').expect("from and to");
        let [from, to] = [from, to].map(|end| u64::from_str_radix(end, 16).expect("an address"));
        if !rights.starts_with("rw") {
            return false;
        }
        let mut region = vec![0; usize::try_from(to - from).expect("it fits")];
        // What cannot be read is what the process has not used.
        memory.seek(SeekFrom::Start(from)).is_ok()
            && memory.read_exact(&mut region).is_ok()
            && region.windows(bytes.len()).any(|window| window == bytes)
    })
}

/// The key bytes of every key of a Tink keyset in JSON: the last 16 of each.
fn key_bytes(keyset: &std::path::Path) -> Vec<Vec<u8>> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let keyset: Value = serde_json::from_slice(&std::fs::read(keyset).expect("the keyset")).expect("JSON");
    let keys = keyset["key"].as_array().expect("keys").iter();
    keys.map(|key| {
        let value = key["keyData"]["value"].as_str().expect("a value");
        let bytes = BASE64_STANDARD.decode(value).expect("base64");
        bytes[bytes.len() - 16..].to_vec()
    })
    .collect()
}

#[test]
fn a_server_without_a_kek_rotates_through_workers_and_never_holds_a_key() {
    let world = World::new([600, 600, 600], "");
    let admin = token(&world, "admin", "ci");
    let (server, url) = serve(&world, &[]);
    let _workers = [world.worker(), world.worker()];
    let to = world.reseal.json(&["keys", "create", "default"])["key_id"].as_i64().expect("a key");
    world.export("published.json");
    let client = Client::new(&url, admin).expect("a client");
    let new = NewRotation { keyset: "default".to_owned(), to_key_id: u32::try_from(to).ok(), ..NewRotation::default() };
    let old = runtime().block_on(async {
        let dry = NewDryRun { keyset: "default".to_owned(), to_key_id: new.to_key_id };
        let dry = client.dry_run(&dry, "dry").await.expect("asked for");
        let dry = client.wait_for(dry.id).await.expect("followed");
        assert_eq!(dry.state, OperationState::Succeeded, "{dry:?}");
        assert_eq!(dry.result.expect("a result")["keyset"], json!("default"));

        let rotation = client.enqueue(&new, "2026-11").await.expect("it begins");
        let done = client.wait(rotation.id, Until::Ended).await.expect("it ends");
        assert_eq!(done.rotation.state, RotationState::Completed, "{done:?}");
        let old = done.old_keys[0].key_id;
        let in_use = client.clear_key(to, "clear-active").await.expect_err("it encrypts");
        assert_eq!(in_use.code(), Some("key_in_use"));
        let cleared = client.clear_key(old, "clear-old").await.expect("it is destroyed already");
        assert_eq!(client.wait_for(cleared.id).await.expect("followed").state, OperationState::Succeeded);
        let census = client.census(&NewCensus::default(), "census").await.expect("asked for");
        let census = client.wait_for(census.id).await.expect("followed");
        assert_eq!(census.state, OperationState::Succeeded, "{census:?}");
        old
    });
    let keys = key_bytes(world.path("published.json").as_ref());
    let kek = std::fs::read(world.reseal.dir().join("kek")).expect("the KEK");
    for secret in keys.iter().chain([&kek]) {
        assert!(!remembers(server.pid(), secret), "a key is in the server's memory");
    }
    assert!(remembers(server.pid(), world.ledger.as_bytes()), "the search finds what is there");
    let environment = std::fs::read(format!("/proc/{}/environ", server.pid())).expect("its environment");
    assert!(!environment.windows(kek.len()).any(|window| window == kek));
    assert_ne!(old, to);
    server.terminate();
    assert_eq!(server.wait(PATIENCE).code, 0);
    world.nothing_is_lost_and_the_old_key_is_gone();
}

#[test]
fn a_server_killed_at_any_moment_has_one_effect_when_it_is_asked_again() {
    let world = World::new([60, 60, 60], "");
    let admin = token(&world, "admin", "ci");
    let worker = world.worker();
    world.rotate(&["--wait"]).ok();
    let old = world.ledger_count("SELECT key_id FROM reseal_keys WHERE state = 'destroyed'");
    worker.terminate();
    worker.wait(PATIENCE);
    world.run(&["keys", "create", "drafts"]).ok();
    let asked = [
        ("/v1/rotations".to_owned(), json!({"keyset": "drafts"})),
        ("/v1/rotations/ID/retry".to_owned(), json!({})),
        (format!("/v1/keys/{old}/clear"), json!({})),
    ];
    let runtime = runtime();
    for round in 0..8 {
        let mut rotation = 0;
        for (n, (path, body)) in asked.iter().enumerate() {
            let (path, key) = (path.replace("ID", &rotation.to_string()), format!("key-{round}-{n}"));
            let ask = async |url: &str| {
                let request = reqwest::Client::new().request(Method::POST, format!("{url}{path}"));
                let request = request.bearer_auth(&admin).header("idempotency-key", &key).json(body);
                let answer = request.send().await.ok()?;
                let status = answer.status().as_u16();
                Some((status, answer.json::<Value>().await.ok()?))
            };
            let (server, url) = serve(&world, &[]);
            runtime.block_on(async {
                // From before the request is read until after it is answered.
                let killed = async {
                    tokio::time::sleep(Duration::from_millis(round * 4)).await;
                    server.kill9();
                };
                tokio::join!(ask(&url), killed)
            });
            let (server, url) = serve(&world, &[]);
            let (status, answer) = runtime.block_on(ask(&url)).expect("an answer");
            assert!([201, 202].contains(&status), "{path}: {status} {answer}");
            if n == 0 {
                rotation = answer["id"].as_i64().expect("its id");
            }
            server.kill9();
        }
        world.run(&["cancel", &rotation.to_string()]).ok();
    }
    assert_eq!(world.ledger_count("SELECT count(*) FROM reseal_rotations WHERE keyset = 'drafts'"), 8);
    assert_eq!(world.ledger_count("SELECT count(*) FROM reseal_operations WHERE kind = 'retry'"), 8);
    assert_eq!(world.ledger_count("SELECT count(*) FROM reseal_operations WHERE kind = 'clear'"), 8);
    let requested = "SELECT count(*) FROM reseal_audit WHERE action = 'operation.requested'";
    assert_eq!(world.ledger_count(requested), 16, "each is in the audit once");
    world.run(&["audit", "verify"]).ok();
}

#[test]
fn a_server_speaks_tls_and_refuses_to_be_reached_from_elsewhere_without_a_token() {
    let world = World::of_storage("");
    let refused = world.run(&["serve", "--bind", "0.0.0.0:0"]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains("reseal token create"), "{}", refused.stderr);

    let (certificate, key) = (world.path("server.pem"), world.path("server.key"));
    let made = run_python("certificate.py", &[&certificate, &key]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let tls = [("RESEAL__SERVER__TLS_CERTIFICATE", &*certificate), ("RESEAL__SERVER__TLS_KEY", &*key)];
    let viewer = token(&world, "viewer", "screen");
    let (_server, url) = serve(&world, &tls);
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let pem = std::fs::read(&certificate).expect("the certificate");
    let trusting = Client::with(&url, viewer.clone(), Options::default().root_certificate(pem)).expect("a client");
    assert_eq!(runtime().block_on(trusting.keys(None)).expect("keys").len(), 2);
    let plain = url.replace("https:", "http:");
    let plain = runtime().block_on(reqwest::Client::new().get(plain).send());
    assert!(plain.is_err() || !plain.expect("an answer").status().is_success());
    assert!(python().exists());
}

#[test]
fn up_serves_works_and_encrypts_in_one_process() {
    let world = World::of_storage("");
    let (app, operator) = (token(&world, "app", "shop"), token(&world, "operator", "ops"));
    let up = world.reseal.spawn(&["up", "--bind", "127.0.0.1:0"]);
    let url = address(&up);
    let text = "cGxhaW4=";
    let values = json!({"values": [{"plaintext": text, "associated_data": "YWQ="}]});
    runtime().block_on(async {
        let post = async |path: &str, body: &Value| {
            let request = reqwest::Client::new().post(format!("{url}{path}")).bearer_auth(&app).json(body);
            let answer = request.send().await.expect("an answer");
            let status = answer.status();
            let body = answer.json::<Value>().await.expect("JSON");
            assert!(status.is_success(), "{path}: {body}");
            body
        };
        let encrypted = post("/v1/encrypt", &values).await;
        let cell = encrypted["results"][0]["ciphertext"].as_str().expect("a cell").to_owned();
        let cells = json!({"values": [{"ciphertext": cell, "associated_data": "YWQ="}]});
        assert_eq!(post("/v1/decrypt", &cells).await["results"][0]["plaintext"], json!(text));

        let client = Client::new(&url, operator).expect("a client");
        let new = NewRotation { keyset: "default".to_owned(), ..NewRotation::default() };
        let rotation = client.enqueue(&new, "k").await.expect("it begins");
        let done = client.wait(rotation.id, Until::Ended).await.expect("it ends");
        assert_eq!(done.rotation.state, RotationState::Completed);
    });
    up.terminate();
    let ended = up.wait(PATIENCE);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}
