//! What would have cost data, each found by a reviewer who tried it.

use crate::{
    adoption::{TEXT, notes, plain, raw_key, refused},
    on_every_database,
    schemas::{encoded, keyed},
    site::{Site, column, table},
};
use reseal_config::{Column, Config, Encoding, Format};
use reseal_engine::{Engine, check, operate, plan};
use reseal_entities::{
    catalog,
    ledger::{Ledger, catalog as ledger_catalog, keys as ledger_keys, open::Request, prove, quarantine, scope},
    state::{KeyState, RotationState},
};
use reseal_keyring::{KeyInfo, Keyset, Prefix};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait};
use std::time::Duration;

on_every_database! {
    a_trigger_that_changes_a_value_stops_the_rotation_before_anything_is_lost,
    a_ledger_from_before_an_adoption_ends_its_rotation_and_stops_no_update,
    a_cell_damaged_while_its_rotation_waits_is_not_taken_for_a_plaintext,
    cells_inside_values_that_are_to_be_adopted_keep_their_key,
    a_raw_cell_in_a_plaintext_column_is_not_encrypted_and_keeps_its_key,
    an_adopted_column_that_was_forgotten_comes_back_with_its_fence,
    only_columns_that_were_counted_are_noted_as_adopted,
    a_keyset_of_raw_keys_only_is_proved_and_cleared,
}

impl Site {
    pub(crate) async fn reopen(&mut self, adjust: impl FnOnce(&mut Config)) {
        let (mut config, ledger) = (self.engine.config.clone(), self.engine.ledger.clone());
        adjust(&mut config);
        self.engine = Engine::open(config, ledger, "reopened".into()).await.unwrap().into();
    }

    pub(crate) fn blob_type(&self) -> &'static str {
        if self.is_postgres() { "bytea" } else { "blob" }
    }

    async fn codes(&self) -> Vec<String> {
        let found = quarantine::list(self.engine.ledger.db(), None, false, 99).await.unwrap();
        found.into_iter().map(|f| f.code).collect()
    }
}

async fn a_trigger_that_changes_a_value_stops_the_rotation_before_anything_is_lost(backend: DbBackend) {
    let triggers: &[&str] = if backend == DbBackend::Postgres {
        &[
            "CREATE TRIGGER low BEFORE INSERT OR UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION low()",
            "CREATE TRIGGER low AFTER UPDATE ON notes FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION low_after()",
            "CREATE CONSTRAINT TRIGGER low AFTER UPDATE ON notes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
             WHEN (NEW.title IS DISTINCT FROM lower(NEW.title)) EXECUTE FUNCTION low_after()",
        ]
    } else {
        &[
            "CREATE TRIGGER low AFTER UPDATE OF title ON notes BEGIN UPDATE notes SET title = lower(NEW.title) WHERE id = NEW.id; END",
            "CREATE TRIGGER low AFTER UPDATE OF title ON NOTES BEGIN UPDATE notes SET title = lower(NEW.title) WHERE id = NEW.id; END",
            "CREATE TRIGGER low AFTER UPDATE ON \"Notes\" BEGIN INSERT INTO log VALUES (NEW.id); END; \
             CREATE TRIGGER log AFTER INSERT ON log BEGIN UPDATE notes SET title = lower(title) WHERE id = NEW.id; END",
        ]
    };
    for trigger in triggers {
        let site = notes(backend, 30).await;
        if site.is_postgres() {
            site.sql("CREATE FUNCTION low() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.title = lower(NEW.title); RETURN NEW; END $$")
                .await;
            site.sql("CREATE FUNCTION low_after() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE notes SET title = lower(NEW.title) WHERE id = NEW.id; RETURN NULL; END $$")
                .await;
        }
        site.sql("CREATE TABLE log (id bigint)").await;
        site.run("UPDATE notes SET title = $1 WHERE id = 1", vec!["Someone@Example.org".into()]).await;
        site.sql(trigger).await;
        let id = site.request().await;
        let code = "SELECT count(*) FROM reseal_batches WHERE code = 'value_altered'";
        for _ in 0..200 {
            site.dispatch().await;
            while let Some(job) = site.next_job() {
                let _ = site.perform(&job).await;
            }
            if site.ledger_count(code).await > 0 {
                break;
            }
        }
        assert!(site.ledger_count(code).await > 0, "{trigger}: {:#?}", site.status(id).await);
        let title = site.stored("SELECT title FROM notes WHERE id = 1", vec![]).await;
        assert_eq!(title, b"Someone@Example.org", "{trigger}");
        // and once the trigger is gone it goes on
        site.sql(if site.is_postgres() {
            "DROP TRIGGER low ON notes"
        } else {
            "DROP TRIGGER low; DROP TRIGGER IF EXISTS log"
        })
        .await;
        site.end_pauses().await;
        site.drive_to(id, RotationState::Completed).await;
        let stored = site.stored("SELECT title FROM notes WHERE id = 1", vec![]).await;
        let opened = site.keyset("default").await.decrypt_from(TEXT, &stored, b"notes.title:1").unwrap();
        assert_eq!(opened[..], *b"Someone@Example.org");
    }
}

async fn a_ledger_from_before_an_adoption_ends_its_rotation_and_stops_no_update(backend: DbBackend) {
    let mut site = notes(backend, 30).await;
    site.rotate().await;
    let fresh = site.another_database("restored").await;
    let ledger = Ledger::connect(&fresh).await.unwrap();
    reseal_migration::migrate_ledger(ledger.db()).await.unwrap();
    ledger.identity().await.unwrap();
    let mut config = site.engine.config.clone();
    config.ledger.url = reseal_config::SecretUrl::new(&fresh);
    site.engine = Engine::open(config, ledger, "restored".into()).await.unwrap().into();
    site.engine.keyring.create("tester", "default").await.unwrap();
    assert_eq!(site.engine.keyring.recover("tester").await.unwrap().len(), 1);
    // The source says that another ledger was here last: a person says that this one takes over.
    check::accept_source(&site.engine, "tester", "app").await.unwrap();
    let id = site.request().await;
    site.drive(id, |s| s.new_key.as_ref().is_some_and(|k| k.state == KeyState::Active)).await;
    site.sql("UPDATE notes SET id = 1000 WHERE id = 0").await; // every cell of it NULL
    site.sql("UPDATE notes SET body = NULL WHERE id = 1").await;
    site.drive_to(id, RotationState::Completed).await;
}

async fn a_cell_damaged_while_its_rotation_waits_is_not_taken_for_a_plaintext(backend: DbBackend) {
    let site = Site::with(backend, false, |config| {
        config.rotation.clear_after = Some(Duration::from_secs(3_600));
        config.tables = vec![table("notes", vec![plain("body", Encoding::Bytes, "notes.body:{id}")])];
    })
    .await;
    site.sql(&format!("CREATE TABLE notes (id bigint PRIMARY KEY, body {})", site.blob_type())).await;
    for id in 1..=5_i64 {
        site.run("INSERT INTO notes VALUES ($1, $2)", vec![id.into(), b"value".to_vec().into()]).await;
    }
    let id = site.request().await;
    site.drive_to(id, RotationState::Waiting).await;
    let schema = if site.is_postgres() { "public" } else { "main" };
    site.engine.source("app").unwrap().unfence(schema, "notes", "body").await.unwrap();
    let mut cell = site.stored("SELECT body FROM notes WHERE id = 3", vec![]).await;
    cell[2] ^= 1;
    site.run("UPDATE notes SET body = $1 WHERE id = 3", vec![cell.clone().into()]).await;
    site.ledger_sql("UPDATE reseal_rotations SET waited_ms = clear_after_ms, step_due_at = 0, next_ring_at = 0").await;
    site.drive_to(id, RotationState::Proving).await;
    site.drive(id, |s| s.quarantined == 1).await;
    assert_eq!(site.stored("SELECT body FROM notes WHERE id = 3", vec![]).await, cell, "it was left as it is");
}

async fn cells_inside_values_that_are_to_be_adopted_keep_their_key(backend: DbBackend) {
    use base64::Engine as _;
    for keyset in ["later", "default"] {
        let mut site = Site::new(backend).await;
        site.seed(30).await;
        site.engine.keyring.create("tester", "later").await.unwrap();
        site.sql("CREATE TABLE audit_log (id bigint PRIMARY KEY, c text)").await;
        let copy = base64::engine::general_purpose::STANDARD.encode(site.message(9).await);
        site.run("INSERT INTO audit_log VALUES (1, $1)", vec![format!("{{\"old\": \"{copy}\"}}").into()]).await;
        site.reopen(|config| {
            let log = Column { keyset: keyset.into(), ..plain("c", Encoding::Base64, "audit_log:{id}") };
            config.tables.push(table("audit_log", vec![log]));
        })
        .await;
        let id = site.request().await;
        let status = site.drive(id, |s| s.needs_attention).await;
        if keyset == "default" {
            assert_eq!(site.codes().await, ["cell_inside"]);
        } else {
            assert!(
                status.detail.unwrap().contains("audit_log.c is to be adopted and holds 1 cells under the retired key")
            );
        }
        assert_eq!(status.old_key_state, Some(KeyState::Deactivated));
        site.sql("DELETE FROM audit_log").await;
        let txn = site.engine.ledger.begin().await.unwrap();
        reseal_entities::ledger::retry::retry(&txn, "t", id, reseal_entities::ledger::retry::What::All).await.unwrap();
        txn.commit().await.unwrap();
        site.drive_to(id, RotationState::Completed).await;
    }
}

async fn a_raw_cell_in_a_plaintext_column_is_not_encrypted_and_keeps_its_key(backend: DbBackend) {
    let site = Site::with(backend, false, |config| {
        config.tables = vec![table("cells", vec![plain("a", Encoding::Bytes, "cells:{id}")])];
    })
    .await;
    let raw = raw_key(&site).await;
    site.sql(&format!("CREATE TABLE cells (id bigint PRIMARY KEY, a {})", site.blob_type())).await;
    let cell = raw.encrypt(b"secret", b"cells:1");
    site.run("INSERT INTO cells VALUES (1, $1)", vec![cell.clone().into()]).await;
    let findings = check::check(&site.engine).await.unwrap();
    assert!(findings.columns[0].unreadable[0].contains("raw_cell"), "{findings:#?}");
    assert!(!findings.can_rotate(), "none of its sampled values opens");
    let id = site.request().await;
    plan::register(&site.engine).await.unwrap();
    site.drive(id, |s| s.quarantined == 1).await;
    assert_eq!(site.codes().await, ["raw_cell"]);
    assert_eq!(site.stored("SELECT a FROM cells WHERE id = 1", vec![]).await, cell);
}

async fn an_adopted_column_that_was_forgotten_comes_back_with_its_fence(backend: DbBackend) {
    let mut site = notes(backend, 30).await;
    site.rotate().await;
    let db = site.engine.ledger.db().clone();
    for column in catalog::Entity::find().all(&db).await.unwrap() {
        let txn = site.engine.ledger.begin().await.unwrap();
        ledger_catalog::forget(&txn, "tester", &column).await.unwrap();
        txn.commit().await.unwrap();
    }
    site.reopen(|config| {
        let columns = vec![column("body", "notes.body:{id}"), encoded("title", Encoding::Base64, "notes.title:{id}")];
        config.tables = vec![table("notes", columns)];
    })
    .await;
    let id = site.request().await;
    site.drive(id, |s| s.new_key.as_ref().is_some_and(|k| k.state == KeyState::Active)).await;
    let new = site.keyset("default").await;
    site.run("INSERT INTO notes (id, body) VALUES (900, $1)", vec![new.encrypt(b"x", b"notes.body:900").into()]).await;
    site.drive_to(id, RotationState::Completed).await;
    let refusal = refused(&site, "UPDATE notes SET body = $1 WHERE id = 900", vec![b"plain".to_vec().into()]).await;
    assert!(refusal.contains("takes only encrypted values"), "{refusal}");
    // a fence can be taken down whatever the catalog says of its column
    let body = catalog::Entity::find().all(&db).await.unwrap().into_iter().find(|c| c.column_name == "body").unwrap();
    let txn = site.engine.ledger.begin().await.unwrap();
    ledger_catalog::forget(&txn, "tester", &body).await.unwrap();
    txn.commit().await.unwrap();
    operate::remove_fence(&site.engine, "tester", "notes.body").await.unwrap();
    site.run("UPDATE notes SET body = $1 WHERE id = 900", vec![b"plain".to_vec().into()]).await;
}

async fn only_columns_that_were_counted_are_noted_as_adopted(backend: DbBackend) {
    let mut site = notes(backend, 5).await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Proving).await;
    site.sql("CREATE TABLE more (id bigint PRIMARY KEY, c text)").await;
    site.reopen(|config| config.tables.push(table("more", vec![plain("c", Encoding::Base64, "more:{id}")]))).await;
    plan::register(&site.engine).await.unwrap();
    let rotation = site.rotation(id).await;
    let covered = scope::now(site.engine.ledger.db()).await.unwrap();
    let txn = site.engine.ledger.begin().await.unwrap();
    prove::record_if_held(&txn, "tester", &rotation, &[], &covered).await.unwrap();
    txn.commit().await.unwrap();
    let columns = catalog::Entity::find().all(site.engine.ledger.db()).await.unwrap();
    assert!(columns.iter().all(|c| c.adopted_at.is_none()), "{columns:#?}");
}

async fn a_keyset_of_raw_keys_only_is_proved_and_cleared(backend: DbBackend) {
    let site = Site::with(backend, false, |config| {
        let raw = |name: &str, encoding| Column {
            keyset: "theirs".into(),
            format: Format::RawAesGcm,
            ..encoded(name, encoding, "cells:{id}")
        };
        config.tables = vec![table("cells", vec![raw("a", Encoding::Bytes)])];
    })
    .await;
    let hex = [b"09".repeat(32).as_slice(), b"\n"].concat();
    let (imported, dek) = reseal_keyring::raw_key::import(&hex).unwrap();
    let key_id = imported.key_id;
    site.engine.keyring.import("tester", "theirs", &[(imported, dek)], "raw").await.unwrap();
    let info = KeyInfo { prefix: Prefix::Raw, ..KeyInfo::native(key_id, 1, reseal_keyring::KeyState::Active) };
    let dek = reseal_keyring::Dek::from_slice(&[9; 32]).unwrap();
    let theirs = Keyset::new("theirs", vec![(info, Some(dek))]).unwrap();
    site.sql(&format!(
        "CREATE TABLE cells (id bigint PRIMARY KEY, a {0}); CREATE TABLE other (id bigint, t text, u {0})",
        site.blob_type()
    ))
    .await;
    site.sql("INSERT INTO other VALUES (1, 'hello', NULL)").await;
    site.run("INSERT INTO cells VALUES (1, $1)", vec![theirs.encrypt(b"secret", b"cells:1").into()]).await;
    let (to, _) = site.engine.keyring.create("tester", "theirs").await.unwrap();
    ledger_keys::mark_published(site.engine.ledger.db(), &[to]).await.unwrap();
    let request = Request {
        keyset: "theirs".into(),
        to_key_id: Some(to),
        actor: "tester".into(),
        reason: None,
        idempotency_key: None,
        clear_after_ms: 0,
        writer_ttl_ms: 0,
        batch_rows: 50,
        needs_approval: false,
        limits: Default::default(),
    };
    let opened = reseal_producer::enqueue(&site.engine.ledger, None, &request).await.unwrap();
    let reseal_entities::ledger::open::Opened::Created(id) = opened else { panic!("{opened:?}") };
    let status = site.drive_to(id, RotationState::Completed).await;
    assert_eq!(status.old_key_state, Some(KeyState::Destroyed));
    // a writer that goes on with the raw key is refused, also in a column that says tink
    let late =
        refused(&site, "INSERT INTO cells VALUES (2, $1)", vec![theirs.encrypt(b"late", b"cells:2").into()]).await;
    assert!(late.contains("takes only"), "{late}");
}

/// One database's own.
mod own {
    use super::*;
    use crate::site::{Postgres, Sqlite};
    use sea_orm::Statement;

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_of_sqlite_are_told_apart_by_their_primary_keys_collation() {
        let site = Site::with(Sqlite, false, |config| {
            config.tables = vec![keyed("n", &["name"], vec![plain("body", Encoding::Bytes, "n.body:{name}")])];
        })
        .await;
        site.sql("CREATE TABLE n (name text COLLATE NOCASE, body blob, PRIMARY KEY (name COLLATE BINARY))").await;
        let names = ["a", "A", "b", "B", "c"];
        for name in names {
            site.run("INSERT INTO n VALUES ($1, $2)", vec![name.into(), b"same".to_vec().into()]).await;
        }
        let status = site.rotate().await;
        assert_eq!((status.rows, status.quarantined), (5, 0));
        let keyset = site.keyset("default").await;
        for name in names {
            let cell = site.stored("SELECT body FROM n WHERE name = $1 COLLATE BINARY", vec![name.into()]).await;
            assert_eq!(keyset.decrypt(&cell, format!("n.body:{name}").as_bytes()).unwrap()[..], *b"same", "{name}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_key_of_sqlite_that_is_null_or_of_another_type_is_refused_by_name() {
        let site = Site::with(Sqlite, false, |config| {
            config.tables = vec![keyed("n", &["name"], vec![column("c", "n:{name}")])];
        })
        .await;
        site.sql("CREATE TABLE n (name text PRIMARY KEY, c blob)").await;
        let old = site.keyset("default").await;
        site.run("INSERT INTO n VALUES (NULL, $1)", vec![old.encrypt(b"v", b"n:").into()]).await;
        let found = check::check(&site.engine).await.map(|f| f.can_rotate());
        let code = found.as_ref().err().map(|e| e.code());
        assert_eq!(code, Some("key_malformed"), "{found:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_database_that_writes_bytes_as_escapes_hides_nothing_from_the_proof() {
        let mut site = Site::new(Postgres).await;
        let truth = site.seed(20).await;
        let row = site.app.query_one_raw(Statement::from_string(Postgres, "SELECT current_database()::text")).await;
        let name: String = row.unwrap().unwrap().try_get_by_index(0).unwrap();
        site.sql(&format!("ALTER DATABASE \"{name}\" SET bytea_output = 'escape'")).await;
        site.sql("CREATE DOMAIN stored AS bytea; CREATE TABLE history (id bigint, c stored)").await;
        site.sql("INSERT INTO history SELECT id, encrypted_content FROM messages WHERE id = 1").await;
        site.restart("w2").await;
        let id = site.request().await;
        let status = site.drive(id, |s| s.code.as_deref() == Some("proof_blocked")).await;
        assert!(status.detail.unwrap().contains("history.c is not registered and holds 1 cells"));
        site.sql("DELETE FROM history").await;
        site.ledger_sql("UPDATE reseal_rotations SET step_due_at = 0, next_ring_at = 0").await;
        site.drive_to(id, RotationState::Completed).await;
        assert_eq!(site.read_all().await, truth);
    }
}
