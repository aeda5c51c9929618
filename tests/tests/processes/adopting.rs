//! How a keyset's columns are adopted while workers are killed at random and applications go on.

use crate::world::{PATIENCE, World, full_scale};
use reseal_tests::{Child, Job, Leash, Signal, spawn_python, wait_until};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// In each adopted column.
pub(crate) const ROWS: i64 = 100_000;

const OPEN: &str = "SELECT count(*) FROM reseal_quarantine WHERE state = 'open'";

/// What differs between the two kinds of columns.
pub(crate) struct Adoption {
    pub(crate) world: World,
    /// As `adopted.py compare` takes them.
    pub(crate) columns: &'static [&'static str],
    /// As `copier.py` takes them.
    pub(crate) copies: &'static [&'static str],
    /// `stale.py`'s words after the address.
    pub(crate) stale: Vec<String>,
    /// An insert of a value that no Tink key encrypted.
    pub(crate) bare_insert: &'static str,
    /// Puts a quarantined row of `place` back as it was, as SQL.
    pub(crate) put_back: fn(&str, &str) -> Option<String>,
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
            let sql = if i == 0 {
                Some(format!(
                    "DELETE FROM {table} WHERE id = {id}; \
                DELETE FROM \"check\".shadow WHERE place LIKE '{table}.%' AND id = {id}"
                ))
            } else {
                (self.put_back)(&place, &id)
            };
            let put_back = sql.filter(|_| i != 1).and_then(|sql| {
                // The fence may stand already, and refuse what names no key.
                let guarded =
                    format!("DO $$ BEGIN {sql}; EXCEPTION WHEN SQLSTATE 'RS001' OR SQLSTATE 'RS002' THEN NULL; END $$");
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

    #[expect(clippy::print_stderr, reason = "figures, for who runs it with --nocapture")]
    pub(crate) fn adopts_while_everything_happens(&self) {
        let (world, leash) = (&self.world, Leash::new());
        let mut dice = Dice::new();
        world.run(&["check"]).ok();
        let new = world.publish("adopted", "published.json");
        let copier = [
            &["--not-under".to_owned(), new.clone(), "--seed".to_owned(), dice.below(1 << 30).to_string()][..],
            &self.copies.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(),
        ]
        .concat();
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
            let why = world.ledger_sql(
                "SELECT step_code, step_detail FROM reseal_rotations WHERE step_code <> 'rows_quarantined'",
            );
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
        eprintln!("copied {copied}, stale {stale}, compared {compared}, quarantined {}", handled.len());

        self.done_again_changes_nothing(&new);
        self.rotates_again_and_lets_nothing_in(&leash);
    }

    fn refuses_what_names_no_key(&self) {
        let insert = self.bare_insert;
        let guarded = format!(
            "DO $$ BEGIN {insert}; RAISE 'it was let in'; EXCEPTION WHEN SQLSTATE 'RS001' OR SQLSTATE 'RS002' THEN NULL; END $$"
        );
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
        world.until("another worker is there", "SELECT count(*) FROM reseal_workers WHERE state <> 'stopped'", |n| {
            n > 0
        });
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

/// What chance decides, from a seed that is printed: `RESEAL_TEST_SEED` gives the same again.
struct Dice(u64);

impl Dice {
    #[expect(clippy::print_stderr, reason = "shown when the test fails")]
    fn new() -> Self {
        let given = std::env::var("RESEAL_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970");
        let seed = given.unwrap_or(now.as_nanos() as u64);
        eprintln!("RESEAL_TEST_SEED={seed}");
        Self(seed)
    }

    /// 0 to `n` - 1 (SplitMix64).
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}
