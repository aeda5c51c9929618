//! Columns that held plaintexts, or ciphertexts that name no key, become native while workers are killed
//! at random and applications go on.

use crate::{
    adopting::{Adoption, ROWS},
    world::World,
};

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
            "--insert",
            "notes.title",
            "drafts.title",
            "--update",
            "drafts.title",
            "notes.title",
            "--insert",
            "vault.sealed",
            "drafts.body",
            "--update",
            "drafts.body",
            "drafts.body",
            "--misplace",
            "vault.bound",
            "notes.body",
            "--misplace",
            "vault.other",
            "drafts.body",
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
            "--insert",
            "parcels.body",
            "parcels.body",
            "--update",
            "parcels.body",
            "parcels.body",
            "--misplace",
            "letters.body",
            "letters.body",
            "--misplace",
            "letters.body",
            "parcels.body",
        ],
        stale: ["letters.body", "--raw", &key, "letters.body:{id}"].map(str::to_owned).to_vec(),
        bare_insert: "INSERT INTO letters VALUES (-1, sha256('') || sha256('x'))",
        put_back: raw_again,
    };
    adoption.adopts_while_everything_happens();
}
