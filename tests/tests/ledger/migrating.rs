//! Migrating: all or nothing, and as often as anybody likes.

use reseal_entities::ledger::Ledger;
use reseal_migration::{MigrateError, Outcome, migrate_ledger, migrate_reference_tables, pending};
use sea_orm::DatabaseConnection;

use crate::{
    ground::{for_each_database, run},
    tables::sentences,
};

async fn connect(url: &str) -> DatabaseConnection {
    Ledger::connect(url).await.expect("a database").db().clone()
}

#[test]
fn a_second_migration_changes_nothing() {
    for_each_database(async |url| {
        let db = connect(&url).await;
        assert_eq!(migrate_ledger(&db).await.unwrap(), Outcome::Applied(1));
        let first = sentences(&db).await;
        assert_eq!(migrate_ledger(&db).await.unwrap(), Outcome::Current);
        assert_eq!(sentences(&db).await, first);

        assert_eq!(migrate_reference_tables(&db).await.unwrap(), Outcome::Applied(1));
        assert_eq!(migrate_reference_tables(&db).await.unwrap(), Outcome::Current);
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
        assert_eq!(both, [Outcome::Applied(1), Outcome::Current]);
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
        assert_eq!(pending(&db).await.unwrap(), 1);

        run(&db, "DROP TABLE reseal_audit_head").await;
        assert_eq!(migrate_ledger(&db).await.unwrap(), Outcome::Applied(1));
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
        assert_eq!(pending(&db).await.unwrap(), 1);
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
