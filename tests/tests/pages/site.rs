//! A server, the real binary, over a ledger that is filled with what its pages are to show.

use crate::stock::{self, State, Stock};
use reqwest::StatusCode;
use reseal_entities::ledger::Ledger;
use reseal_tests::{Child, Reseal, wait_until};
use serde_json::Value;
use std::time::Duration;
use tokio::runtime::Runtime;

const CONFIG: &str = r#"
[ledger]
url = "sqlite://{data}/ledger.sqlite?mode=rwc"
key_backup = "{data}/keys"

[queue]
url = "memory:"

[kek]
uri = "file:{data}/kek"

[rotation]
clear_after = "7d"
cryptoperiod = "240d"
"#;

const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// One server and its ledger, until it is dropped.
pub(crate) struct Site {
    pub(crate) url: String,
    /// A token that may do everything.
    pub(crate) token: String,
    pub(crate) stock: Stock,
    // before `reseal`, whose folder they use
    runtime: Runtime,
    _serving: Child,
    reseal: Reseal,
}

impl Site {
    /// Fills a ledger and serves it. Its workers go on giving signs of life, and what goes on goes on.
    pub(crate) fn with(state: State) -> Self {
        let reseal = Reseal::new(CONFIG.to_owned());
        reseal.run(&["migrate"]).ok();
        let runtime = Runtime::new().expect("a runtime");
        let url = format!("sqlite://{}/ledger.sqlite", reseal.dir().display());
        let (ledger, stock) = runtime.block_on(async {
            let ledger = Ledger::connect(&url).await.expect("the ledger");
            let stock = stock::fill(&ledger, state).await;
            (ledger, stock)
        });
        if state != State::Empty {
            let (going, workers) = (stock.going, stock.keys.clone());
            runtime.spawn(async move {
                let mut signs = tokio::time::interval(SIGN_OF_LIFE);
                loop {
                    signs.tick().await;
                    stock::live(ledger.db(), state.words(), &workers).await;
                    stock::go_on(ledger.db(), going, 5_000).await;
                }
            });
        }
        let serving = reseal.spawn(&["serve"]);
        let url = wait_until(Duration::from_secs(60), "it serves", || {
            let said = serving.stderr();
            Some(said.split_once("serving ")?.1.split_whitespace().next()?.to_owned())
        });
        let token = token(&reseal, "admin");
        Self { url, token, stock, runtime, _serving: serving, reseal }
    }

    /// A token of another role, by its name; each role once.
    pub(crate) fn token(&self, role: &str) -> String {
        token(&self.reseal, role)
    }

    /// Every page that there is to look at for who has signed in.
    pub(crate) fn pages(&self) -> Vec<String> {
        let stock = &self.stock;
        let mut pages: Vec<String> = ["/", "/rotations", "/rotations/new", "/keys", "/workers", "/audit"]
            .map(str::to_owned)
            .into_iter()
            .collect();
        let rotations = [stock.going, stock.waiting, stock.ended, stock.stopped];
        for id in rotations.into_iter().filter(|id| *id > 0) {
            pages.extend(
                ["", "/batches", "/failures", "/retry", "/quarantine"].map(|part| format!("/rotations/{id}{part}")),
            );
        }
        pages.extend(stock.batches.iter().map(|id| format!("/batches/{id}")));
        pages.extend(stock.keys.iter().map(|(_, id)| format!("/keys/{id}")));
        pages.extend(stock.operations.iter().map(|id| format!("/operations/{id}")));
        pages
    }

    /// What the API says at a path.
    pub(crate) fn says(&self, path: &str) -> (StatusCode, Value) {
        self.says_to(&self.token, path)
    }

    /// The same to who has this token.
    pub(crate) fn says_to(&self, token: &str, path: &str) -> (StatusCode, Value) {
        let asked = reqwest::Client::new().get(format!("{}{path}", self.url)).bearer_auth(token);
        self.runtime.block_on(async {
            let answer = asked.send().await.expect("an answer");
            (answer.status(), answer.json().await.expect("JSON"))
        })
    }
}

fn token(reseal: &Reseal, role: &str) -> String {
    let made = reseal.json(&["token", "create", "--role", role, "--name", role]);
    made["token"].as_str().expect("a token").to_owned()
}
