//! The encryption service, asked over the wire.

mod described;
mod mistakes;
mod reencrypting;
mod rotating;
mod values;

use crate::{open, site::Site, stale};
use base64::{Engine, engine::general_purpose::STANDARD};
use reseal_entities::ledger::keys::{self, NewKey};
use reseal_entities::state::KeyState;
use reseal_http::{Limits, limited, with_request_id};
use reseal_keyring::{Dek, KeyId};
use reseal_storage::{
    Options, Storage,
    http::{ServiceLimits, service},
};
use serde_json::{Value, json};
use std::{net::Ipv4Addr, time::Duration};
use tokio::{net::TcpListener, task::JoinHandle};

/// The service as somebody mounts it, on a free port of loopback.
pub(crate) struct Served {
    pub(crate) storage: Storage,
    url: String,
    client: reqwest::Client,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn serve(site: &Site) -> Served {
    serve_with(site, stale(), ServiceLimits::default()).await
}

pub(crate) async fn serve_with(site: &Site, options: Options, limits: ServiceLimits) -> Served {
    let storage = open(site, options).await;
    // The API's own limit on bodies is far below the service's.
    let api = Limits { body: 4_096, time: Duration::from_secs(60), concurrency: 64 };
    let router = limited(service(storage.clone(), limits).into(), api);
    let router = router.layer(axum::middleware::from_fn(with_request_id));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Served { storage, url, client: reqwest::Client::new(), task }
}

impl Served {
    pub(crate) async fn raw(&self, path: &str, body: impl Into<String>) -> (u16, String) {
        let request = self.client.post(format!("{}/v1/{path}", self.url)).header("content-type", "application/json");
        let response = request.header("x-request-id", "the-request").body(body.into()).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub(crate) async fn ask(&self, path: &str, body: Value) -> (u16, Value) {
        let (status, text) = self.raw(path, body.to_string()).await;
        (status, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
    }

    /// The answer of a call that is taken.
    pub(crate) async fn taken(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(path, body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// One value encrypted for `place`.
    pub(crate) async fn encrypt(&self, plaintext: &str, place: &str) -> String {
        let answer = self.taken("encrypt", json!({"values": [plain(plaintext.as_bytes(), place)]})).await;
        text(&answer["results"][0]["ciphertext"])
    }

    /// What is left of one ciphertext for `place`: its plaintext, or the code of its error.
    pub(crate) async fn decrypt(&self, ciphertext: &str, place: &str) -> Result<String, String> {
        let answer = self.taken("decrypt", json!({"values": [sealed(ciphertext, place)]})).await;
        let result = &answer["results"][0];
        match result["plaintext"].as_str() {
            Some(plaintext) => Ok(String::from_utf8(STANDARD.decode(plaintext).unwrap()).unwrap()),
            None => Err(text(&result["error"]["code"])),
        }
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

pub(crate) fn plain(plaintext: &[u8], place: &str) -> Value {
    json!({"plaintext": STANDARD.encode(plaintext), "associated_data": STANDARD.encode(place)})
}

pub(crate) fn sealed(ciphertext: &str, place: &str) -> Value {
    json!({"ciphertext": ciphertext, "associated_data": STANDARD.encode(place)})
}

pub(crate) fn key_id(ciphertext: &str) -> u32 {
    u32::from_be_bytes(STANDARD.decode(ciphertext).unwrap()[1..5].try_into().unwrap())
}

/// The same ciphertext with one of its bytes altered.
pub(crate) fn altered(ciphertext: &str, at: usize) -> String {
    let mut bytes = STANDARD.decode(ciphertext).unwrap();
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 1;
    STANDARD.encode(bytes)
}

pub(crate) async fn encryptions(site: &Site, key_id: u32) -> i64 {
    site.ledger_count(&format!("SELECT encryptions FROM reseal_keys WHERE key_id = {key_id}")).await
}

/// A key of somebody else's in a keyset of its own or an existing one.
pub(crate) async fn insert_key(site: &Site, keyset: &str, key_id: u32, prefix: &str, state: KeyState, dek: &Dek) {
    let kek = reseal_keyring::kek::open(site.engine.config.kek.uri.expose()).unwrap();
    let key = NewKey {
        key_id: key_id.into(),
        state,
        algorithm: "AES256_GCM".into(),
        prefix: prefix.into(),
        kek_id: kek.id().into(),
        wrapped_dek: kek.wrap(keyset, KeyId(key_id), dek).unwrap(),
    };
    let db = site.engine.ledger.db();
    keys::create_keyset(db, "tester", keyset).await.unwrap();
    keys::insert(db, "tester", keyset, key).await.unwrap();
}
