//! What a stranger has who follows the guide: `reseal up` over a table with encrypted rows, and a token.

use base64::{Engine, engine::general_purpose::STANDARD};
use reseal_entities::app::messages;
use reseal_tests::{Child, Reseal, wait_until};
use sea_orm::{ActiveValue::Set, Database, EntityTrait};
use serde_json::{Value, json};
use std::{ffi::OsStr, time::Duration};

const CONFIG: &str = r#"
[ledger]
url = "sqlite://{data}/ledger.sqlite?mode=rwc"
key_backup = "{data}/keys"

[queue]
url = "memory:"

[kek]
uri = "file:{data}/kek"

[[source]]
name = "app"
url = "sqlite://{data}/app.sqlite?mode=rwc"

[[table]]
source = "app"
name = "messages"
primary_key = ["id"]
columns = [{ name = "encrypted_content", associated_data = "messages.encrypted_content:{id}" }]

[rotation]
clear_after = "1h"
writer_ttl = "0s"
"#;

pub(crate) struct World {
    url: String,
    token: String,
    _up: Child,
    pub(crate) reseal: Reseal,
}

impl World {
    pub(crate) fn new() -> Self {
        let reseal = Reseal::new(CONFIG.to_owned());
        for command in [
            &["keys", "init"][..],
            &["migrate"],
            &["migrate", "--reference-tables", "app"],
            &["keys", "create", "default"],
        ] {
            reseal.run(command).ok();
        }
        let token = reseal.json(&["token", "create", "--role", "admin", "--name", "guide"]);
        let token = token["token"].as_str().expect("a token").to_owned();
        let up = reseal.spawn(&["up", "--bind", "127.0.0.1:0"]);
        let url = wait_until(Duration::from_secs(60), "it serves", || {
            let said = up.stderr() + &up.stdout();
            let url = said.split_once("serving ")?.1.split_whitespace().next()?;
            said.contains("/docs)").then(|| url.to_owned())
        });
        let world = Self { url, token, _up: up, reseal };
        tokio::runtime::Runtime::new().expect("a runtime").block_on(world.seed());
        world
    }

    /// Rows that the encryption service encrypted.
    async fn seed(&self) {
        let db = Database::connect(format!("sqlite://{}/app.sqlite", self.reseal.dir().display())).await.expect("app");
        let base64 = |text: String| STANDARD.encode(text);
        let value = |id| {
            json!({"plaintext": base64(format!("message {id}")),
                "associated_data": base64(format!("messages.encrypted_content:{id}"))})
        };
        let values: Vec<_> = (1..=100).map(value).collect();
        let call = reqwest::Client::new().post(format!("{}/v1/encrypt", self.url)).bearer_auth(&self.token);
        let answer = call.json(&json!({"values": values})).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        for (id, result) in (1..).zip(answer["results"].as_array().expect("results")) {
            let cell = STANDARD.decode(result["ciphertext"].as_str().expect("a cell")).expect("base64");
            let row = messages::ActiveModel { id: Set(id), encrypted_content: Set(Some(cell)), created_at: Set(0) };
            messages::Entity::insert(row).exec_without_returning(&db).await.expect("inserted");
        }
    }

    /// A file in its folder; its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let file = self.reseal.dir().join(name);
        std::fs::write(&file, text).expect("written");
        file.to_str().expect("UTF-8").to_owned()
    }

    /// Runs what the guide shows, with its two variables; what it said, which is all of it when it fails.
    pub(crate) fn run(&self, program: impl AsRef<OsStr>, args: &[&str]) -> String {
        let local = [("NO_PROXY", "127.0.0.1"), ("no_proxy", "127.0.0.1")];
        let env = [&[("URL", &*self.url), ("TOKEN", &*self.token)][..], &local].concat();
        let output = self.reseal.start(program, args, &env).wait(Duration::from_secs(120)).ok();
        output.stdout
    }
}
