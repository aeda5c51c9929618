//! What people and their databases do wrong, and how a rotation comes through it.

use crate::{
    on_every_database,
    site::{Site, column},
};
use reseal_config::SecretUrl;
use reseal_engine::{
    Engine, EngineError, check,
    keys::Keyring,
    operate::{self, DeleteRow, GiveUp, Resolved},
};
use reseal_entities::{
    job::{Job, JobKind},
    ledger::{catalog, keys as ledger_keys, quarantine, retry},
    state::{KeyState, RotationState},
};
use reseal_keyring::{Keyset, KeysetFormat, tink};
use sea_orm::DbBackend;

on_every_database! {
    a_row_that_turns_bad_while_proving_is_retried_by_the_sweep,
    bytes_that_were_kept_are_never_overwritten,
    bytes_that_were_kept_before_a_death_are_never_overwritten,
    one_value_that_is_given_up_twice_is_kept_once,
    giving_a_value_up_never_deletes_its_row,
    a_row_is_deleted_only_by_its_name_and_with_every_table_named_that_changes_with_it,
    a_column_registered_while_proving_is_planned_and_rotated,
    a_wrong_kek_is_refused_before_it_wraps_anything,
    a_typo_in_the_configuration_is_not_registered,
    a_dropped_table_is_forgotten_and_the_rest_rotates,
    keys_made_at_once_leave_one_active,
    a_copy_of_the_source_is_not_taken_for_it,
    an_export_before_the_promotion_must_have_the_new_key,
    copies_in_other_clothes_block_the_proof_by_name,
    the_fence_of_a_renamed_column_can_be_removed,
}

async fn bad_row(site: &Site) -> i64 {
    site.set_message(9, Some(b"broken".to_vec())).await.unwrap();
    let id = site.request().await;
    site.drive(id, |s| s.quarantined == 1 && s.rows_done == s.rows).await;
    id
}

async fn quarantined(site: &Site, id: i64) -> reseal_entities::quarantine::Model {
    quarantine::list(site.engine.ledger.db(), Some(id), true, 10).await.unwrap().remove(0)
}

/// A good value under the new key.
async fn mend(site: &Site) {
    site.engine.keyring.forget();
    let keyset = site.engine.keyring.keyset("default").await.unwrap();
    site.set_message(9, Some(keyset.encrypt(b"mended", b"messages.encrypted_content:9"))).await.unwrap();
}

async fn a_row_that_turns_bad_while_proving_is_retried_by_the_sweep(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(30).await;
    let id = bad_row(&site).await;
    mend(&site).await;
    operate::resolve(&site.engine, "tester", quarantined(&site, id).await.id, GiveUp::No, None).await.unwrap();
    site.set_message(9, Some(b"broken again".to_vec())).await.unwrap();
    let status = site.drive(id, |s| s.quarantined == 1).await;
    assert_eq!(status.state, RotationState::Proving);
    mend(&site).await;
    let txn = site.engine.ledger.begin().await.unwrap();
    retry::retry(&txn, "tester", id, retry::What::All).await.unwrap();
    txn.commit().await.unwrap();
    site.drive_to(id, RotationState::Completed).await;
}

async fn bytes_that_were_kept_are_never_overwritten(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(30).await;
    let id = bad_row(&site).await;
    let first = quarantined(&site, id).await.id;
    operate::resolve(&site.engine, "tester", first, GiveUp::ToNull, Some("lost")).await.unwrap();
    site.set_message(9, Some(b"bad write".to_vec())).await.unwrap();
    site.drive(id, |s| s.quarantined == 1).await;
    let second = quarantined(&site, id).await.id;
    assert_ne!(first, second);
    operate::resolve(&site.engine, "tester", second, GiveUp::ToNull, Some("lost too")).await.unwrap();
    site.drive_to(id, RotationState::Completed).await;
    let rows = quarantine::list(site.engine.ledger.db(), Some(id), true, 10).await.unwrap();
    let kept: Vec<_> = rows.into_iter().map(|r| r.abandoned_cell.unwrap()).collect();
    assert_eq!(kept, [b"bad write".to_vec(), b"broken".to_vec()]);
}

/// Gives the value of the quarantined row 9 up, and dies when it is NULL in the source and the ledger does not know.
async fn abandon_and_die(site: &Site, row: &reseal_entities::quarantine::Model, bytes: &[u8]) {
    let txn = site.engine.ledger.begin().await.unwrap();
    quarantine::keep_bytes_if_unresolved(&txn, "tester", row, bytes.to_vec()).await.unwrap();
    txn.commit().await.unwrap();
    site.set_message(9, None).await.unwrap();
}

async fn kept(site: &Site, id: i64) -> Vec<Vec<u8>> {
    let rows = quarantine::list(site.engine.ledger.db(), Some(id), true, 10).await.unwrap();
    rows.into_iter().filter_map(|r| r.abandoned_cell).collect()
}

async fn bytes_that_were_kept_before_a_death_are_never_overwritten(backend: DbBackend) {
    // Looked at after the death and found NULL: by a person, by a sweep, or by nobody before it turns bad again.
    for seen_by in ["a person", "a sweep", "nobody"] {
        let site = Site::new(backend).await;
        site.seed(30).await;
        let id = bad_row(&site).await;
        let first = quarantined(&site, id).await;
        abandon_and_die(&site, &first, b"broken").await;
        match seen_by {
            "a person" => {
                operate::resolve(&site.engine, "tester", first.id, GiveUp::No, None).await.unwrap();
            }
            "a sweep" => {
                let txn = site.engine.ledger.begin().await.unwrap();
                quarantine::look_again(&txn, first.planned_table_id).await.unwrap();
                quarantine::settle_table(&txn, first.planned_table_id).await.unwrap();
                txn.commit().await.unwrap();
            }
            _ => {}
        }
        site.set_message(9, Some(b"bad write".to_vec())).await.unwrap();
        site.drive(id, |s| s.quarantined == 1).await;
        let second = quarantined(&site, id).await.id;
        operate::resolve(&site.engine, "tester", second, GiveUp::ToNull, Some("lost too")).await.unwrap();
        assert_eq!(kept(&site, id).await, [b"bad write".to_vec(), b"broken".to_vec()], "seen by {seen_by}");
        site.drive_to(id, RotationState::Completed).await;
    }
}

async fn one_value_that_is_given_up_twice_is_kept_once(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(30).await;
    let id = bad_row(&site).await;
    let row = quarantined(&site, id).await;
    abandon_and_die(&site, &row, b"broken").await;
    site.set_message(9, Some(b"broken".to_vec())).await.unwrap();
    operate::resolve(&site.engine, "tester", row.id, GiveUp::ToNull, Some("lost")).await.unwrap();
    assert_eq!(kept(&site, id).await, [b"broken".to_vec()]);
    site.drive_to(id, RotationState::Completed).await;
}

fn keep_nothing(_: &str) -> Result<String, EngineError> {
    panic!("nothing was to be kept")
}

/// One broken row in a table whose column takes no NULL, or does, with comments that hang on it.
async fn broken_note(backend: DbBackend, not_null: &str) -> (Site, i64, i64) {
    let site = Site::new(backend).await;
    let postgres = backend == DbBackend::Postgres;
    let (blob, broken) = if postgres { ("bytea", "'broken'::bytea") } else { ("blob", "CAST('broken' AS BLOB)") };
    site.sql(&format!(
        "DROP TABLE messages; \
         CREATE TABLE messages (id bigint PRIMARY KEY, encrypted_content {blob} {not_null}, created_at bigint, title text); \
         CREATE TABLE comments (id bigint PRIMARY KEY, note bigint REFERENCES messages (id) ON DELETE CASCADE); \
         CREATE TABLE likes (id bigint PRIMARY KEY, comment bigint REFERENCES comments (id) ON DELETE CASCADE, \
                             note bigint REFERENCES messages (id) ON DELETE SET NULL); \
         CREATE TABLE history (note bigint, body {blob} NOT NULL); \
         INSERT INTO messages VALUES (9, {broken}, 0, 'keep me')"
    ))
    .await;
    site.sql("INSERT INTO comments VALUES (1, 9), (2, 9), (3, NULL)").await;
    site.sql("INSERT INTO likes VALUES (1, 1, NULL), (2, 3, 9), (3, 3, NULL)").await;
    let id = site.request().await;
    site.drive(id, |s| s.quarantined == 1 && s.rows_done == s.rows).await;
    let row = quarantined(&site, id).await.id;
    (site, id, row)
}

async fn counts(site: &Site) -> [i64; 3] {
    let mut found = [0; 3];
    for (n, table) in found.iter_mut().zip(["messages", "comments", "likes"]) {
        *n = site.count(&format!("SELECT count(*) FROM {table}")).await;
    }
    found
}

async fn giving_a_value_up_never_deletes_its_row(backend: DbBackend) {
    // a column that takes no NULL
    let (site, _, row) = broken_note(backend, "NOT NULL").await;
    let refused = operate::resolve(&site.engine, "tester", row, GiveUp::ToNull, Some("lost")).await.unwrap_err();
    assert_eq!((refused.code(), counts(&site).await), ("column_takes_no_null", [1, 3, 3]), "{refused}");
    // one that takes it, while another table's NOT NULL refuses it
    let (site, id, row) = broken_note(backend, "").await;
    let history = "INSERT INTO history VALUES (NEW.id, NEW.encrypted_content)";
    site.sql(&if backend == DbBackend::Postgres {
        format!(
            "CREATE FUNCTION h() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {history}; RETURN NEW; END $$; \
             CREATE TRIGGER h AFTER UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION h()"
        )
    } else {
        format!("CREATE TRIGGER h AFTER UPDATE ON messages BEGIN {history}; END")
    })
    .await;
    let refused = operate::resolve(&site.engine, "tester", row, GiveUp::ToNull, Some("lost")).await.unwrap_err();
    assert_eq!((refused.code(), counts(&site).await), ("write_refused", [1, 3, 3]), "{refused}");
    site.sql(if backend == DbBackend::Postgres { "DROP TRIGGER h ON messages" } else { "DROP TRIGGER h" }).await;
    let done = operate::resolve(&site.engine, "tester", row, GiveUp::ToNull, Some("lost")).await.unwrap();
    assert_eq!((done, counts(&site).await), (Resolved::Abandoned, [1, 3, 3]));
    assert_eq!(quarantined(&site, id).await.abandoned_cell.as_deref(), Some(&b"broken"[..]));
}

async fn a_row_is_deleted_only_by_its_name_and_with_every_table_named_that_changes_with_it(backend: DbBackend) {
    let (site, id, row) = broken_note(backend, "NOT NULL").await;
    let delete = async |confirm: Option<&str>,
                        cascade: &[&str],
                        keep: &(dyn Fn(&str) -> Result<String, EngineError> + Send + Sync)| {
        let cascade: Vec<String> = cascade.iter().map(|c| (*c).to_owned()).collect();
        let how = GiveUp::WithItsRow(DeleteRow { confirm, cascade: &cascade, keep });
        operate::resolve(&site.engine, "tester", row, how, Some("lost")).await
    };
    for (confirm, cascade, code) in [
        (None, &["comments", "likes"][..], "not_confirmed"),
        (Some("10"), &["comments", "likes"], "not_confirmed"),
        (Some("9"), &["comments"], "deletion_cascades"),
        (Some("9"), &[], "deletion_cascades"),
    ] {
        let refused = delete(confirm, cascade, &keep_nothing).await.unwrap_err();
        assert_eq!((refused.code(), counts(&site).await), (code, [1, 3, 3]), "{refused}");
        let said = refused.to_string();
        for part in ["row 9 of app:", "2 deleted in ", ".comments", "1 deleted", ".likes", "--confirm 9"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    // a row that cannot be kept is not deleted
    let full = |_: &str| Err(EngineError::refused("row_not_kept", "the disk is full"));
    let refused = delete(Some("9"), &["comments", "likes"], &full).await.unwrap_err();
    assert_eq!((refused.code(), counts(&site).await), ("row_not_kept", [1, 3, 3]));
    let kept = std::sync::Mutex::new(String::new());
    let keep = |row: &str| {
        *kept.lock().unwrap() = row.to_owned();
        Ok("/somewhere/row.json".to_owned())
    };
    let Resolved::RowDeleted(also) = delete(Some("9"), &["comments", "likes"], &keep).await.unwrap() else { panic!() };
    assert!(also.len() >= 2, "{also:?}");
    assert_eq!(counts(&site).await, [0, 1, 2]);
    assert_eq!(site.count("SELECT count(*) FROM likes WHERE note IS NOT NULL").await, 0);
    let row: serde_json::Value = serde_json::from_str(&kept.lock().unwrap()).unwrap();
    assert!(row["title"].as_str().unwrap().contains("keep me"), "{row}");
    let hex = row["encrypted_content"].as_str().unwrap().to_lowercase();
    assert!(hex.contains("62726f6b656e"), "{row}");
    assert_eq!(quarantined(&site, id).await.abandoned_cell.as_deref(), Some(&b"broken"[..]));
    let said = "SELECT count(*) FROM reseal_audit WHERE action = 'quarantine.giving_up' AND after LIKE '%/somewhere/row.json%' \
                AND after LIKE '%comments%'";
    assert_eq!(site.ledger_count(said).await, 1);
    site.drive_to(id, RotationState::Completed).await;
}

async fn a_column_registered_while_proving_is_planned_and_rotated(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    let truth = site.seed(30).await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Proving).await;
    let blob = if backend == DbBackend::Postgres { "bytea" } else { "blob" };
    site.sql(&format!("ALTER TABLE messages ADD COLUMN extra {blob}")).await;
    let mut config = site.engine.config.clone();
    let messages = config.tables.iter_mut().find(|t| t.name == "messages").unwrap();
    messages.columns.push(column("extra", "messages.extra:{id}"));
    site.engine = Engine::open(config, site.engine.ledger.clone(), "worker-2".into()).await.unwrap().into();
    assert!(check::check(&site.engine).await.unwrap().good());
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn a_wrong_kek_is_refused_before_it_wraps_anything(backend: DbBackend) {
    let site = Site::new(backend).await;
    let truth = site.seed(10).await;
    let mut wrong = site.engine.config.clone();
    wrong.kek.uri = SecretUrl::new(format!("file:{}", site.dir.dir().join("another").display()));
    reseal_keyring::kek::create(wrong.kek.uri.expose()).unwrap();
    let id = site.request().await;
    let refused = Engine::open(wrong.clone(), site.engine.ledger.clone(), "stranger".into()).await;
    assert_eq!(refused.map(|_| ()).map_err(|e| e.code()), Err("kek_differs"));
    let (uri, backup) = (wrong.kek.uri.expose(), &wrong.ledger.key_backup);
    let stranger = Keyring::open(site.engine.ledger.clone(), uri, backup).unwrap();
    assert_eq!(stranger.create("tester", "other").await.unwrap_err().code(), "kek_differs");
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn a_typo_in_the_configuration_is_not_registered(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(10).await;
    let mut typo = site.engine.config.clone();
    let messages = typo.tables.iter_mut().find(|t| t.name == "messages").unwrap();
    messages.columns[0].associated_data = "message.encrypted_content:{id}".into();
    let mistaken = Engine::open(typo, site.engine.ledger.clone(), "mistaken".into()).await.unwrap();
    let findings = check::check(&mistaken).await.unwrap();
    assert!(!findings.can_rotate());
    assert!(check::check(&site.engine).await.unwrap().good());
}

async fn a_dropped_table_is_forgotten_and_the_rest_rotates(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    site.seed(10).await;
    check::check(&site.engine).await.unwrap();
    site.sql("DROP TABLE sync_queue").await;
    let mut config = site.engine.config.clone();
    config.tables.retain(|t| t.name != "sync_queue");
    site.engine = Engine::open(config, site.engine.ledger.clone(), "worker-2".into()).await.unwrap().into();
    let id = site.request().await;
    let status = site.drive(id, |s| s.code.is_some()).await;
    assert_eq!(status.code.as_deref(), Some("table_missing"));
    let registered = catalog::registered(site.engine.ledger.db()).await.unwrap();
    let gone = registered.iter().find(|c| c.table_name == "sync_queue").unwrap();
    let txn = site.engine.ledger.begin().await.unwrap();
    catalog::forget(&txn, "tester", gone).await.unwrap();
    txn.commit().await.unwrap();
    site.drive_to(id, RotationState::Completed).await;
}

async fn keys_made_at_once_leave_one_active(backend: DbBackend) {
    let site = Site::new(backend).await;
    for n in 0..5 {
        let (keyset, k) = (format!("keyset-{n}"), &site.engine.keyring);
        let made = tokio::join!(k.create("a", &keyset), k.create("b", &keyset), k.create("c", &keyset));
        assert!(made.0.is_ok() || made.1.is_ok() || made.2.is_ok());
        let keys = ledger_keys::of_keyset(site.engine.ledger.db(), &keyset).await.unwrap();
        assert_eq!(keys.iter().filter(|k| k.state == KeyState::Active).count(), 1);
        k.keyset(&keyset).await.unwrap();
    }
}

async fn a_copy_of_the_source_is_not_taken_for_it(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    let truth = site.seed(30).await;
    check::check(&site.engine).await.unwrap();
    let copy = site.another_database("staging").await;
    let db = sea_orm::Database::connect(&copy).await.unwrap();
    reseal_migration::migrate_reference_tables(&db).await.unwrap();
    let (right, mut wrong) = (site.engine.clone(), site.engine.config.clone());
    wrong.sources[0].url = SecretUrl::new(&copy);
    site.engine = Engine::open(wrong, right.ledger.clone(), "mistaken".into()).await.unwrap().into();
    let id = site.request().await;
    for kind in [JobKind::Plan, JobKind::Prove, JobKind::Clear] {
        let _ = site.perform(&Job { kind, id }).await;
    }
    assert_eq!(site.status(id).await.code.as_deref(), Some("source_is_another"));
    site.engine = right;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn export(site: &Site) {
    let write = async |keyset: &Keyset| Ok::<_, EngineError>(tink::export(keyset, KeysetFormat::Json));
    site.engine.keyring.export("tester", "default", "tink-json", write).await.unwrap();
}

async fn an_export_before_the_promotion_must_have_the_new_key(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(10).await;
    let id = site.request().await;
    export(&site).await;
    let status = site.drive(id, |s| s.code.is_some()).await;
    assert_eq!(status.code.as_deref(), Some("publish_before_promoting"));
    export(&site).await;
    site.drive_to(id, RotationState::Completed).await;
}

async fn copies_in_other_clothes_block_the_proof_by_name(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(12).await;
    let postgres = backend == DbBackend::Postgres;
    let copies: &[(&str, &str)] = if postgres {
        &[
            ("jsonb", "to_jsonb(encrypted_content)"),
            ("bytea[]", "ARRAY[encrypted_content]"),
            ("text", "'v1:' || replace(encode(encrypted_content, 'base64'), E'\\n', '')"),
            ("bytea", "'\\x0a'::bytea || encrypted_content"),
            ("varchar[]", "ARRAY[encode(encrypted_content, 'hex')]::varchar[]"),
            ("secret", "encrypted_content"),
        ]
    } else {
        &[
            ("POINT", "encrypted_content"),
            ("INTEGER", "encrypted_content"),
            ("TEXT", "'{\"c\":\"' || hex(encrypted_content) || '\"}'"),
            ("BLOB", "CAST(x'0a' || encrypted_content AS BLOB)"),
        ]
    };
    if postgres {
        site.sql("CREATE DOMAIN secret AS bytea; CREATE MATERIALIZED VIEW empty AS SELECT 'x'::text AS c WITH NO DATA")
            .await;
    }
    for (n, (ty, expression)) in copies.iter().enumerate() {
        let copy =
            format!("INSERT INTO copy_{n} SELECT {expression} FROM messages WHERE encrypted_content IS NOT NULL");
        site.sql(&format!("CREATE TABLE copy_{n} (c {ty})")).await;
        site.sql(&copy).await;
    }
    let id = site.request().await;
    let status = site.drive(id, |s| s.code.as_deref() == Some("proof_blocked")).await;
    let detail = status.detail.unwrap();
    for (n, (ty, _)) in copies.iter().enumerate() {
        assert!(detail.contains(&format!("copy_{n}.c is not registered")), "{ty}: {detail}");
        site.sql(&format!("DROP TABLE copy_{n}")).await;
    }
    site.drive_to(id, RotationState::Completed).await;
}

async fn the_fence_of_a_renamed_column_can_be_removed(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(10).await;
    site.rotate().await;
    site.sql("ALTER TABLE messages RENAME COLUMN encrypted_content TO content").await;
    let fences = operate::fences(&site.engine).await.unwrap();
    assert!(fences.iter().any(|f| f.column.ends_with("messages.encrypted_content") && !f.state.complete));
    operate::remove_fence(&site.engine, "tester", "messages.encrypted_content").await.unwrap();
    site.sql("INSERT INTO messages (id, content) VALUES (999999, NULL)").await;
}
