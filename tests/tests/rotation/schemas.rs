//! Tables of every kind: keys, columns, names, places.

mod postgres_only;

use crate::{
    on_every_database,
    site::{Site, column, table},
};
use reseal_config::{Column, Encoding, SecretUrl, Source, Table};
use reseal_engine::check;
use reseal_entities::state::RotationState;
use reseal_keyring::Keyset;
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};
use std::sync::Arc;
use uuid::Uuid;

on_every_database! {
    keys_of_every_shape_are_walked_to_the_last_row,
    text_columns_are_rotated_in_every_encoding,
    a_text_column_in_another_encoding_is_quarantined_and_left_as_it_is,
    columns_of_two_keysets_in_one_table_are_rotated_apart,
    names_with_quotes_capitals_spaces_and_dots_are_only_names,
    one_rotation_covers_several_sources,
    what_fires_at_every_row_is_listed,
    a_template_that_two_rows_can_share_is_warned_of,
}

/// What does not sort, quote or compare like an identifier.
const AWKWARD: [&str; 16] = [
    "",
    " ",
    "a",
    "A",
    "b",
    "ä",
    "Z",
    "zz top ",
    "O'Hara",
    "say \"hi\"",
    "back\\slash",
    "{id}",
    "[1,\"2\"]",
    "new\nline",
    "tab\t",
    "🦀",
];

impl Site {
    fn blob(&self) -> &'static str {
        if self.is_postgres() { "bytea" } else { "blob" }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.app.get_database_backend() == DbBackend::Postgres
    }

    pub(crate) async fn run(&self, sql: &str, values: Vec<Value>) {
        let statement = Statement::from_sql_and_values(self.app.get_database_backend(), sql, values);
        self.app.execute_raw(statement).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    pub(crate) async fn keyset(&self, name: &str) -> Arc<Keyset> {
        self.engine.keyring.forget();
        self.engine.keyring.keyset(name).await.unwrap()
    }

    /// The stored bytes of the one row that `sql` selects.
    pub(crate) async fn stored(&self, sql: &str, values: Vec<Value>) -> Vec<u8> {
        let statement = Statement::from_sql_and_values(self.app.get_database_backend(), sql, values);
        let row = self.app.query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index::<Vec<u8>>(0)
            .or_else(|_| row.try_get_by_index::<String>(0).map(String::into_bytes))
            .unwrap()
    }
}

pub(crate) fn keyed(name: &str, key: &[&str], columns: Vec<Column>) -> Table {
    Table { primary_key: key.iter().map(|k| (*k).to_owned()).collect(), ..table(name, columns) }
}

pub(crate) fn encoded(name: &str, encoding: Encoding, associated_data: &str) -> Column {
    Column { encoding, ..column(name, associated_data) }
}

async fn keys_of_every_shape_are_walked_to_the_last_row(backend: DbBackend) {
    let site = Site::with(backend, false, |config| {
        config.tables = vec![
            keyed("composite", &["tenant", "name"], vec![column("c", "composite/{tenant}/{name}")]),
            keyed("texts", &["name"], vec![column("c", "texts:{name}")]),
            keyed("bytes", &["digest", "part"], vec![column("c", "bytes:{digest}:{part}")]),
        ];
    })
    .await;
    let (blob, caseless) = if site.is_postgres() {
        site.sql("CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)").await;
        (site.blob(), "COLLATE caseless")
    } else {
        (site.blob(), "COLLATE NOCASE")
    };
    site.sql(&format!("CREATE TABLE composite (name text, tenant uuid, c {blob}, PRIMARY KEY (tenant, name))")).await;
    site.sql(&format!("CREATE TABLE texts (name varchar(40) {caseless} PRIMARY KEY, c {blob})")).await;
    site.sql(&format!("CREATE TABLE bytes (digest {blob}, part smallint, c {blob}, PRIMARY KEY (digest, part))")).await;
    let old = site.keyset("default").await;
    let mut truth = Vec::new();
    for i in 0..12_u128 {
        let tenant = Uuid::from_u128(i * 7919 % 12);
        for (n, name) in AWKWARD.iter().enumerate() {
            let place = format!("composite/{tenant}/{name}");
            let insert = "INSERT INTO composite (tenant, name, c) VALUES ($1, $2, $3)";
            site.run(
                insert,
                vec![tenant.into(), (*name).into(), old.encrypt(place.as_bytes(), place.as_bytes()).into()],
            )
            .await;
            let select = "SELECT c FROM composite WHERE tenant = $1 AND name = $2";
            truth.push((place, select, vec![Value::from(tenant), (*name).into()]));

            let (digest, part) = (vec![(i * 31 % 251) as u8; n], n as i16);
            let place = format!("bytes:{}:{part}", hex::encode(&digest));
            let insert = "INSERT INTO bytes (digest, part, c) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
            site.run(
                insert,
                vec![digest.clone().into(), part.into(), old.encrypt(place.as_bytes(), place.as_bytes()).into()],
            )
            .await;
            truth.push((
                place,
                "SELECT c FROM bytes WHERE digest = $1 AND part = $2",
                vec![digest.into(), part.into()],
            ));
        }
    }
    for i in 0..150 {
        let name = format!("{}{i}", ["x", "X", "é", "É", "_"][i % 5]);
        let place = format!("texts:{name}");
        let cell = old.encrypt(place.as_bytes(), place.as_bytes());
        site.run("INSERT INTO texts VALUES ($1, $2)", vec![name.clone().into(), cell.into()]).await;
        truth.push((place, "SELECT c FROM texts WHERE name = $1", vec![name.into()]));
    }

    let status = site.rotate().await;

    assert!(status.tables.iter().all(|t| t.rows > 100 && t.rows_done == t.rows), "{:#?}", status.tables);
    let new = site.keyset("default").await;
    for (place, sql, key) in truth {
        let cell = site.stored(sql, key).await;
        assert!(cell.starts_with(&reseal_keyring::cell::header(new.active())), "{place} was not reached");
        assert_eq!(new.decrypt(&cell, place.as_bytes()).unwrap().as_slice(), place.as_bytes());
    }
}

const ENCODINGS: [(&str, Encoding, reseal_keyring::Encoding); 4] = [
    ("a", Encoding::Base64, reseal_keyring::Encoding::Base64),
    ("b", Encoding::Base64Url, reseal_keyring::Encoding::Base64Url),
    ("c", Encoding::Base64Unpadded, reseal_keyring::Encoding::Base64Unpadded),
    ("d", Encoding::Base64UrlUnpadded, reseal_keyring::Encoding::Base64UrlUnpadded),
];

async fn text_columns_are_rotated_in_every_encoding(backend: DbBackend) {
    let site = Site::with(backend, false, |config| {
        let columns = ENCODINGS.map(|(name, encoding, _)| encoded(name, encoding, ""));
        config.tables = vec![table("words", columns.to_vec())];
    })
    .await;
    site.sql("CREATE TABLE words (id bigint PRIMARY KEY, a text, b varchar(200), c text, d text)").await;
    let old = site.keyset("default").await;
    for id in 0..120_i64 {
        let value = vec![b'v'; id as usize];
        let text = |encoding: reseal_keyring::Encoding| {
            let stored = encoding.encode(old.encrypt(&value[..value.len().min(100)], b""));
            String::from_utf8(stored).unwrap()
        };
        let [a, b, c, d] = ENCODINGS.map(|(.., encoding)| text(encoding));
        let a = if id % 7 == 0 { None } else { Some(a) };
        site.run(
            "INSERT INTO words VALUES ($1, $2, $3, $4, $5)",
            vec![id.into(), a.into(), b.into(), c.into(), d.into()],
        )
        .await;
    }

    let status = site.rotate().await;

    assert_eq!((status.rows, status.quarantined), (120, 0));
    let new = site.keyset("default").await;
    for id in 1..120_i64 {
        for (name, _, encoding) in ENCODINGS.into_iter().filter(|(name, ..)| *name != "a" || id % 7 != 0) {
            let stored = site.stored(&format!("SELECT {name} FROM words WHERE id = $1"), vec![id.into()]).await;
            let cell = encoding.decode(&stored).expect("the same alphabet and padding");
            assert_eq!(new.decrypt(&cell, b"").unwrap().len(), (id as usize).min(100));
            assert!(cell.starts_with(&reseal_keyring::cell::header(new.active())), "{name} {id}");
        }
    }
    let late = String::from_utf8(reseal_keyring::Encoding::Base64Url.encode(old.encrypt(b"late", b""))).unwrap();
    let insert =
        Statement::from_sql_and_values(backend, "INSERT INTO words (id, b) VALUES (999, $1)", vec![late.into()]);
    let refused = site.app.execute_raw(insert).await.unwrap_err();
    assert!(refused.to_string().contains("reload the keyset"), "{refused}");
}

async fn a_text_column_in_another_encoding_is_quarantined_and_left_as_it_is(backend: DbBackend) {
    let site = Site::with(backend, false, |config| {
        config.tables = vec![table("words", vec![encoded("a", Encoding::Base64, "")])];
    })
    .await;
    site.sql("CREATE TABLE words (id bigint PRIMARY KEY, a text)").await;
    let old = site.keyset("default").await;
    let unpadded = reseal_keyring::Encoding::Base64Unpadded.encode(old.encrypt(b"", b"").repeat(1)[..].to_vec());
    let (unpadded, cells) = (String::from_utf8(unpadded).unwrap(), [b"x".as_slice(), b"yy"]);
    for (id, cell) in (1_i64..).zip(cells) {
        let stored = String::from_utf8(reseal_keyring::Encoding::Base64.encode(old.encrypt(cell, b""))).unwrap();
        site.run("INSERT INTO words VALUES ($1, $2)", vec![id.into(), stored.into()]).await;
    }
    let wrong = format!("{unpadded}=");
    site.run("INSERT INTO words VALUES (3, $1)", vec![wrong.clone().into()]).await;
    let id = site.request().await;
    let status = site.drive(id, |s| s.needs_attention).await;
    assert_eq!(status.quarantined, 1);
    let found = reseal_entities::ledger::quarantine::list(site.engine.ledger.db(), None, false, 9).await.unwrap();
    assert_eq!((found[0].row_key.as_str(), found[0].code.as_str()), ("3", "cell_not_base64"));
    assert_eq!(site.stored("SELECT a FROM words WHERE id = 3", vec![]).await, wrong.into_bytes());
}

async fn columns_of_two_keysets_in_one_table_are_rotated_apart(backend: DbBackend) {
    let site = Site::with(backend, false, |config| {
        let other = Column { keyset: "other".into(), ..column("two", "pair.two:{id}") };
        config.tables = vec![table("pair", vec![column("one", "pair.one:{id}"), other])];
    })
    .await;
    site.engine.keyring.create("tester", "other").await.unwrap();
    site.sql(&format!("CREATE TABLE pair (id bigint PRIMARY KEY, one {0}, two {0})", site.blob())).await;
    let (default, other) = (site.keyset("default").await, site.keyset("other").await);
    for id in 0..60_i64 {
        let one = default.encrypt(b"one", format!("pair.one:{id}").as_bytes());
        let two = other.encrypt(b"two", format!("pair.two:{id}").as_bytes());
        site.run("INSERT INTO pair VALUES ($1, $2, $3)", vec![id.into(), one.into(), two.into()]).await;
    }
    let before = site.stored("SELECT two FROM pair WHERE id = 59", vec![]).await;

    site.rotate().await;

    assert_eq!(site.stored("SELECT two FROM pair WHERE id = 59", vec![]).await, before, "another keyset's cell");
    let one = site.stored("SELECT one FROM pair WHERE id = 59", vec![]).await;
    assert_eq!(site.keyset("default").await.decrypt(&one, b"pair.one:59").unwrap()[..], *b"one");
    assert_eq!(site.keyset("other").await.active(), other.active());
}

async fn names_with_quotes_capitals_spaces_and_dots_are_only_names(backend: DbBackend) {
    let (table, key, cell) = ("Odd \"Table\" $reseal$ o'clock", "The Key", "cell.of'a $reseal$ \"kind\"");
    let site = Site::with(backend, false, |config| {
        config.tables = vec![keyed(table, &[key], vec![column(cell, "odd:{The Key}")])];
        config.sources[0].ignore_columns = vec!["Odd \"Table\" $reseal$ o'clock.cell.of'a $reseal$ \"kind\"".into()];
    })
    .await;
    check::exclude(&site.engine, "tester").await.unwrap();
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let (table, key, cell) = (quoted(table), quoted(key), quoted(cell));
    site.sql(&format!("CREATE TABLE {table} ({key} bigint PRIMARY KEY, {cell} {})", site.blob())).await;
    let old = site.keyset("default").await;
    for id in 0..60_i64 {
        let value = old.encrypt(b"odd", format!("odd:{id}").as_bytes());
        site.run(&format!("INSERT INTO {table} VALUES ($1, $2)"), vec![id.into(), value.into()]).await;
    }
    let status = site.rotate().await;
    assert_eq!((status.reencrypted, status.quarantined), (60, 0));
    let stored = site.stored(&format!("SELECT {cell} FROM {table} WHERE {key} = 59"), vec![]).await;
    assert_eq!(site.keyset("default").await.decrypt(&stored, b"odd:59").unwrap()[..], *b"odd");
    let late = vec![Value::from(old.encrypt(b"late", b"odd:1"))];
    let update = format!("UPDATE {table} SET {cell} = $1 WHERE {key} = 1");
    let refused = site.app.execute_raw(Statement::from_sql_and_values(backend, &update, late)).await.unwrap_err();
    assert!(refused.to_string().contains("reload the keyset"), "{refused}");
}

async fn one_rotation_covers_several_sources(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    let truth = site.seed(60).await;
    let other_url = site.another_database("other").await;
    let other = sea_orm::Database::connect(&other_url).await.unwrap();
    let create = format!("CREATE TABLE notes (id bigint PRIMARY KEY, c {})", site.blob());
    other.execute_unprepared(&create).await.unwrap();
    let old = site.keyset("default").await;
    for id in 0..70_i64 {
        let cell = old.encrypt(b"note", format!("notes:{id}").as_bytes());
        let insert =
            Statement::from_sql_and_values(backend, "INSERT INTO notes VALUES ($1, $2)", [id.into(), cell.into()]);
        other.execute_raw(insert).await.unwrap();
    }
    let mut config = site.engine.config.clone();
    let (url, name) = (SecretUrl::new(&other_url), "archive".to_owned());
    config.sources.push(Source {
        name,
        url,
        ddl_url: None,
        ignore_columns: Vec::new(),
        replica_lag_max: Default::default(),
        silence_max: std::time::Duration::from_secs(60),
    });
    config.tables.push(Table { source: "archive".into(), ..table("notes", vec![column("c", "notes:{id}")]) });
    let ledger = site.engine.ledger.clone();
    site.engine = reseal_engine::Engine::open(config, ledger, "w2".into()).await.unwrap().into();

    let status = site.rotate().await;

    assert_eq!(status.rows, 3 * 60 + 70);
    assert_eq!(site.read_all().await, truth);
    let new = site.keyset("default").await;
    let select = Statement::from_string(backend, "SELECT c FROM notes ORDER BY id");
    for (id, row) in other.query_all_raw(select).await.unwrap().iter().enumerate() {
        let cell: Vec<u8> = row.try_get_by_index(0).unwrap();
        assert!(cell.starts_with(&reseal_keyring::cell::header(new.active())));
        assert_eq!(new.decrypt(&cell, format!("notes:{id}").as_bytes()).unwrap()[..], *b"note");
    }
}

async fn what_fires_at_every_row_is_listed(backend: DbBackend) {
    let site = Site::new(backend).await;
    if site.is_postgres() {
        site.sql("CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'").await;
        site.sql("CREATE TRIGGER history AFTER UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION noted()").await;
        site.sql("CREATE TRIGGER births AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION noted()").await;
        site.sql("CREATE PUBLICATION changes FOR TABLE messages").await;
    } else {
        site.sql("CREATE TRIGGER history AFTER UPDATE ON messages BEGIN SELECT 1; END").await;
    }
    site.seed(20).await;
    site.rotate().await; // our own fences stand now
    let findings = check::check(&site.engine).await.unwrap();
    let of = |name: &str| findings.columns.iter().find(|c| c.column.contains(name)).unwrap().notes.join("; ");
    assert!(of("messages").contains("history") && !of("messages").contains("births"), "{}", of("messages"));
    assert_eq!(of("messages").contains("publication changes"), site.is_postgres());
    assert_eq!(of("sync_queue"), "");
}

async fn a_template_that_two_rows_can_share_is_warned_of(backend: DbBackend) {
    let site = Site::with(backend, false, |config| {
        let columns = vec![column("good", "{a}|{b}"), column("bad", "{a}.{b}"), column("worse", "{a}{b}")];
        config.tables = vec![keyed("two", &["a", "b"], columns)];
    })
    .await;
    let blob = site.blob();
    site.sql(&format!("CREATE TABLE two (a text, b text, good {blob}, bad {blob}, worse {blob}, PRIMARY KEY (a, b))"))
        .await;
    site.sql("INSERT INTO two (a, b) VALUES ('x.y', 'z')").await;
    let findings = check::check(&site.engine).await.unwrap();
    let warned: Vec<_> =
        findings.columns.iter().map(|c| c.warnings.iter().any(|w| w.contains("same associated data"))).collect();
    assert_eq!(warned, [false, true, true], "{findings:#?}");
}
