//! A server with a token of every role.

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use reseal_entities::{
    ledger::{Ledger, keys, tokens},
    tokens::Role,
};
use reseal_producer::{
    Client,
    http::{self, App, Listen, Listening, Rules, Settings},
};
use reseal_storage::{
    Options, Storage,
    http::{ServiceLimits, service},
    kek,
};
use reseal_tests::Leash;
use sea_orm::Iterable;
use serde_json::Value;
use std::{collections::HashMap, time::Duration};
use tokio::{sync::oneshot, task::JoinHandle};

/// What the API is told of rotations.
pub(crate) const RULES: Rules = Rules {
    clear_after: Some(Duration::from_secs(86_400)),
    writer_ttl: Duration::ZERO,
    batch_rows: 100,
    two_person: false,
};

/// A server on a free port, until it is dropped.
pub(crate) struct Site {
    pub(crate) ledger: Ledger,
    pub(crate) url: String,
    tokens: HashMap<Role, String>,
    http: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
    _files: Leash,
}

impl Site {
    pub(crate) async fn over(ledger: &Ledger) -> Self {
        let settings =
            Settings { rules: RULES, on_loopback: true, tls: false, requests_per_second: 10_000, cryptoperiod: None };
        Self::with(ledger, settings, "127.0.0.1:0").await
    }

    pub(crate) async fn with(ledger: &Ledger, settings: Settings, bind: &str) -> Self {
        let mut tokens = HashMap::new();
        for role in Role::iter() {
            if let Some(token) = token(ledger, &format!("{role}"), role, None).await {
                tokens.insert(role, token);
            }
        }
        let app = App::open(ledger.clone(), None, None, settings);
        let listen = Listen { bind: bind.parse().expect("an address"), tls: None };
        let listening = Listening::at(listen).await.expect("a free port");
        let url = listening.url().expect("its address");
        let (stop, stopped) = oneshot::channel();
        let files = Leash::new();
        let kek = format!("file:{}", files.dir().join("kek").display());
        let kek = kek::create(&kek).expect("a KEK");
        let storage = Storage::with_kek(ledger.clone(), kek, Options::default()).expect("keysets");
        let more = service(storage, ServiceLimits::default());
        let router = http::router(app.clone(), more);
        let serving = tokio::spawn(async move {
            http::serve(&app, router, listening, async { drop(stopped.await) }).await.expect("served");
        });
        Self {
            _files: files,
            ledger: ledger.clone(),
            url,
            tokens,
            http: reqwest::Client::new(),
            stop: Some(stop),
            serving,
        }
    }

    /// Stops it, and starts it anew at the same address.
    pub(crate) async fn restart(mut self) -> Self {
        let bind = self.url.trim_start_matches("http://").to_owned();
        drop(self.stop.take());
        self.serving.await.expect("it ends");
        let settings =
            Settings { rules: RULES, on_loopback: true, tls: false, requests_per_second: 10_000, cryptoperiod: None };
        let mut again = Self::with(&self.ledger, settings, &bind).await;
        again.tokens = self.tokens;
        again
    }

    pub(crate) fn token(&self, role: Role) -> &str {
        &self.tokens[&role]
    }

    pub(crate) fn client(&self, role: Role) -> Client {
        Client::new(&self.url, self.token(role)).expect("a client")
    }

    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) fn ask(&self, role: Role, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(self.token(role))
    }

    /// A rotation is asked for.
    pub(crate) async fn rotate(&self, keyset: &str) -> i64 {
        let response =
            self.ask(Role::Operator, Method::POST, "/v1/rotations").json(&serde_json::json!({"keyset": keyset}));
        let (status, body) = told(response.send().await.expect("an answer")).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["id"].as_i64().expect("its id")
    }
}

/// A token by name; none when it is there already.
pub(crate) async fn token(ledger: &Ledger, name: &str, role: Role, expires_in_ms: Option<i64>) -> Option<String> {
    let txn = ledger.begin().await.expect("a transaction");
    let new = tokens::New { name: Some(name.to_owned()), role, expires_in_ms, requests_per_second: None };
    let made = tokens::create(&txn, "ada", &new).await.ok().map(|(_, token)| token);
    txn.commit().await.expect("committed");
    made
}

pub(crate) async fn keyset(ledger: &Ledger, name: &str) {
    let txn = ledger.begin().await.expect("a transaction");
    keys::create_keyset(&txn, "ada", name).await.expect("a keyset");
    txn.commit().await.expect("committed");
}

/// Status and JSON of an answer.
pub(crate) async fn told(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
