//! What a dry run says beside what then happens: `cargo bench -p reseal-tests --bench forecast`, after
//! `cargo build --release --workspace --all-features`. Prints said ÷ was, so the machine's own speed drops out.

#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

use reseal_tests::{Redis, Reseal, python, shared_postgres};
use serde_json::Value;
use std::process::Command;

const ROWS: i64 = 150_000;

/// Fills `t` with cells of so many bytes of plaintext; one statement, so that seeding is not what is measured.
const SEED: &str = r#"
import sys, psycopg
from tink import aead
import tables
url, keyset, rows, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
primitive = tables.read_keyset(keyset).primitive(aead.Aead)
with psycopg.connect(url) as db:
    db.execute("create table t (id bigint primary key, c bytea)")
    with db.cursor().copy("copy t from stdin (format binary)") as copy:
        copy.set_types(["int8", "bytea"])
        for i in range(rows):
            copy.write_row((i, primitive.encrypt(bytes(size), f"t.c:{i}".encode())))
with psycopg.connect(url, autocommit=True) as db:
    db.execute("vacuum analyze t")
    db.execute("checkpoint")
"#;

fn main() {
    println!("{:>6} {:>6} | {:>22} | {:>22} | {:>22}", "bytes", "chunk", "seconds", "MiB more on disk", "MiB of log");
    for bytes in [64, 2_048] {
        for chunk in [100, 1_000] {
            measure(bytes, chunk);
        }
    }
}

fn measure(bytes: i64, chunk: i64) {
    let rows = if bytes > 1_000 { ROWS / 5 } else { ROWS };
    let (postgres, redis) = (shared_postgres(), Redis::start());
    let (app, ledger) = (format!("app_{bytes}_{chunk}"), format!("ledger_{bytes}_{chunk}"));
    let (app_url, ledger_url) = (postgres.create_database(&app), postgres.create_database(&ledger));
    let reseal = Reseal::new(format!(
        "[ledger]\nurl = \"{ledger_url}\"\nkey_backup = \"{{data}}/keys\"\n[queue]\nurl = \"{}\"\n[kek]\nuri = \"file:{{data}}/kek\"\n\
         [[source]]\nname = \"app\"\nurl = \"{app_url}\"\n\
         [[table]]\nsource = \"app\"\nname = \"t\"\nprimary_key = [\"id\"]\n\
         columns = [{{ name = \"c\", associated_data = \"t.c:{{id}}\" }}]\n\
         [rotation]\nwriter_ttl = \"0s\"\nclear_after = \"0s\"\nbatch_rows = 5000\nchunk_rows = {chunk}\n",
        redis.url()
    ));
    reseal.run(&["keys", "init"]).ok();
    reseal.run(&["migrate"]).ok();
    let keyset = reseal.dir().join("keyset.json").display().to_string();
    run_python(&["keyset.py", "new", &keyset]);
    let seed = reseal.dir().join("seed.py");
    std::fs::write(&seed, SEED).expect("a script");
    run_python(&[seed.to_str().expect("UTF-8"), &app_url, &keyset, &rows.to_string(), &bytes.to_string()]);
    reseal.run(&["keys", "import", "default", "--format", "tink-json", "--insecure-cleartext", &keyset]).ok();
    let key = reseal.json(&["keys", "create", "default"])["key_id"].to_string();
    let published = reseal.dir().join("published.json").display().to_string();
    reseal.run(&["keys", "export", "default", "--format", "tink-json", "--insecure-cleartext", &published]).ok();
    reseal.run(&["check"]).ok();

    let said = reseal.json(&["rotate", "--to", &key, "--dry-run"]);
    let size = || number(postgres, &app, "select pg_total_relation_size('t')");
    let log = || number(postgres, &app, "select (pg_current_wal_insert_lsn() - '0/0')::bigint");
    let (size_before, log_before) = (size(), log());
    let _worker = reseal.spawn(&["work"]);
    let was = reseal.json(&["rotate", "--to", &key, "--wait"]);

    let table = &said["tables"][0];
    let mib = |n: f64| n / 1024.0 / 1024.0;
    let middle = |v: &Value| (v[0].as_f64().expect("seconds") + v[1].as_f64().expect("seconds")) / 2.0;
    let cell = |said: f64, was: f64| format!("{said:>7.1} / {was:>6.1} = {:>4.2}", said / was);
    println!(
        "{bytes:>6} {chunk:>6} | {} | {} | {}",
        cell(middle(&said["seconds"]), was["seconds"].as_f64().expect("seconds")),
        cell(mib(table["growth_bytes"].as_f64().expect("bytes")), mib(size() - size_before)),
        cell(mib(table["wal_bytes"].as_f64().expect("bytes")), mib(log() - log_before)),
    );
}

fn run_python(args: &[&str]) {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
    let done = Command::new(python()).args(args).current_dir(here).env("PYTHONPATH", here).status().expect("python");
    assert!(done.success(), "{args:?}");
}

fn number(postgres: &reseal_tests::Postgres, database: &str, sql: &str) -> f64 {
    postgres.sql(database, sql).parse().expect("a number")
}
