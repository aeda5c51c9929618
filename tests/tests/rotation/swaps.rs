//! What is compared before a value is overwritten, and the names inside our statements.

use crate::{
    adoption::{notes, plain},
    on_every_database,
    schemas::keyed,
    site::{Site, column},
};
use reseal_config::Encoding;
use reseal_engine::source::{CellColumn, Range, Shape, Source, Swap};
use reseal_entities::state::RotationState;
use reseal_keyring::{Layout, cell};
use sea_orm::DbBackend;
use std::sync::Arc;

on_every_database! {
    columns_may_have_the_names_inside_our_statements,
    a_value_that_shares_only_header_and_iv_is_not_overwritten,
    a_plaintext_is_not_overwritten_when_its_row_has_another_version,
    a_trigger_that_came_after_the_table_was_looked_at_destroys_nothing,
    a_row_that_a_trigger_moves_away_is_not_kept_changed,
}

const NAMES: [&str; 14] = [
    "n",
    "v",
    "t",
    "version",
    "reseal_before",
    "reseal_version",
    "reseal_k0",
    // of keys only
    "b0",
    "bound",
    "next",
    "u",
    "k0",
    "sized",
    "Id",
];

async fn columns_may_have_the_names_inside_our_statements(backend: DbBackend) {
    let site = Site::with(backend, false, |config| {
        config.rotation.batch_rows = 5;
        config.tables = Vec::new();
        for (i, name) in NAMES.iter().enumerate() {
            config.tables.push(keyed(&format!("key_{i}"), &[name], vec![column("body", &format!("k{{{name}}}"))]));
            if i < 7 {
                config.tables.push(keyed(&format!("cell_{i}"), &["id"], vec![column(name, "c{id}")]));
                let plaintext = plain(name, Encoding::Bytes, "p{id}");
                config.tables.push(keyed(&format!("plain_{i}"), &["id"], vec![plaintext]));
            }
        }
    })
    .await;
    let (blob, old) = (if site.is_postgres() { "bytea" } else { "blob" }, site.keyset("default").await);
    for (i, name) in NAMES.iter().enumerate() {
        site.sql(&format!("CREATE TABLE key_{i} (\"{name}\" bigint PRIMARY KEY, body {blob})")).await;
        for table in ["cell", "plain"].iter().filter(|_| i < 7) {
            site.sql(&format!("CREATE TABLE {table}_{i} (id bigint PRIMARY KEY, \"{name}\" {blob})")).await;
        }
        // The order of numbers is not that of their texts.
        for id in [2_i64, 10, 9, 1, 100, 30, 4] {
            let insert = |table: &str| format!("INSERT INTO {table}_{i} VALUES ($1, $2)");
            let keyed = old.encrypt(b"x", format!("k{id}").as_bytes());
            site.run(&insert("key"), vec![id.into(), keyed.into()]).await;
            if i < 7 {
                site.run(&insert("cell"), vec![id.into(), old.encrypt(b"x", format!("c{id}").as_bytes()).into()]).await;
                site.run(&insert("plain"), vec![id.into(), b"x".to_vec().into()]).await;
            }
        }
    }
    let id = site.request().await;
    let status = site.drive_to(id, RotationState::Completed).await;
    assert_eq!((status.rows, status.reencrypted), (7 * 28, 7 * 28));
}

async fn look(site: &Site, table: &str, wanted: CellColumn) -> (Arc<dyn Source>, Shape) {
    let source = site.engine.source("app").unwrap();
    let shape = source.shape(None, table, &["id".into()], &[wanted]).await.unwrap();
    (source, shape)
}

async fn a_value_that_shares_only_header_and_iv_is_not_overwritten(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(20).await;
    let (source, shape) = look(&site, "messages", CellColumn::wanted("encrypted_content", Layout::NATIVE)).await;
    let stored = site.message(9).await;
    let new = site.keyset("default").await.encrypt(b"new", b"messages.encrypted_content:9");
    let swap = |old: Vec<u8>| Swap { key: "9".into(), cells: vec![Some((old, new.clone()))], version: None };
    let (mut tag, mut iv, mut longer) = (stored.clone(), stored.clone(), stored.clone());
    *tag.last_mut().unwrap() ^= 1;
    iv[cell::PREFIX_LEN - 1] ^= 1;
    longer.insert(cell::PREFIX_LEN, 0);
    for other in [tag, iv, longer, stored[..10].to_vec(), Vec::new()] {
        assert!(source.swap(&shape, &[swap(other)]).await.unwrap().is_empty());
        assert_eq!(site.message(9).await, stored);
    }
    assert_eq!(source.swap(&shape, &[swap(stored)]).await.unwrap(), ["9"]);
    assert_eq!(site.message(9).await, new);
}

async fn a_plaintext_is_not_overwritten_when_its_row_has_another_version(backend: DbBackend) {
    let site = notes(backend, 30).await;
    let layout = Layout { format: reseal_keyring::Format::Plaintext, ..Layout::NATIVE };
    let (source, shape) = look(&site, "notes", CellColumn::wanted("body", layout)).await;
    let keyset = site.keyset("default").await;
    let active = cell::header(keyset.active());
    let row = async || {
        let range = Range { after: Some("3".into()), up_to: Some("4".into()) };
        source.read(&shape, &range, &active, 10, 1 << 20).await.unwrap().remove(0)
    };
    let swap = |row: reseal_engine::source::Row| {
        let old = row.cells[0].clone().unwrap();
        Swap { key: row.key, cells: vec![Some((old, keyset.encrypt(b"x", b"notes.body:4")))], version: row.version }
    };
    let read = row().await;
    site.run("UPDATE notes SET body = $1 WHERE id = 4", vec![b"another".to_vec().into()]).await;
    assert!(source.swap(&shape, &[swap(read)]).await.unwrap().is_empty());
    let stored = site.stored("SELECT body FROM notes WHERE id = 4", vec![]).await;
    assert_eq!(stored, b"another");
    // the value that was read, written again, is another version where the database has versions
    let read = row().await;
    site.run("UPDATE notes SET body = $1 WHERE id = 4", vec![b"another".to_vec().into()]).await;
    let swapped = source.swap(&shape, &[swap(read)]).await.unwrap();
    assert_eq!(swapped.is_empty(), site.is_postgres());
    if site.is_postgres() {
        assert_eq!(source.swap(&shape, &[swap(row().await)]).await.unwrap(), ["4"]);
    }
}

/// A trigger that rewrites the cell after each update.
async fn rewrite(site: &Site, what: &str) {
    if site.is_postgres() {
        site.sql(&format!(
            "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; RETURN NULL; END $$; \
             CREATE TRIGGER again AFTER UPDATE ON messages FOR EACH ROW WHEN (pg_trigger_depth() = 0) \
             EXECUTE FUNCTION again()"
        ))
        .await;
    } else {
        site.sql(&format!("CREATE TRIGGER again AFTER UPDATE ON messages BEGIN {what}; END")).await;
    }
}

async fn nothing_was_kept(backend: DbBackend, what: &str) {
    let site = Site::new(backend).await;
    site.seed(20).await;
    let (source, shape) = look(&site, "messages", CellColumn::wanted("encrypted_content", Layout::NATIVE)).await;
    let stored = site.message(9).await;
    let new = site.keyset("default").await.encrypt(b"new", b"messages.encrypted_content:9");
    rewrite(&site, what).await;
    let swap = Swap { key: "9".into(), cells: vec![Some((stored.clone(), new))], version: None };
    let refused = source.swap(&shape, &[swap]).await.unwrap_err();
    assert_eq!((refused.code, site.message(9).await), ("value_altered", stored));
}

async fn a_trigger_that_came_after_the_table_was_looked_at_destroys_nothing(backend: DbBackend) {
    let blob = if backend == DbBackend::Postgres { "'\\x00'::bytea" } else { "x'00'" };
    nothing_was_kept(backend, &format!("UPDATE messages SET encrypted_content = {blob} WHERE id = NEW.id")).await;
}

async fn a_row_that_a_trigger_moves_away_is_not_kept_changed(backend: DbBackend) {
    nothing_was_kept(backend, "UPDATE messages SET id = 1000 + NEW.id WHERE id = NEW.id").await;
}

/// One database's own.
mod own {
    use super::*;
    use crate::site::{Postgres, table};
    use sha2::{Digest, Sha256};

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_that_is_made_of_a_plaintext_is_in_the_servers_log() {
        let server = reseal_tests::Postgres::start();
        let url = server.create_database("app");
        server.sql("app", "CREATE TABLE cards (id bigint PRIMARY KEY, pin bytea, hint text)");
        server.sql(
            "app",
            "INSERT INTO cards SELECT n, (7000 + n)::text::bytea, 'hint' || n FROM generate_series(1, 30) n",
        );
        server.sql("app", "ALTER DATABASE app SET log_min_duration_statement = 0");
        let site = Site::over(Postgres, &url, |config| {
            let hint = plain("hint", Encoding::Base64, "cards.hint:{id}");
            config.tables = vec![table("cards", vec![plain("pin", Encoding::Bytes, "cards.pin:{id}"), hint])];
        })
        .await;
        site.rotate().await;
        let log = server.log();
        assert!(log.contains("UPDATE \"public\".\"cards\"") && log.contains("arameters: $1"), "statements are logged");
        for n in 1..=30 {
            for value in [format!("{}", 7000 + n), format!("hint{n}")] {
                let traces = [hex::encode(Sha256::digest(&value)), hex::encode(&value)];
                let found = traces.iter().find(|trace| log.contains(*trace));
                assert!(found.is_none(), "{value}: {found:?}");
            }
        }
    }
}
