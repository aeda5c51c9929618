//! Copies in columns that are not registered: whatever they wear, wherever they go, and what cannot be looked at.

use crate::{
    on_every_database,
    site::{Postgres, Site, Sqlite, column, table},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use reseal_config::SecretUrl;
use reseal_engine::check;
use reseal_entities::{ledger::read::RotationStatus, state::RotationState};
use reseal_tests::{Leash, shared_postgres};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use std::time::{Duration, Instant};

on_every_database! {
    copies_in_every_clothes_block_the_proof_by_name,
    a_star_leaves_tables_out_and_the_proof_says_so,
}

async fn blocked(site: &Site, id: i64) -> String {
    let is_blocked = |s: &RotationStatus| s.code.as_deref() == Some("proof_blocked");
    site.drive(id, is_blocked).await.detail.unwrap()
}

/// What applications make of a cell that begins in the middle of something.
fn clothes(cell: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (hex, base64) = (hex::encode(cell), STANDARD.encode(cell));
    let escaped = |each: fn(u8) -> String| -> String {
        cell.iter().map(|b| if b.is_ascii_alphanumeric() { char::from(*b).into() } else { each(*b) }).collect()
    };
    let marks = |each: fn(char) -> String| -> String {
        base64.chars().map(|c| if c.is_ascii_alphanumeric() { c.into() } else { each(c) }).collect()
    };
    let json = |text: &str| serde_json::json!({ "id": 7, "body": text }).to_string();
    let lines: Vec<&str> = base64.as_bytes().chunks(5).map(|c| std::str::from_utf8(c).unwrap()).collect();
    let texts = [
        ("base64 in JSON", json(&base64)),
        ("base64 after one byte", STANDARD.encode([b"x", cell].concat())),
        ("base64 after two bytes", STANDARD.encode([b"xy", cell].concat())),
        ("base64url", URL_SAFE_NO_PAD.encode(cell)),
        ("base64 in lines", lines.join("\n")),
        ("base64 in lines, in JSON", json(&lines.join("\r\n"))),
        ("base64 in PHP's JSON", base64.replace('/', "\\/")),
        ("base64 with JSON's escapes", marks(|c| format!("\\u{:04X}", c as u32))),
        ("base64 in a lower form", marks(|c| format!("%{:02x}", c as u32))),
        ("upper hex", hex.to_uppercase()),
        ("hex in JSON", json(&format!("\\x{hex}"))),
        ("octal", escaped(|b| format!("\\{b:03o}"))),
        ("C", escaped(|b| format!("\\x{b:02x}"))),
        ("JSON's escapes", escaped(|b| format!("\\u{b:04x}"))),
        ("a form", escaped(|b| format!("%{b:02X}"))),
        ("a buffer", serde_json::to_string(cell).unwrap()),
        ("base64 of JSON with base64", STANDARD.encode(json(&base64))),
        ("base64 of a row with hex", STANDARD.encode(json(&hex))),
        ("hex of JSON with base64", hex::encode(json(&base64))),
    ];
    texts.into_iter().map(|(name, text)| (name, text.into_bytes())).collect()
}

async fn copies_in_every_clothes_block_the_proof_by_name(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(12).await;
    let cell = site.message(9).await;
    // One table for all: a column for each, so that each is named.
    let clothes = clothes(&cell);
    let postgres = site.is_postgres();
    let types: &[(&str, &str)] = if postgres {
        site.sql(
            "CREATE DOMAIN secret AS bytea; CREATE DOMAIN more_secret AS secret; CREATE TYPE pair AS (n int, b bytea)",
        )
        .await;
        site.sql("CREATE TYPE text_range AS RANGE (subtype = text)").await;
        &[
            ("text", "$1"),
            ("bytea", "convert_to($1, 'UTF8')"),
            ("jsonb", "to_jsonb($1::text)"),
            ("more_secret", "convert_to($1, 'UTF8')"),
            ("bytea[]", "ARRAY[convert_to($1, 'UTF8')]"),
            ("pair", "ROW(1, convert_to($1, 'UTF8'))::pair"),
            ("text_range", "text_range($1::text, NULL)"),
        ]
    } else {
        &[("text", "$1"), ("blob", "CAST($1 AS BLOB)"), ("integer", "$1")]
    };
    for (n, (ty, expression)) in types.iter().enumerate() {
        let columns: Vec<String> = (0..clothes.len()).map(|c| format!("c{c} {ty}")).collect();
        site.sql(&format!("CREATE TABLE copies_{n} ({})", columns.join(", "))).await;
        for (c, (_, worn)) in clothes.iter().enumerate() {
            let text = String::from_utf8(worn.clone()).unwrap();
            site.run(&format!("INSERT INTO copies_{n} (c{c}) VALUES ({expression})"), vec![text.into()]).await;
        }
    }
    let blob = if postgres { "bytea" } else { "blob" };
    site.sql(&format!("CREATE TABLE raw (c {blob})")).await;
    site.run("INSERT INTO raw VALUES ($1)", vec![[b"in the middle", &cell[..]].concat().into()]).await;
    // Larger than what is looked at in one piece, and across the end of the first.
    site.sql(&format!("CREATE TABLE large (c {blob})")).await;
    let mut large = vec![b'x'; 9 << 20];
    large[(4 << 20) + 4090..][..cell.len()].copy_from_slice(&cell);
    site.run("INSERT INTO large VALUES ($1)", vec![large.into()]).await;

    let id = site.request().await;
    let detail = blocked(&site, id).await;
    for (n, (ty, _)) in types.iter().enumerate() {
        for (c, (name, _)) in clothes.iter().enumerate() {
            assert!(detail.contains(&format!("copies_{n}.c{c} is not registered and holds 1 cells")), "{name} as {ty}");
        }
        site.sql(&format!("DROP TABLE copies_{n}")).await;
    }
    for table in ["raw", "large"] {
        assert!(detail.contains(&format!("{table}.c is not registered and holds 1 cells")), "{table}");
        site.sql(&format!("DROP TABLE {table}")).await;
    }
    site.drive_to(id, RotationState::Completed).await;
}

async fn a_star_leaves_tables_out_and_the_proof_says_so(backend: DbBackend) {
    let ignored = vec!["staging_*.*".to_owned()];
    let hour = Some(Duration::from_secs(3_600));
    let site = Site::with(backend, false, |config| {
        config.sources[0].ignore_columns = ignored;
        config.rotation.clear_after = hour;
    })
    .await;
    check::exclude(&site.engine, "tester").await.unwrap();
    site.seed(12).await;
    let copy = STANDARD.encode(site.message(9).await);
    site.sql(&format!("CREATE TABLE staging_7 (c text); INSERT INTO staging_7 VALUES ('{copy}')")).await;
    site.sql(&format!("CREATE TABLE my_staging (c text); INSERT INTO my_staging VALUES ('{copy}')")).await;
    let id = site.request().await;
    let detail = blocked(&site, id).await;
    assert!(detail.contains("my_staging.c is not registered") && !detail.contains("staging_7"), "{detail}");
    site.sql("DROP TABLE my_staging").await;
    site.drive_to(id, RotationState::Waiting).await;
    let named = "SELECT count(*) FROM reseal_proofs WHERE scope NOT LIKE '%left out: staging_*.*%'";
    assert_eq!(site.ledger_count(named).await, 0);
}

/// Rows move while the scan reads a large table: from a table that comes after it to one before.
async fn moved(how: &str) -> String {
    let site = Site::new(Postgres).await;
    site.seed(12).await;
    site.sql("CREATE TABLE a_first (c bytea); CREATE TABLE b_large (c text); CREATE TABLE z_last (c bytea)").await;
    site.sql("INSERT INTO b_large SELECT repeat('a long line ', 20) FROM generate_series(1, 200000)").await;
    site.sql("INSERT INTO z_last SELECT encrypted_content FROM messages WHERE encrypted_content IS NOT NULL").await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Proving).await;
    let (app, how) = (site.app.clone(), how.to_owned());
    // In a task of its own: the scan leaves its own task no time for anything else.
    let meanwhile = tokio::spawn(async move {
        let reads = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
                     AND application_name = 'reseal count' AND query LIKE '%FROM%b_large%'";
        let reads = || Statement::from_string(DbBackend::Postgres, reads);
        let deadline = Instant::now() + Duration::from_secs(60);
        while app.query_one_raw(reads()).await.unwrap().is_none() {
            assert!(Instant::now() < deadline, "the large table is not read");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        app.execute_unprepared(&how).await.unwrap();
        assert!(app.query_one_raw(reads()).await.unwrap().is_some(), "the scan was faster than the move");
    });
    let detail = blocked(&site, id).await;
    meanwhile.await.unwrap();
    detail
}

mod postgres_only {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_that_move_to_a_table_that_was_looked_at_are_found() {
        let detail =
            moved("WITH gone AS (DELETE FROM z_last RETURNING c) INSERT INTO a_first SELECT c FROM gone").await;
        assert!(detail.contains("z_last.c is not registered and holds 11 cells"), "{detail}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_whose_table_is_dropped_or_emptied_once_they_have_moved_are_found() {
        for end in ["DROP TABLE z_last", "TRUNCATE z_last"] {
            let detail = moved(&format!("BEGIN; INSERT INTO a_first SELECT c FROM z_last; {end}; COMMIT")).await;
            assert!(detail.contains(".c is not registered and holds 11 cells"), "{end}: {detail}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn tables_that_come_and_go_keep_nothing_from_finishing() {
        let site = Site::new(Postgres).await;
        let truth = site.seed(30).await;
        let id = site.request().await;
        let churn = async {
            for n in 0.. {
                site.sql(&format!("DROP TABLE IF EXISTS stage_{}; CREATE TABLE stage_{0} (c text)", n % 9)).await;
                site.sql(&format!("INSERT INTO stage_{} VALUES (repeat('x', 99))", n % 9)).await;
            }
        };
        tokio::select! {
            _ = site.drive_to(id, RotationState::Completed) => {}
            () = churn => {}
        }
        let rotation = site.rotation(id).await;
        assert_eq!(rotation.step_failures, 0, "{:?}", rotation.step_detail);
        assert_eq!(site.read_all().await, truth);
    }

    /// A source whose everyday role is another one than its tables' owner.
    async fn with_a_role(role: &str) -> Site {
        let server = shared_postgres();
        server.sql("postgres", &format!("DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN"));
        let site = Site::with(Postgres, false, |config| {
            let owner = config.sources[0].url.expose().to_string();
            config.sources[0].url = SecretUrl::new(owner.replace("postgres@", &format!("{role}@")));
            config.sources[0].ddl_url = Some(SecretUrl::new(&owner));
        })
        .await;
        site.sql(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")).await;
        site.sql(&format!("GRANT UPDATE ON messages, sync_queue, user_profiles TO {role}")).await;
        site.seed(12).await;
        site
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn tables_that_the_role_may_not_read_are_named_together_and_before_the_rotation() {
        let role = "reads_little";
        let site = with_a_role(role).await;
        site.sql("CREATE TABLE customers (id bigint, name text); CREATE TABLE hidden (id bigint, memo text)").await;
        site.sql("CREATE SCHEMA closed; CREATE TABLE closed.notes (memo text)").await;
        site.sql(&format!(
            "GRANT SELECT ON hidden, closed.notes TO {role}; ALTER TABLE hidden ENABLE ROW LEVEL SECURITY"
        ))
        .await;
        site.sql(&format!("CREATE TABLE copies (c bytea); GRANT SELECT ON copies TO {role}")).await;
        site.sql("INSERT INTO copies SELECT encrypted_content FROM messages WHERE id = 1").await;
        let named = |text: &str| {
            assert!(text.contains("public.customers.name") && text.contains("lacks SELECT"), "{text}");
            assert!(text.contains("public.hidden.memo") && text.contains("row-level security"), "{text}");
            assert!(text.contains("closed.notes.memo") && text.contains("lacks USAGE on schema closed"), "{text}");
            assert!(text.contains(role), "{text}");
        };
        let findings = check::check(&site.engine).await.unwrap();
        named(&findings.sources[0].problems.join("; "));
        assert!(!findings.good() && findings.can_rotate());

        let id = site.request().await;
        let detail = blocked(&site, id).await;
        named(&detail);
        assert!(detail.contains("copies.c is not registered and holds 1 cells"), "the rest is looked at: {detail}");

        site.sql(&format!("GRANT SELECT ON customers TO {role}; GRANT USAGE ON SCHEMA closed TO {role}")).await;
        site.sql("ALTER TABLE hidden DISABLE ROW LEVEL SECURITY; DROP TABLE copies").await;
        assert!(check::check(&site.engine).await.unwrap().good());
        site.drive_to(id, RotationState::Completed).await;
    }
}

mod sqlite_only {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_virtual_table_without_its_module_is_named_and_can_be_left_out() {
        let mut site = Site::new(Sqlite).await;
        let truth = site.seed(12).await;
        site.sql("CREATE VIRTUAL TABLE words USING fts5(line)").await;
        site.run("INSERT INTO words VALUES ($1)", vec![STANDARD.encode(site.message(9).await).into()]).await;
        site.sql(
            "PRAGMA writable_schema = on; INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES \
             ('table', 'emb', 'emb', 0, 'CREATE VIRTUAL TABLE emb USING vec0(e float[4])'); PRAGMA writable_schema = reset",
        )
        .await;
        site.restart("w2").await;
        let findings = check::check(&site.engine).await.unwrap();
        let problems = findings.sources[0].problems.join("; ");
        assert!(problems.contains("main.emb") && problems.contains("[\"main.emb.*\"]"), "{problems}");
        let id = site.request().await;
        let detail = blocked(&site, id).await;
        assert!(detail.contains("main.emb cannot be looked at"), "{detail}");
        assert!(detail.contains("words_content.c0 is not registered"), "the tables behind one are tables: {detail}");

        site.sql("DELETE FROM words; INSERT INTO words(words) VALUES ('rebuild')").await;
        let mut config = site.engine.config.clone();
        config.sources[0].ignore_columns = vec!["main.emb.*".into()];
        let ledger = site.engine.ledger.clone();
        site.engine = reseal_engine::Engine::open(config, ledger, "w3".into()).await.unwrap().into();
        check::exclude(&site.engine, "tester").await.unwrap();
        site.drive_to(id, RotationState::Completed).await;
        assert_eq!(site.read_all().await, truth);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn copies_in_a_file_in_utf_16_are_found() {
        for encoding in ["UTF-16le", "UTF-16be"] {
            let dir = Leash::new();
            let url = format!("sqlite://{}/utf16.sqlite?mode=rwc", dir.dir().display());
            let file = sea_orm::Database::connect(&url).await.unwrap();
            file.execute_unprepared(&format!("PRAGMA encoding = '{encoding}'; CREATE TABLE log (id integer, line)"))
                .await
                .unwrap();
            let site = Site::over(Sqlite, &url, |config| {
                let mut messages =
                    table("messages", vec![column("encrypted_content", "messages.encrypted_content:{id}")]);
                messages.primary_key = vec!["id".into()];
                config.tables = vec![messages];
            })
            .await;
            site.seed(12).await;
            let cell = site.message(9).await;
            let lines =
                [STANDARD.encode(&cell).replace('/', "\\/"), hex::encode(&cell), serde_json::to_string(&cell).unwrap()];
            for (id, line) in (0_i64..).zip(lines) {
                site.run("INSERT INTO log VALUES ($1, $2)", vec![id.into(), format!("saved {line}").into()]).await;
            }
            site.sql("DELETE FROM sync_queue; DELETE FROM user_profiles").await;
            let encoded = Statement::from_string(Sqlite, "SELECT encoding FROM pragma_encoding");
            let encoded: String = site.app.query_one_raw(encoded).await.unwrap().unwrap().try_get_by_index(0).unwrap();
            assert_eq!(encoded, encoding);
            let id = site.request().await;
            let detail = blocked(&site, id).await;
            assert!(detail.contains("main.log.line is not registered and holds 3 cells"), "{encoding}: {detail}");
        }
    }
}
