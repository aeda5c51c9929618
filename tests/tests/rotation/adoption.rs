//! Columns whose cells name no key become native: plaintexts, and raw ciphertexts.

use crate::{
    on_every_database,
    schemas::encoded,
    site::{Site, column, table},
};
use reseal_config::{Column, Encoding, Format};
use reseal_engine::plan;
use reseal_entities::{
    audit,
    ledger::{keys as ledger_keys, quarantine},
    state::{KeyState, RotationState},
};
use reseal_keyring::{Algorithm, Dek, KeyId, KeyInfo, Keyset, Layout, Prefix};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, Statement, Value};

on_every_database! {
    plaintexts_become_cells_and_no_plaintext_is_let_in_afterwards,
    raw_cells_become_native_and_the_raw_key_is_destroyed,
    adopting_cut_off_anywhere_encrypts_nothing_twice,
    a_cell_copied_into_a_plaintext_column_is_never_encrypted_again,
    a_cell_under_a_key_that_only_the_backup_knows_is_not_taken_for_a_plaintext,
    the_next_rotation_lets_its_key_in_before_anybody_writes_with_it,
    a_damaged_cell_of_an_adopted_column_is_quarantined_and_not_encrypted_again,
    a_column_of_another_keyset_that_nobody_adopted_yet_does_not_block_the_proof,
    the_configuration_may_go_on_calling_an_adopted_column_what_it_was,
    a_value_that_is_no_raw_cell_is_quarantined,
}

pub(crate) const TEXT: Layout =
    Layout { format: reseal_keyring::Format::Plaintext, encoding: reseal_keyring::Encoding::Base64 };

pub(crate) fn plain(name: &str, encoding: Encoding, associated_data: &str) -> Column {
    Column { format: Format::Plaintext, ..encoded(name, encoding, associated_data) }
}

/// `notes` with a bytes and a text column of plaintexts, one of each kind NULL now and then.
pub(crate) async fn notes(backend: DbBackend, rows: i64) -> Site {
    let site = Site::with(backend, false, |config| {
        let columns = vec![
            plain("body", Encoding::Bytes, "notes.body:{id}"),
            plain("title", Encoding::Base64, "notes.title:{id}"),
        ];
        config.tables = vec![table("notes", columns)];
    })
    .await;
    let blob = if site.is_postgres() { "bytea" } else { "blob" };
    site.sql(&format!("CREATE TABLE notes (id bigint PRIMARY KEY, body {blob}, title text)")).await;
    for id in 0..rows {
        site.run("INSERT INTO notes VALUES ($1, $2, $3)", vec![id.into(), body(id).into(), title(id).into()]).await;
    }
    site
}

/// Some look like the beginning of a cell, some are empty, some NULL.
fn body(id: i64) -> Option<Vec<u8>> {
    let bytes = [vec![1; (id % 60) as usize], format!("body {id}").into_bytes(), Vec::new()];
    (id % 11 != 0).then(|| bytes[id as usize % 3].clone())
}

fn title(id: i64) -> Option<String> {
    let texts = [format!("Grüße {id} 🦀"), "AQAAAAAA".repeat((id % 20) as usize), String::new()];
    (id % 13 != 0).then(|| texts[id as usize % 3].clone())
}

async fn all_native(site: &Site, rows: i64) {
    let keyset = site.keyset("default").await;
    for id in 0..rows {
        let cells = [
            ("body", Layout::NATIVE, body(id)),
            ("title", Layout { format: reseal_keyring::Format::Tink, ..TEXT }, title(id).map(String::into_bytes)),
        ];
        for (name, layout, value) in cells {
            let Some(value) = value else { continue };
            let stored = site.stored(&format!("SELECT {name} FROM notes WHERE id = $1"), vec![id.into()]).await;
            assert!(layout.is_under(keyset.active(), &stored), "{name} {id}");
            let place = format!("notes.{name}:{id}");
            assert_eq!(keyset.decrypt_from(layout, &stored, place.as_bytes()).unwrap()[..], value[..], "{place}");
        }
    }
}

pub(crate) async fn refused(site: &Site, sql: &str, values: Vec<Value>) -> String {
    let statement = Statement::from_sql_and_values(site.app.get_database_backend(), sql, values);
    site.app.execute_raw(statement).await.expect_err(sql).to_string()
}

async fn plaintexts_become_cells_and_no_plaintext_is_let_in_afterwards(backend: DbBackend) {
    let site = notes(backend, 130).await;
    let status = site.rotate().await;
    assert_eq!((status.rows, status.quarantined), (130, 0));
    all_native(&site, 130).await;
    for (sql, value) in [
        ("INSERT INTO notes (id, body) VALUES (900, $1)", Value::from(b"plain".to_vec())),
        ("INSERT INTO notes (id, title) VALUES (900, $1)", Value::from("plain")),
        ("UPDATE notes SET title = $1 WHERE id = 1", Value::from("")),
    ] {
        let refusal = refused(&site, sql, vec![value]).await;
        assert!(refusal.contains("takes only encrypted values"), "{refusal}");
    }
    site.sql("UPDATE notes SET title = NULL WHERE id = 1").await;
    let adopted = audit::Entity::find().filter(audit::Column::Action.eq("catalog.adopted"));
    assert_eq!(adopted.all(site.engine.ledger.db()).await.unwrap().len(), 2);
    let status = site.rotate().await;
    assert_eq!((status.state, status.quarantined), (RotationState::Completed, 0), "and rotated like any other");
}

/// A raw key in the keyset `default`, and a keyset that seals with it.
pub(crate) async fn raw_key(site: &Site) -> Keyset {
    let (key_id, dek) = (KeyId(77), Dek::from_slice(&[9; 16]).unwrap());
    let kek = reseal_keyring::kek::open(site.engine.config.kek.uri.expose()).unwrap();
    let key = ledger_keys::NewKey {
        key_id: 77,
        state: KeyState::Deactivated,
        algorithm: "AES128_GCM".into(),
        prefix: "raw".into(),
        kek_id: kek.id().to_owned(),
        wrapped_dek: kek.wrap("default", key_id, &dek).unwrap(),
    };
    let txn = site.engine.ledger.begin().await.unwrap();
    ledger_keys::insert(&txn, "tester", "default", key).await.unwrap();
    txn.commit().await.unwrap();
    site.engine.keyring.back_up("default").await.unwrap();
    let (algorithm, prefix) = (Algorithm::Aes128Gcm, Prefix::Raw);
    let info = KeyInfo { key_id, version: 1, state: reseal_keyring::KeyState::Active, algorithm, prefix };
    Keyset::new("default", vec![(info, Some(dek))]).unwrap()
}

/// `cells` with raw cells of 28 bytes and more, in bytes and in base64url.
async fn raw_cells(backend: DbBackend, rows: i64) -> Site {
    let site = Site::with(backend, false, |config| {
        let raw = |name: &str, encoding| Column { format: Format::RawAesGcm, ..encoded(name, encoding, "cells:{id}") };
        config.tables = vec![table("cells", vec![raw("a", Encoding::Bytes), raw("b", Encoding::Base64UrlUnpadded)])];
    })
    .await;
    let raw = raw_key(&site).await;
    let blob = if site.is_postgres() { "bytea" } else { "blob" };
    site.sql(&format!("CREATE TABLE cells (id bigint PRIMARY KEY, a {blob}, b text)")).await;
    for id in 0..rows {
        let (value, place) = (vec![b'r'; id as usize], format!("cells:{id}"));
        let a = raw.encrypt(&value, place.as_bytes());
        assert_eq!(a.len(), value.len() + 28, "nonce, ciphertext, tag and no header");
        let b = reseal_keyring::Encoding::Base64UrlUnpadded.encode(raw.encrypt(&value, place.as_bytes()));
        let b = String::from_utf8(b).unwrap();
        site.run("INSERT INTO cells VALUES ($1, $2, $3)", vec![id.into(), a.into(), b.into()]).await;
    }
    site
}

async fn raw_cells_become_native_and_the_raw_key_is_destroyed(backend: DbBackend) {
    let site = raw_cells(backend, 120).await;
    let status = site.rotate().await;
    assert_eq!((status.rows, status.quarantined), (120, 0));
    assert_eq!(status.old_keys.iter().map(|k| k.state).collect::<Vec<_>>(), [KeyState::Destroyed; 2]);
    let new = site.keyset("default").await;
    for id in 0..120_i64 {
        let a = site.stored("SELECT a FROM cells WHERE id = $1", vec![id.into()]).await;
        let b = site.stored("SELECT b FROM cells WHERE id = $1", vec![id.into()]).await;
        let b = reseal_keyring::Encoding::Base64UrlUnpadded.decode(&b).unwrap().into_owned();
        for cell in [a, b] {
            assert_eq!(new.decrypt(&cell, format!("cells:{id}").as_bytes()).unwrap().len(), id as usize);
        }
    }
    let proof = reseal_entities::ledger::prove::current(site.engine.ledger.db(), status.id).await.unwrap();
    assert!(proof[0].scope.contains("cells under key 77 name no key"), "{}", proof[0].scope);
}

async fn adopting_cut_off_anywhere_encrypts_nothing_twice(backend: DbBackend) {
    let mut site = notes(backend, 130).await;
    let id = site.request().await;
    site.complete_cut_off_anywhere(id).await;
    assert_eq!(site.status(id).await.quarantined, 0);
    all_native(&site, 130).await;
}

async fn a_cell_copied_into_a_plaintext_column_is_never_encrypted_again(backend: DbBackend) {
    let site = notes(backend, 30).await;
    let old = site.keyset("default").await;
    site.engine.keyring.create("tester", "other").await.unwrap();
    let other = site.keyset("other").await;
    // given cells of this and of another keyset that were copied from elsewhere
    let foreign = old.encrypt(b"of another row", b"messages.encrypted_content:3");
    let text = String::from_utf8(reseal_keyring::Encoding::Base64.encode(other.encrypt(b"other", b""))).unwrap();
    site.run("UPDATE notes SET body = $1 WHERE id = 7", vec![foreign.clone().into()]).await;
    site.run("UPDATE notes SET title = $1 WHERE id = 8", vec![text.clone().into()]).await;
    // and one that an application wrote here before
    let own = old.encrypt(b"already a cell", b"notes.body:9");
    site.run("UPDATE notes SET body = $1 WHERE id = 9", vec![own.into()]).await;

    let id = site.request().await;
    let status = site.drive(id, |s| s.needs_attention).await;

    assert_eq!(status.quarantined, 2);
    let mut found = quarantine::list(site.engine.ledger.db(), None, false, 9).await.unwrap();
    found.sort_by(|a, b| a.row_key.cmp(&b.row_key));
    let found: Vec<_> = found.iter().map(|f| (f.row_key.as_str(), f.code.as_str(), f.found_key_id.is_some())).collect();
    assert_eq!(found, [("7", "not_authentic", true), ("8", "unknown_key", true)]);
    assert_eq!(site.stored("SELECT body FROM notes WHERE id = 7", vec![]).await, foreign);
    assert_eq!(site.stored("SELECT title FROM notes WHERE id = 8", vec![]).await, text.into_bytes());
    let nine = site.stored("SELECT body FROM notes WHERE id = 9", vec![]).await;
    let new = site.keyset("default").await;
    assert_eq!(new.decrypt(&nine, b"notes.body:9").unwrap()[..], *b"already a cell");
    site.sql("UPDATE notes SET body = NULL WHERE id = 7").await;
    site.sql("UPDATE notes SET title = NULL WHERE id = 8").await;
    let txn = site.engine.ledger.begin().await.unwrap();
    reseal_entities::ledger::retry::retry(&txn, "tester", id, reseal_entities::ledger::retry::What::All).await.unwrap();
    txn.commit().await.unwrap();
    site.drive_to(id, RotationState::Completed).await;
}

async fn a_cell_under_a_key_that_only_the_backup_knows_is_not_taken_for_a_plaintext(backend: DbBackend) {
    let mut site = notes(backend, 30).await;
    let id = site.request().await;
    site.drive(id, |s| s.reencrypted > 20).await;
    // Last night's ledger comes back: it has never heard of the key that half of the rows are under.
    let fresh = site.another_database("restored").await;
    let ledger = reseal_entities::ledger::Ledger::connect(&fresh).await.unwrap();
    reseal_migration::migrate_ledger(ledger.db()).await.unwrap();
    ledger.identity().await.unwrap();
    let mut config = site.engine.config.clone();
    config.ledger.url = reseal_config::SecretUrl::new(&fresh);
    site.engine = reseal_engine::Engine::open(config, ledger, "restored".into()).await.unwrap().into();
    site.engine.keyring.create("tester", "default").await.unwrap();
    let id = site.request().await;
    let status = site.drive(id, |s| s.code.is_some()).await;
    assert_eq!((status.code.as_deref(), status.new_key.is_none()), (Some("source_owned"), true));
    let accept = async || reseal_engine::check::accept_source(&site.engine, "tester", "app").await;
    assert_eq!(accept().await.unwrap_err().code(), "keys_to_recover");
    assert_eq!(site.engine.keyring.recover("tester").await.unwrap().len(), 2);
    accept().await.unwrap();
    site.drive_to(id, RotationState::Completed).await;
    all_native(&site, 30).await;
}

async fn the_next_rotation_lets_its_key_in_before_anybody_writes_with_it(backend: DbBackend) {
    let site = notes(backend, 60).await;
    site.rotate().await;
    let first = site.keyset("default").await;
    let write = async |keyset: &Keyset, id: i64| {
        let cell = keyset.encrypt(b"new", format!("notes.body:{id}").as_bytes());
        let insert = "INSERT INTO notes (id, body) VALUES ($1, $2)";
        let statement = Statement::from_sql_and_values(backend, insert, [id.into(), cell.into()]);
        site.app.execute_raw(statement).await
    };
    let id = site.request().await;
    site.drive(id, |s| s.new_key.as_ref().is_some_and(|k| k.state == KeyState::Active)).await;
    // when the key is promoted, both its writers and those who have not heard of it are let in
    let second = site.keyset("default").await;
    assert_ne!(first.active(), second.active());
    write(&second, 1_000).await.expect("a cell under the new key");
    write(&first, 1_001).await.expect("a writer that has not reloaded yet");
    let plain = refused(&site, "INSERT INTO notes (id, body) VALUES (1002, $1)", vec![b"plain".to_vec().into()]).await;
    assert!(plain.contains("takes only encrypted values"), "{plain}");
    site.drive_to(id, RotationState::Completed).await;
    assert!(write(&first, 1_003).await.is_err());
    all_native(&site, 60).await;
}

async fn a_damaged_cell_of_an_adopted_column_is_quarantined_and_not_encrypted_again(backend: DbBackend) {
    let site = notes(backend, 30).await;
    site.rotate().await;
    let fences = reseal_engine::operate::fences(&site.engine).await.unwrap();
    for fence in &fences {
        reseal_engine::operate::remove_fence(&site.engine, "tester", &fence.column).await.unwrap();
    }
    let mut cell = site.stored("SELECT body FROM notes WHERE id = 7", vec![]).await;
    cell[2] ^= 1;
    site.run("UPDATE notes SET body = $1 WHERE id = 7", vec![cell.clone().into()]).await;
    site.run("UPDATE notes SET body = $1 WHERE id = 8", vec![b"plain".to_vec().into()]).await;
    let id = site.request().await;
    let status = site.drive(id, |s| s.needs_attention).await;
    assert_eq!(status.quarantined, 2);
    assert_eq!(site.stored("SELECT body FROM notes WHERE id = 7", vec![]).await, cell);
    assert_eq!(site.stored("SELECT body FROM notes WHERE id = 8", vec![]).await, b"plain");
}

async fn a_column_of_another_keyset_that_nobody_adopted_yet_does_not_block_the_proof(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    let truth = site.seed(30).await;
    site.engine.keyring.create("tester", "later").await.unwrap();
    let blob = if site.is_postgres() { "bytea" } else { "blob" };
    site.sql(&format!("CREATE TABLE drafts (id bigint PRIMARY KEY, c {blob})")).await;
    site.run("INSERT INTO drafts VALUES (1, $1)", vec![b"not encrypted".to_vec().into()]).await;
    let mut config = site.engine.config.clone();
    let drafts = Column { keyset: "later".into(), ..plain("c", Encoding::Bytes, "drafts:{id}") };
    config.tables.push(table("drafts", vec![drafts]));
    let ledger = site.engine.ledger.clone();
    site.engine = reseal_engine::Engine::open(config, ledger, "w2".into()).await.unwrap().into();
    let old = site.keyset("default").await;
    // A cell under the retired key in it does block.
    site.run("INSERT INTO drafts VALUES (2, $1)", vec![old.encrypt(b"copy", b"").into()]).await;
    let id = site.request().await;
    let status = site.drive(id, |s| s.code.as_deref() == Some("proof_blocked")).await;
    assert!(status.detail.unwrap().contains("drafts.c holds 1 cells under the retired key"));
    site.sql("DELETE FROM drafts WHERE id = 2").await;
    site.ledger_sql("UPDATE reseal_rotations SET step_due_at = 0, next_ring_at = 0").await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
    assert_eq!(site.stored("SELECT c FROM drafts WHERE id = 1", vec![]).await, b"not encrypted");
}

async fn the_configuration_may_go_on_calling_an_adopted_column_what_it_was(backend: DbBackend) {
    let mut site = notes(backend, 10).await;
    let native = |site: &Site| {
        let mut config = site.engine.config.clone();
        config.tables[0].columns[0] = column("body", "notes.body:{id}");
        config
    };
    plan::register(&site.engine).await.unwrap();
    let early = reseal_engine::Engine::open(native(&site), site.engine.ledger.clone(), "w".into()).await.unwrap();
    assert_eq!(plan::register(&early).await.unwrap_err().code(), "catalog_conflict", "it is not native yet");
    site.rotate().await;
    plan::register(&site.engine).await.unwrap();
    let (config, ledger) = (native(&site), site.engine.ledger.clone());
    site.engine = reseal_engine::Engine::open(config, ledger, "w2".into()).await.unwrap().into();
    plan::register(&site.engine).await.unwrap();
    let refusal = refused(&site, "UPDATE notes SET body = $1 WHERE id = 1", vec![b"plain".to_vec().into()]).await;
    assert!(refusal.contains("takes only encrypted values"), "{refusal}");
}

async fn a_value_that_is_no_raw_cell_is_quarantined(backend: DbBackend) {
    let site = raw_cells(backend, 10).await;
    site.run("UPDATE cells SET a = $1 WHERE id = 3", vec![vec![5_u8; 40].into()]).await;
    site.run("UPDATE cells SET a = $1 WHERE id = 4", vec![b"".to_vec().into()]).await;
    site.run("UPDATE cells SET b = $1 WHERE id = 5", vec!["not base64".into()]).await;
    let id = site.request().await;
    let status = site.drive(id, |s| s.needs_attention && s.quarantined == 3).await;
    assert_eq!(status.quarantined, 3);
    let mut found = quarantine::list(site.engine.ledger.db(), None, false, 9).await.unwrap();
    found.sort_by(|a, b| a.row_key.cmp(&b.row_key));
    let found: Vec<_> = found.iter().map(|f| (f.row_key.as_str(), f.code.as_str())).collect();
    assert_eq!(found, [("3", "not_authentic"), ("4", "not_authentic"), ("5", "cell_not_base64")]);
}
