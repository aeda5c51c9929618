//! Many values a call beside one value a call: `cargo bench -p reseal-tests --bench encryption_service`.
//! Prints values a second and their ratio in one run, so the machine's own speed drops out; and for how long a call
//! of several MiB holds the one thread of the server's runtime.

#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

#[allow(dead_code, reason = "made for the rotation's own tests")]
#[path = "../tests/rotation/site.rs"]
mod site;

use base64::{Engine, engine::general_purpose::STANDARD};
use reseal_storage::{
    Storage,
    http::{ServiceLimits, service},
};
use serde_json::{Value, json};
use site::{Site, Sqlite};
use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

const VALUES: usize = 100_000;
const BYTES: usize = 100;

#[tokio::main]
async fn main() {
    let site = Site::new(Sqlite).await;
    let config = &site.engine.config;
    let (ledger, kek) = (config.ledger.url.expose().to_owned(), config.kek.uri.expose().to_owned());
    let held = Arc::new(AtomicU64::new(0));
    let (url, started) = tokio::sync::oneshot::channel();
    let longest = held.clone();
    std::thread::spawn(move || serve(&ledger, &kek, url, &longest));
    let url = started.await.expect("the server starts");
    let client = Client { url, client: reqwest::Client::new() };
    client.call("encrypt", &[json!({"plaintext": ""})]).await; // loads the keyset

    println!(
        "{:>12} {:>13} {:>10} | values/s encrypted, decrypted | × one a call",
        "values/call", "calls at once", "values"
    );
    for at_once in [1, 8] {
        let one = client.measure(1, at_once, VALUES / 20).await;
        for per_call in [1, 10, 100, 1_000] {
            let (values, speed) = match per_call {
                1 => (VALUES / 20, one),
                _ => (VALUES, client.measure(per_call, at_once, VALUES).await),
            };
            let ratio = (speed.0 / one.0, speed.1 / one.1);
            println!(
                "{per_call:>12} {at_once:>13} {values:>10} | {:>18.0} {:>10.0} | {:>5.1} {:>5.1}",
                speed.0, speed.1, ratio.0, ratio.1
            );
        }
    }

    let large = vec![json!({"plaintext": STANDARD.encode(vec![7; 6_000])}); 1_000];
    held.store(0, Relaxed);
    let (calls, began) = (20, Instant::now());
    for _ in 0..calls {
        client.call("encrypt", &large).await;
    }
    let each = began.elapsed().as_secs_f64() * 1_000.0 / f64::from(calls);
    let held = held.load(Relaxed) as f64 / 1_000.0;
    println!("calls of 8 MB took {each:.1} ms each; the runtime's one thread was held for {held:.1} ms at most");
}

/// On one thread, where whatever holds it is seen by who wants it every millisecond.
fn serve(ledger: &str, kek: &str, url: tokio::sync::oneshot::Sender<String>, longest: &AtomicU64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let storage = Storage::open(ledger, kek).await.expect("storage");
        let limits = ServiceLimits { body_bytes: 16 << 20, ..Default::default() };
        let router: axum::Router = service(storage, limits).into();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let at = listener.local_addr().expect("an address");
        url.send(format!("http://{at}")).expect("somebody waits");
        let watch = async {
            loop {
                let asleep = Instant::now();
                tokio::time::sleep(Duration::from_millis(1)).await;
                let late = asleep.elapsed().saturating_sub(Duration::from_millis(1));
                longest.fetch_max(u64::try_from(late.as_micros()).unwrap_or_default(), Relaxed);
            }
        };
        tokio::select! {
            served = async { axum::serve(listener, router).await } => served.expect("it serves"),
            () = watch => {}
        }
    });
}

#[derive(Clone)]
struct Client {
    url: String,
    client: reqwest::Client,
}

impl Client {
    async fn call(&self, path: &str, values: &[Value]) -> Value {
        let request = self.client.post(format!("{}/v1/{path}", self.url)).json(&json!({ "values": values }));
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!(answer["results"].as_array().map(Vec::len), Some(values.len()), "{answer}");
        answer
    }

    /// Values a second that are encrypted, and decrypted.
    async fn measure(&self, per_call: usize, at_once: usize, values: usize) -> (f64, f64) {
        let plaintexts = vec![
            json!({"plaintext": STANDARD.encode([7; BYTES]), "associated_data": STANDARD.encode("t.c:42")});
            per_call
        ];
        let answer = self.call("encrypt", &plaintexts).await;
        let results = answer["results"].as_array().expect("results");
        let bound = |r: &Value| json!({"ciphertext": r["ciphertext"], "associated_data": STANDARD.encode("t.c:42")});
        let ciphertexts: Vec<Value> = results.iter().map(bound).collect();
        let encrypted = self.run("encrypt", plaintexts, at_once, values).await;
        (encrypted, self.run("decrypt", ciphertexts, at_once, values).await)
    }

    async fn run(&self, path: &'static str, call: Vec<Value>, at_once: usize, values: usize) -> f64 {
        let (call, calls) = (Arc::new(call), values / at_once);
        let began = Instant::now();
        let tasks: Vec<_> = (0..at_once)
            .map(|_| {
                let (client, call) = (self.clone(), call.clone());
                tokio::spawn(async move {
                    for _ in 0..calls.div_ceil(call.len()) {
                        client.call(path, &call).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        let done = calls.div_ceil(call.len()) * call.len() * at_once;
        done as f64 / began.elapsed().as_secs_f64()
    }
}
