//! Migrating: all or nothing, and as often as anybody likes.

use reseal_entities::{
    keys,
    ledger::{self, Ledger, quarantine::Finding},
    quarantine,
};
use reseal_migration::{MigrateError, MigratorTrait, Outcome, migrate_ledger, migrate_reference_tables, pending};
use sea_orm::{DatabaseConnection, EntityTrait};

use crate::{
    ground::{for_each_database, run},
    tables::sentences,
};

/// Every migration of the ledger.
fn all() -> Outcome {
    Outcome::Applied(reseal_migration::Ledger::migrations().len())
}

async fn connect(url: &str) -> DatabaseConnection {
    Ledger::connect(url).await.expect("a database").db().clone()
}

#[test]
fn a_second_migration_changes_nothing() {
    for_each_database(async |url| {
        let db = connect(&url).await;
        assert_eq!(migrate_ledger(&db).await.unwrap(), all());
        let first = sentences(&db).await;
        assert_eq!(migrate_ledger(&db).await.unwrap(), Outcome::Current);
        assert_eq!(sentences(&db).await, first);

        assert_eq!(migrate_reference_tables(&db).await.unwrap(), Outcome::Applied(1));
        assert_eq!(migrate_reference_tables(&db).await.unwrap(), Outcome::Current);
    });
}

/// A rotation of the first version with one quarantined row.
const FIRST_VERSION: [&str; 5] = [
    "INSERT INTO reseal_keysets VALUES ('default', 1)",
    "INSERT INTO reseal_keys (key_id, keyset, version, state, generation, algorithm, kek_id, encryptions, created_at) \
     VALUES (7, 'default', 1, 'active', 1, 'AES256_GCM', 'k', 0, 1)",
    "INSERT INTO reseal_rotations (id, keyset, state, requested_by, clear_after_ms, writer_ttl_ms, batch_rows, planning_done, \
     requested_at, waited_ms, step_epoch, step_due_at, step_failures, next_ring_at, rings) \
     VALUES (1, 'default', 'planning', 'x', 0, 0, 10, false, 1, 0, 0, 0, 0, 0, 0)",
    "INSERT INTO reseal_planned_tables (id, rotation_id, source, schema_name, table_name, columns, planning_done, rows) \
     VALUES (1, 1, 's', 'public', 't', '[]', false, 0)",
    "INSERT INTO reseal_quarantine (id, rotation_id, planned_table_id, row_key, column_name, live, code, cell_bytes, state, found_at) \
     VALUES (1, 1, 1, '42', 'c', true, 'not_authentic', 3, 'open', 1)",
];

#[test]
fn a_ledger_of_the_first_version_keeps_its_rows_and_their_places() {
    for_each_database(async |url| {
        let ledger = Ledger::connect(&url).await.expect("a database");
        let db = ledger.db();
        reseal_migration::Ledger::up(db, Some(1)).await.unwrap();
        for sql in FIRST_VERSION {
            run(db, sql).await;
        }

        assert_eq!(
            migrate_ledger(db).await.unwrap(),
            Outcome::Applied(reseal_migration::Ledger::migrations().len() - 1)
        );

        let key = keys::Entity::find_by_id(7).one(db).await.unwrap().unwrap();
        assert_eq!((key.prefix.as_str(), key.names_its_cells()), ("tink", true));
        let again = Finding {
            row_key: "42".into(),
            column_name: "c".into(),
            code: "cell_truncated",
            found_key_id: None,
            cell_bytes: 4,
        };
        ledger::quarantine::found(db, 1, 1, None, &[again]).await.unwrap();
        let rows = quarantine::Entity::find().all(db).await.unwrap();
        assert_eq!(rows.len(), 1, "found again at its own place: {rows:?}");
        assert_eq!((rows[0].id, rows[0].row_key.as_str(), rows[0].code.as_str()), (1, "42", "cell_truncated"));
    });
}

#[test]
fn of_two_migrations_at_once_one_applies_and_both_succeed() {
    for_each_database(async |url| {
        let (one, other) = (connect(&url).await, connect(&url).await);
        let one = tokio::spawn(async move { migrate_ledger(&one).await });
        let other = tokio::spawn(async move { migrate_ledger(&other).await });
        let mut both = [one.await.unwrap().unwrap(), other.await.unwrap().unwrap()];
        both.sort_by_key(|outcome| *outcome == Outcome::Current);
        assert_eq!(both, [all(), Outcome::Current]);
    });
}

#[test]
fn a_migration_that_fails_half_way_leaves_nothing() {
    for_each_database(async |url| {
        // given something that the migration meets after it has made most of its tables
        let db = connect(&url).await;
        run(&db, "CREATE TABLE reseal_audit_head (id integer PRIMARY KEY)").await;
        let before = sentences(&db).await;

        let failed = migrate_ledger(&db).await;
        assert!(matches!(failed, Err(MigrateError::Database(_))), "{failed:?}");
        assert_eq!(sentences(&db).await, before);
        assert_eq!(Outcome::Applied(pending(&db).await.unwrap()), all());

        run(&db, "DROP TABLE reseal_audit_head").await;
        assert_eq!(migrate_ledger(&db).await.unwrap(), all());
    });
}

#[test]
fn a_schema_of_a_newer_reseal_is_refused_and_not_touched() {
    for_each_database(async |url| {
        let db = connect(&url).await;
        migrate_ledger(&db).await.unwrap();
        run(&db, "INSERT INTO reseal_migrations (version, applied_at) VALUES ('m9999_from_the_future', 1)").await;
        let before = sentences(&db).await;
        let refused = migrate_ledger(&db).await;
        assert!(
            matches!(&refused, Err(MigrateError::Newer(what)) if what.contains("m9999_from_the_future")),
            "{refused:?}"
        );
        let asked = pending(&db).await;
        assert!(matches!(asked, Err(MigrateError::Newer(_))), "{asked:?}");
        assert_eq!(sentences(&db).await, before);
    });
}

#[test]
fn pending_counts_what_is_to_be_applied_and_writes_nothing() {
    for_each_database(async |url| {
        let db = connect(&url).await;
        assert_eq!(Outcome::Applied(pending(&db).await.unwrap()), all());
        let made = match db.get_database_backend() {
            sea_orm::DbBackend::Postgres => "SELECT relname AS name FROM pg_class WHERE relname LIKE 'reseal%'",
            _ => "SELECT name FROM sqlite_schema WHERE name LIKE 'reseal%'",
        };
        let made = sea_orm::Statement::from_string(db.get_database_backend(), made);
        assert!(sea_orm::ConnectionTrait::query_all_raw(&db, made).await.unwrap().is_empty());
        migrate_ledger(&db).await.unwrap();
        assert_eq!(pending(&db).await.unwrap(), 0);
    });
}
