//! Columns that held plaintexts, or ciphertexts that name no key, become native while workers are killed
//! at random and applications go on.

use crate::{
    own_tables::Dice,
    world::{PATIENCE, World, full_scale},
};
use reseal_tests::{Child, Job, Leash, Signal, spawn_python, wait_until};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

const ROWS: i64 = 100_000;

const OPEN: &str = "SELECT count(*) FROM reseal_quarantine WHERE state = 'open'";

const PLAINTEXTS: &str = r#"
[[table]]
source = "app"
name = "notes"
primary_key = ["id"]
columns = [
  { name = "body", keyset = "adopted", format = "plaintext", associated_data = "notes.body:{id}" },
  { name = "title", keyset = "adopted", format = "plaintext", encoding = "base64" },
]
[[table]]
source = "app"
name = "drafts"
primary_key = ["id"]
columns = [
  { name = "body", keyset = "adopted", format = "plaintext" },
  { name = "title", keyset = "adopted", format = "plaintext", encoding = "base64" },
]
[[table]]
source = "app"
name = "vault"
primary_key = ["id"]
columns = [
  { name = "sealed", keyset = "adopted" },
  { name = "bound", keyset = "adopted", associated_data = "vault.bound:{id}" },
  { name = "other", keyset = "other" },
]
"#;

const RAW: &str = r#"
[[table]]
source = "app"
name = "letters"
primary_key = ["id"]
columns = [{ name = "body", keyset = "adopted", format = "raw-aes-gcm", associated_data = "letters.body:{id}" }]
[[table]]
source = "app"
name = "parcels"
primary_key = ["id"]
columns = [{ name = "body", keyset = "adopted", format = "raw-aes-gcm" }]
"#;

const SHADOW: &str = r#"
CREATE SCHEMA "check";
CREATE TABLE "check".shadow (place text, id bigint, sha256 bytea, PRIMARY KEY (place, id));
CREATE TABLE "check".misplaced (place text, id bigint, sha256 bytea, PRIMARY KEY (place, id));
"#;

/// A row's values as SQL; some begin like cells, some look like base64, some are empty.
const BODY: &str = r"CASE WHEN i % 11 = 0 THEN NULL WHEN i % 13 = 0 THEN ''::bytea
  WHEN i % 17 = 0 THEN '\x01'::bytea || int4send(i::int) || convert_to(repeat('x', (i % 90)::int), 'UTF8')
  ELSE convert_to('body ' || i || ' ' || md5(i::text), 'UTF8') END";
const TITLE: &str = "CASE WHEN i % 11 = 1 THEN NULL WHEN i % 13 = 1 THEN ''
  WHEN i % 17 = 1 THEN repeat('AQAAAAAA', (i % 20)::int) ELSE 'Größe ' || i END";

fn plaintext_tables(rows: i64) -> String {
    let mut sql = SHADOW.to_owned();
    for (table, rows) in [("notes", rows), ("drafts", rows / 100)] {
        sql += &format!(
            "CREATE TABLE {table} (id bigint PRIMARY KEY, body bytea, title text);
             INSERT INTO {table} SELECT i, {BODY}, {TITLE} FROM generate_series(1::bigint, {rows}) i;
             INSERT INTO \"check\".shadow SELECT '{table}.body', id, sha256(body) FROM {table} WHERE body IS NOT NULL;
             INSERT INTO \"check\".shadow SELECT '{table}.title', id, sha256(convert_to(title, 'UTF8')) FROM {table}
              WHERE title IS NOT NULL;"
        );
    }
    sql + "CREATE TABLE vault (id bigint PRIMARY KEY, sealed bytea, bound bytea, other bytea)"
}

/// What differs between the two kinds of columns.
struct Adoption {
    world: World,
    /// As `adopted.py compare` takes them.
    columns: &'static [&'static str],
    /// As `copier.py` takes them.
    copies: &'static [&'static str],
    /// `stale.py`'s words after the address.
    stale: Vec<String>,
    /// An insert of a value that no Tink key encrypted.
    bare_insert: &'static str,
    /// Puts a quarantined row of `place` back as it was, as SQL.
    put_back: fn(&str, &str) -> Option<String>,
}

impl Adoption {
    fn spawn(&self, leash: &Leash, script: &str, words: &[String], says: &str) -> Job {
        let words = [&[self.world.app_url()], words].concat();
        let job = spawn_python(leash, script, &words.iter().map(String::as_str).collect::<Vec<_>>());
        wait_until(PATIENCE, says, || {
            assert!(job.exited().is_none() || job.stderr().contains(says), "{script}: {}", job.stderr());
            job.stderr().contains(says).then_some(())
        });
        job
    }

    fn stale(&self, leash: &Leash, first: u64, more: &[&str]) -> Job {
        let first = ["--first".to_owned(), first.to_string()];
        let more: Vec<String> = more.iter().map(|word| (*word).to_owned()).collect();
        self.spawn(leash, "stale.py", &[&first[..], &more, &self.stale].concat(), "inserting")
    }

    fn compare(&self, file: &str) -> Value {
        let keyset = self.world.export_of("adopted", file);
        let address = self.world.app_url();
        self.world.python("adopted.py", &[&["compare", &address, &keyset], self.columns].concat())
    }

    /// Everything in the columns and what is known of it, in one number.
    fn digest(&self) -> String {
        let of = |column: &&str| {
            let (table, column) = column.split('|').next().unwrap().split_once('.').unwrap();
            let sql = format!("SELECT md5(string_agg(id || md5({column}::text), ',' ORDER BY id)) FROM {table}");
            self.world.app_sql(&sql)
        };
        self.columns.iter().map(of).collect::<Vec<_>>().join(" ")
    }

    /// Looks at what waits for a person: these rows and no others were misplaced, nobody touched them.
    /// Puts some back, gives some up, and has the rest of the rotation go on.
    fn resolve(&self, rotation: i64, handled: &mut BTreeSet<String>) {
        let world = &self.world;
        let listed = world.reseal.json(&["quarantine", "list"])["quarantine"].clone();
        for row in listed.as_array().unwrap() {
            let told = |field: &str| row[field].as_str().unwrap_or_else(|| panic!("no {field} in {row}")).to_owned();
            let (table, id, column) = (told("table"), told("row_key"), told("column_name"));
            let table = table.rsplit('.').next().unwrap();
            let place = format!("{table}.{column}");
            // A row whose batch is still at work stays listed until that is done.
            let i = handled.len();
            if !handled.insert(format!("{place}|{id}")) {
                continue;
            }
            let as_it_was = format!(
                "SELECT count(*) FROM \"check\".misplaced m JOIN {table} t ON t.id = m.id \
                 WHERE m.place = '{place}' AND m.id = {id} AND m.sha256 = sha256(t.{column})"
            );
            assert_eq!(world.app_sql(&as_it_was), "1", "not misplaced, or touched since: {row}");
            assert!(["not_authentic", "unknown_key"].contains(&told("code").as_str()), "{row}");
            let sql = if i == 0 { Some(format!("DELETE FROM {table} WHERE id = {id}; \
                DELETE FROM \"check\".shadow WHERE place LIKE '{table}.%' AND id = {id}")) } else { (self.put_back)(&place, &id) };
            let put_back = sql.filter(|_| i != 1).and_then(|sql| {
                // The fence may stand already, and refuse what names no key.
                let guarded = format!("DO $$ BEGIN {sql}; EXCEPTION WHEN SQLSTATE 'RS001' THEN NULL; END $$");
                world.app_sql(&guarded);
                (world.app_sql(&as_it_was) == "0").then_some(())
            });
            if put_back.is_none() {
                let row = row["id"].to_string();
                world.run(&["quarantine", "resolve", &row, "--abandon", "--note", "copied by mistake"]).ok();
            }
        }
        world.run(&["retry", &rotation.to_string(), "--all"]).ok();
    }

    fn all_that_was_misplaced_was_quarantined_by_name(&self) {
        let all = self.world.reseal.json(&["quarantine", "list", "--all"])["quarantine"].clone();
        let named = all.as_array().unwrap().iter().map(|row| {
            let table = row["table"].as_str().unwrap().rsplit('.').next().unwrap();
            format!("{table}.{}|{}", row["column_name"].as_str().unwrap(), row["row_key"].as_str().unwrap())
        });
        let misplaced = self.world.app_sql("SELECT place, id FROM \"check\".misplaced");
        let misplaced: BTreeSet<String> = misplaced.lines().map(str::to_owned).collect();
        assert!(misplaced.len() >= 5, "{misplaced:?}");
        assert_eq!(named.collect::<BTreeSet<_>>(), misplaced);
    }

    fn adopts_while_everything_happens(&self) {
        let (world, leash) = (&self.world, Leash::new());
        let mut dice = Dice::new();
        world.run(&["check"]).ok();
        let new = world.publish("adopted", "published.json");
        let copier = [&["--not-under".to_owned(), new.clone(), "--seed".to_owned(), dice.below(1 << 30).to_string()][..],
            &self.copies.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()].concat();
        let copier = self.spawn(&leash, "copier.py", &copier, "copying");
        let stale = self.stale(&leash, 20_000_000, &[]);
        let mut workers = [world.worker(), world.worker()];
        world.run(&["rotate", "adopted", "--to", &new]).ok();
        world.until("the key is promoted", "SELECT count(promoted_at) FROM reseal_rotations", |n| n == 1);

        let kills = if full_scale() { 12 } else { 5 };
        let mut handled = BTreeSet::new();
        for _ in 0..kills {
            kill_one(world, &mut workers, &mut dice);
            if world.rotation(1)["state"] != "reencrypting" {
                break;
            }
        }
        let mut killed_while_proving = 0;
        wait_until(PATIENCE, "the rotation completes", || {
            let (state, open) = (world.ledger_sql("SELECT state FROM reseal_rotations"), world.ledger_count(OPEN));
            if open > 0 && world.rotation(1)["needs_attention"] == true {
                self.resolve(1, &mut handled);
            }
            if state == "proving" && killed_while_proving < 2 {
                killed_while_proving += 1;
                kill_one(world, &mut workers, &mut dice);
            }
            let why = world.ledger_sql("SELECT step_code, step_detail FROM reseal_rotations WHERE step_code <> 'rows_quarantined'");
            assert!(!why.starts_with("proof_blocked") && !why.starts_with("write_refused"), "{why}");
            (state == "completed").then_some(())
        });
        copier.signal(Signal::TERM);
        let (copied, stale) = (ended(&copier), ended(&stale));
        assert!(handled.len() >= 5 && killed_while_proving > 0, "{handled:?}, {killed_while_proving} kills");
        assert!(copied["insert"].as_i64() > Some(50) && copied["update"].as_i64() > Some(50), "{copied}");
        assert!(stale["inserted"].as_i64() > Some(50), "{stale}");
        assert_eq!(stale["refused"], 1);

        self.all_that_was_misplaced_was_quarantined_by_name();
        let compared = self.compare("adopted.json");
        assert!(compared["cells"].as_i64().unwrap() >= ROWS, "{compared}");
        assert_eq!(only_key(&compared), new, "{compared}");
        assert_eq!(world.only_the_active_key_is_left("adopted"), new);
        self.refuses_what_names_no_key();
        println!("copied {copied}, stale {stale}, compared {compared}, quarantined {}", handled.len());

        self.done_again_changes_nothing(&new);
        self.rotates_again_and_lets_nothing_in(&leash);
    }

    fn refuses_what_names_no_key(&self) {
        let insert = self.bare_insert;
        let guarded =
            format!("DO $$ BEGIN {insert}; RAISE 'it was let in'; EXCEPTION WHEN SQLSTATE 'RS001' THEN NULL; END $$");
        self.world.app_sql(&guarded);
    }

    fn done_again_changes_nothing(&self, key: &str) {
        let (world, before) = (&self.world, self.digest());
        world.run(&["check"]).ok();
        world.run(&["migrate"]).ok();
        world.run(&["retry", "1", "--all"]);
        assert_eq!(world.run(&["rotate", "adopted", "--to", key]).code, 1, "it is active already");
        assert!(world.run(&["keys", "recover"]).ok().stdout.contains("has every key"));
        let another = world.worker();
        world.until("another worker is there", "SELECT count(*) FROM reseal_workers WHERE state <> 'stopped'", |n| n > 0);
        another.terminate();
        another.wait(Duration::from_secs(20));
        assert_eq!(world.rotation(1)["state"], "completed");
        assert_eq!(self.digest(), before);
        assert_eq!(world.run(&["audit", "verify"]).code, 0);
    }

    /// The configuration still says what the columns were.
    fn rotates_again_and_lets_nothing_in(&self, leash: &Leash) {
        let (world, before) = (&self.world, self.compare("before.json"));
        let stale = self.stale(leash, 30_000_000, &["--on"]);
        let rotated = world.rotate_published("adopted");
        assert_eq!(rotated.code, 0, "{}{}", rotated.stdout, rotated.stderr);
        stale.signal(Signal::TERM);
        let stale = ended(&stale);
        assert_eq!(stale["inserted"], 0, "{stale}");
        assert!(stale["refused"].as_i64() > Some(100), "{stale}");
        let after = self.compare("after.json");
        assert_eq!(after["cells"], before["cells"]);
        assert_ne!(only_key(&after), only_key(&before));
        assert_eq!(world.only_the_active_key_is_left("adopted"), only_key(&after));
        self.refuses_what_names_no_key();
    }
}

fn only_key(compared: &Value) -> String {
    let ids: Vec<_> = compared["key_ids"].as_object().unwrap().keys().collect();
    let [id] = ids[..] else { panic!("{compared}") };
    id.clone()
}

fn ended(job: &Job) -> Value {
    let output = job.wait(Duration::from_secs(60)).ok();
    serde_json::from_str(output.stdout.trim()).unwrap()
}

/// Kills a worker at a moment that the dice choose, and starts another one in its place.
fn kill_one(world: &World, workers: &mut [Child; 2], dice: &mut Dice) {
    let (moment, victim) = (Duration::from_millis(dice.below(1_200)), dice.below(2) as usize);
    let at = Instant::now() + moment;
    wait_until(PATIENCE, "the moment has come", || (Instant::now() >= at).then_some(()));
    let pid = workers[victim].pid();
    workers[victim].kill9();
    if !full_scale() {
        // Nobody waits for the lease of one that is known to be dead, and for the bell after it.
        world.ledger_sql(&format!(
            "UPDATE reseal_batches SET lease_until = 0, next_ring_at = 0 WHERE state = 'leased' AND worker LIKE '%.{pid}.%'; \
             UPDATE reseal_rotations SET step_lease_until = 0, next_ring_at = 0 WHERE step_worker LIKE '%.{pid}.%'"
        ));
    }
    workers[victim] = world.worker();
}

fn body_again(place: &str, id: &str) -> Option<String> {
    let (table, column) = place.split_once('.')?;
    (place == "notes.body").then(|| {
        format!(
            "UPDATE {table} SET {column} = v FROM (SELECT {BODY} v FROM (SELECT {id}::bigint i) n) x WHERE id = {id};
             INSERT INTO \"check\".shadow SELECT '{place}', id, sha256({column}) FROM {table} WHERE id = {id}"
        )
    })
}

#[test]
fn plaintexts_are_encrypted_once_while_workers_die_and_rows_are_copied_and_none_is_let_in_afterwards() {
    let world = World::of_tables(PLAINTEXTS, "");
    world.app_sql(&plaintext_tables(ROWS));
    for name in ["adopted", "other"] {
        let file = format!("{name}.json");
        world.python("keyset.py", &["new", &world.path(&file)]);
        world.import(name, &file, "tink-json");
    }
    let keysets = [world.path("adopted.json"), world.path("other.json")];
    world.python("adopted.py", &["vault", &world.app_url(), &keysets[0], &keysets[1], "3000"]);
    let adoption = Adoption {
        world,
        columns: &[
            "notes.body|bytes|notes.body:{id}",
            "notes.title|base64|",
            "drafts.body|bytes|",
            "drafts.title|base64|",
            "vault.sealed|bytes|",
            "vault.bound|bytes|vault.bound:{id}",
        ],
        copies: &[
            "--insert", "notes.title", "drafts.title",
            "--update", "drafts.title", "notes.title",
            "--insert", "vault.sealed", "drafts.body",
            "--update", "drafts.body", "drafts.body",
            "--misplace", "vault.bound", "notes.body",
            "--misplace", "vault.other", "drafts.body",
        ],
        stale: ["notes.body", "notes.title:text", "drafts.body"].map(str::to_owned).to_vec(),
        bare_insert: "INSERT INTO notes VALUES (-1, 'a plaintext', NULL)",
        put_back: body_again,
    };
    adoption.adopts_while_everything_happens();
}

fn raw_again(place: &str, id: &str) -> Option<String> {
    let (table, column) = place.split_once('.')?;
    Some(format!(
        "UPDATE {table} t SET {column} = w.{column} FROM \"check\".{table}_was w WHERE w.id = t.id AND t.id = {id};
         INSERT INTO \"check\".shadow SELECT '{place}', id, sha256 FROM \"check\".{table}_was WHERE id = {id}"
    ))
}

#[test]
fn raw_ciphertexts_become_native_while_workers_die_and_rows_are_copied_and_none_is_let_in_afterwards() {
    let world = World::of_tables(RAW, "");
    world.app_sql(SHADOW);
    let key = world.path("key.hex");
    std::fs::write(&key, "5f".repeat(32)).unwrap();
    for (table, associated_data, rows) in [("letters", "letters.body:{id}", ROWS), ("parcels", "", ROWS / 20)] {
        world.app_sql(&format!("CREATE TABLE {table} (id bigint PRIMARY KEY, body bytea)"));
        let place = format!("{table}.body");
        world.python("adopted.py", &["raw", &world.app_url(), &key, &place, associated_data, &rows.to_string()]);
        world.app_sql(&format!(
            "CREATE TABLE \"check\".{table}_was AS SELECT id, body, sha256 FROM {table} \
             JOIN \"check\".shadow USING (id) WHERE place = '{place}'"
        ));
    }
    world.import("adopted", "key.hex", "raw-aes-gcm");
    let adoption = Adoption {
        world,
        columns: &["letters.body|bytes|letters.body:{id}", "parcels.body|bytes|"],
        copies: &[
            "--insert", "parcels.body", "parcels.body",
            "--update", "parcels.body", "parcels.body",
            "--misplace", "letters.body", "letters.body",
            "--misplace", "letters.body", "parcels.body",
        ],
        stale: ["letters.body", "--raw", &key, "letters.body:{id}"].map(str::to_owned).to_vec(),
        bare_insert: "INSERT INTO letters VALUES (-1, sha256('') || sha256('x'))",
        put_back: raw_again,
    };
    adoption.adopts_while_everything_happens();
}
