//! A world without the reference tables: a test brings its own, and its own keysets.

use crate::world::World;
use reseal_tests::{Output, Redis, Reseal, shared_postgres};
use serde_json::Value;
use std::sync::atomic::{AtomicU32, Ordering};

static NAMES: AtomicU32 = AtomicU32::new(0);

impl World {
    /// Empty databases and a KEK. `tables` is the configuration's, `rotation` what differs in that section.
    pub(crate) fn of_tables(tables: &str, rotation: &str) -> Self {
        let postgres = shared_postgres();
        let n = NAMES.fetch_add(1, Ordering::Relaxed);
        let (app, ledger) = (format!("own_app_{n}"), format!("own_ledger_{n}"));
        let (app_url, ledger_url) = (postgres.create_database(&app), postgres.create_database(&ledger));
        let redis = Redis::start();
        let config = format!(
            "[ledger]\nurl = \"{ledger_url}\"\nkey_backup = \"{{data}}/keys\"\n\
             [queue]\nurl = \"{}\"\n[kek]\nuri = \"file:{{data}}/kek\"\n\
             [[source]]\nname = \"app\"\nurl = \"{app_url}\"\nignore_columns = [\"check.shadow.sha256\"]\n{tables}\n\
             [rotation]\nwriter_ttl = \"2s\"\nclear_after = \"0s\"\n{rotation}\n",
            redis.url(),
        );
        let world = Self { postgres, redis, reseal: Reseal::new(config), app, ledger };
        world.run(&["keys", "init"]).ok();
        world.run(&["migrate"]).ok();
        world
    }

    /// Imports a cleartext file of the world's folder as a keyset.
    pub(crate) fn import(&self, keyset: &str, file: &str, format: &str) {
        self.run(&["keys", "import", keyset, &self.path(file), "--format", format, "--insecure-cleartext"]).ok();
    }

    /// Exports a keyset in the clear to a new file and returns its path.
    pub(crate) fn export_of(&self, keyset: &str, file: &str) -> String {
        let path = self.path(file);
        let _ = std::fs::remove_file(&path);
        self.run(&["keys", "export", keyset, &path, "--format", "tink-json", "--insecure-cleartext"]).ok();
        path
    }

    /// Makes a keyset's next key and exports it, as whoever holds the keyset needs; returns its id.
    pub(crate) fn publish(&self, keyset: &str, file: &str) -> String {
        let key_id = self.reseal.json(&["keys", "create", keyset])["key_id"].to_string();
        self.export_of(keyset, file);
        key_id
    }

    /// Rotates a keyset to its next key, published first, and follows it to the end.
    pub(crate) fn rotate_published(&self, keyset: &str) -> Output {
        let key_id = self.publish(keyset, &format!("{keyset}-published.json"));
        self.run(&["rotate", keyset, "--to", &key_id, "--wait", "--json"])
    }

    pub(crate) fn rotation(&self, id: i64) -> Value {
        self.reseal.json(&["status", &id.to_string()])
    }

    /// The active key is the only one of its keyset that is left, here and in the backup.
    pub(crate) fn only_the_active_key_is_left(&self, keyset: &str) -> String {
        let left =
            format!("SELECT key_id, state FROM reseal_keys WHERE keyset = '{keyset}' AND wrapped_dek IS NOT NULL");
        let left = self.ledger_sql(&left);
        let (key_id, state) = left.split_once('|').unwrap_or_else(|| panic!("keys of {keyset}: {left}"));
        assert_eq!(state, "active", "keys of {keyset}: {left}");
        for line in self.ledger_sql(&format!("SELECT key_id, state FROM reseal_keys WHERE keyset = '{keyset}'")).lines()
        {
            let (id, state) = line.split_once('|').expect("two columns");
            assert!(id == key_id || state == "destroyed", "{line}");
            let backup = self.reseal.dir().join(format!("keys/key-{id}.json"));
            assert_eq!(backup.exists(), id == key_id, "{}", backup.display());
        }
        key_id.to_owned()
    }
}
