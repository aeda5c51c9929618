//! PostgreSQL, Redis, the binary, and data that Python's Tink wrote and will compare.

use reseal_tests::{Child, Output, Postgres, Redis, Reseal, run_python, shared_postgres, wait_until};
use serde_json::Value;
use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

static NAMES: AtomicU32 = AtomicU32::new(0);

pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

pub(crate) struct World {
    pub(crate) postgres: &'static Postgres,
    pub(crate) redis: Redis,
    pub(crate) reseal: Reseal,
    pub(crate) app: String,
    pub(crate) ledger: String,
}

/// Rows in user_profiles, messages, sync_queue.
pub(crate) type Rows = [usize; 3];

/// `RESEAL_TEST_SCALE=full` runs at full size, with the default batches and chunks.
pub(crate) fn full_scale() -> bool {
    std::env::var_os("RESEAL_TEST_SCALE").is_some_and(|scale| scale == "full")
}

/// Twenty batches of three chunks in each table and more of messages, or the full size.
pub(crate) fn rows() -> Rows {
    if full_scale() { [100_000, 500_000, 50_000] } else { [6_000, 12_000, 6_000] }
}

impl World {
    /// Seeded by Python's Tink, its keyset imported, everything checked.
    pub(crate) fn new(rows: Rows, rotation: &str) -> Self {
        let world = Self::empty(&format!("writer_ttl = \"2s\"\n{rotation}"));
        world.python("keyset.py", &["new", &world.path("tink.json")]);
        let [profiles, messages, queue] = rows.map(|n| n.to_string());
        let counts = ["--user-profiles", &profiles, "--messages", &messages, "--sync-queue", &queue];
        world.python("seed.py", &[&[world.app_url().as_str(), &world.path("tink.json")], &counts[..]].concat());
        world
            .run(&[
                "keys",
                "import",
                "default",
                "--format",
                "tink-json",
                "--insecure-cleartext",
                &world.path("tink.json"),
            ])
            .ok();
        world.run(&["check"]).ok();
        world
    }

    /// Empty, with keysets of Reseal's own making: `default`, and `drafts` that no rotation touches.
    pub(crate) fn of_storage(rotation: &str) -> Self {
        let world = Self::empty(rotation);
        world.run(&["keys", "create", "default"]).ok();
        world.run(&["keys", "create", "drafts"]).ok();
        world.run(&["check"]).ok();
        world
    }

    fn empty(rotation: &str) -> Self {
        let postgres = shared_postgres();
        let n = NAMES.fetch_add(1, Ordering::Relaxed);
        let (app, ledger) = (format!("app_{n}"), format!("ledger_{n}"));
        let (app_url, ledger_url) = (postgres.create_database(&app), postgres.create_database(&ledger));
        let redis = Redis::start();
        let table = |name: &str, column: &str| {
            format!(
                "[[table]]\nsource = \"app\"\nname = \"{name}\"\nprimary_key = [\"id\"]\n\
                 columns = [{{ name = \"{column}\", associated_data = \"{name}.{column}:{{id}}\" }}]\n"
            )
        };
        let clear_after = if rotation.contains("clear_after") { "" } else { "clear_after = \"0s\"\n" };
        let sizes = if full_scale() { "" } else { "batch_rows = 60\nchunk_rows = 20\n" };
        let config = format!(
            "[ledger]\nurl = \"{ledger_url}\"\nkey_backup = \"{{data}}/keys\"\n\
             [queue]\nurl = \"{}\"\n[kek]\nuri = \"file:{{data}}/kek\"\n\
             [[source]]\nname = \"app\"\nurl = \"{app_url}\"\n\
             ignore_columns = [\"check.shadow.sha256\", \"check.shadow.id\", \"check.shadow.tbl\"]\n{}{}{}\
             [rotation]\n{sizes}{clear_after}{rotation}\n",
            redis.url(),
            table("user_profiles", "encrypted_data"),
            table("messages", "encrypted_content"),
            table("sync_queue", "encrypted_data"),
        );
        let world = Self { postgres, redis, reseal: Reseal::new(config), app, ledger };
        world.run(&["keys", "init"]).ok();
        world.run(&["migrate"]).ok();
        world.run(&["migrate", "--reference-tables", "app"]).ok();
        world
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.reseal.dir().join(name).display().to_string()
    }

    pub(crate) fn app_url(&self) -> String {
        self.postgres.url(&self.app)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.reseal.run(args)
    }

    /// The JSON that a script prints; it must end well.
    pub(crate) fn python(&self, script: &str, args: &[&str]) -> Value {
        let output = run_python(script, args);
        assert_eq!(output.code, 0, "{script}: {}\n{}", output.stdout, output.stderr);
        serde_json::from_str(output.stdout.trim()).unwrap_or(Value::Null)
    }

    pub(crate) fn worker(&self) -> Child {
        self.reseal.spawn(&["work"])
    }

    pub(crate) fn app_sql(&self, sql: &str) -> String {
        self.postgres.sql(&self.app, sql).trim().to_owned()
    }

    pub(crate) fn ledger_sql(&self, sql: &str) -> String {
        self.postgres.sql(&self.ledger, sql).trim().to_owned()
    }

    pub(crate) fn ledger_count(&self, sql: &str) -> i64 {
        self.ledger_sql(sql).parse().unwrap()
    }

    pub(crate) fn until(&self, what: &str, sql: &str, enough: impl Fn(i64) -> bool) -> i64 {
        wait_until(PATIENCE, what, || Some(self.ledger_count(sql)).filter(|n| enough(*n)))
    }

    pub(crate) fn until_completed(&self) -> Value {
        let completed = || Some(self.status()).filter(|s| s["state"] == "completed");
        wait_until(PATIENCE, "the rotation completes", completed)
    }

    pub(crate) fn status(&self) -> Value {
        self.reseal.json(&["status", "1"])
    }

    /// Publishes the next key and rotates to it, as holders of an imported keyset must.
    pub(crate) fn rotate(&self, more: &[&str]) -> Output {
        let key = self.reseal.json(&["keys", "create", "default"])["key_id"].to_string();
        self.export("published.json");
        self.run(&[&["rotate", "--to", &key], more].concat())
    }

    /// The keyset as the ledger has it now, for Python.
    pub(crate) fn export(&self, name: &str) -> PathBuf {
        let path = self.reseal.dir().join(name);
        let _ = std::fs::remove_file(&path);
        self.run(&[
            "keys",
            "export",
            "default",
            "--format",
            "tink-json",
            "--insecure-cleartext",
            &path.display().to_string(),
        ])
        .ok();
        path
    }

    /// Everything that must hold once a rotation has completed, whatever happened during it.
    pub(crate) fn nothing_is_lost_and_the_old_key_is_gone(&self) -> Value {
        let compared = self.compare();
        let status = self.status();
        let (new, old) = (&status["new_key"]["key_id"], &status["old_keys"][0]["key_id"]);
        let ids: Vec<_> = compared["key_ids"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(ids, [new.to_string()], "rows under another key");
        assert_eq!(status["old_key_state"], "destroyed");
        let kept = self.ledger_count(&format!("SELECT count(wrapped_dek) FROM reseal_keys WHERE key_id = {old}"));
        assert_eq!(kept, 0, "the wrapped bytes are still there");
        let backups: Vec<_> = std::fs::read_dir(self.reseal.dir().join("keys"))
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(
            backups.contains(&format!("key-{new}.json")) && !backups.contains(&format!("key-{old}.json")),
            "{backups:?}"
        );
        let verified = self.run(&["audit", "verify"]);
        assert_eq!(verified.code, 0, "{}", verified.stderr);
        compared
    }

    /// Python decrypts every row and compares it with what it wrote.
    pub(crate) fn compare(&self) -> Value {
        let keyset = self.export("now.json");
        self.python("compare.py", &[&self.app_url(), &keyset.display().to_string()])
    }
}
