//! The entities and the migrated schema are two tellings of one thing.

use std::collections::BTreeSet;

use reseal_entities::{self as entities, app};
use reseal_migration::{migrate_ledger, migrate_reference_tables};
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DbBackend, EntityTrait, Schema, sea_query::TableCreateStatement,
};

use crate::{
    ground::for_each_database,
    tables::{differences, sentences},
};

/// What no entity can say: an index over several columns that is not unique.
const ONLY_IN_THE_MIGRATION: [&str; 2] = [
    "only the migration says: index on reseal_batches (rotation_id, state, next_ring_at)",
    "only the migration says: index on reseal_operations (state, due_at)",
];

/// The statements that make an entity's table and its indexes.
fn create<E: EntityTrait>(backend: DbBackend, entity: E) -> Vec<String> {
    let schema = Schema::new(backend);
    let table: TableCreateStatement = schema.create_table_from_entity(entity);
    let indexes = schema.create_index_from_entity(entity);
    let mut statements = vec![backend.build(&table).sql];
    statements.extend(indexes.iter().map(|index| backend.build(index).sql));
    statements
}

fn ledger_entities(backend: DbBackend) -> Vec<String> {
    [
        create(backend, entities::identity::Entity),
        create(backend, entities::keysets::Entity),
        create(backend, entities::keys::Entity),
        create(backend, entities::catalog::Entity),
        create(backend, entities::rotations::Entity),
        create(backend, entities::rotation_keys::Entity),
        create(backend, entities::planned_tables::Entity),
        create(backend, entities::batches::Entity),
        create(backend, entities::attempts::Entity),
        create(backend, entities::progress::Entity),
        create(backend, entities::samples::Entity),
        create(backend, entities::quarantine::Entity),
        create(backend, entities::proofs::Entity),
        create(backend, entities::sources::Entity),
        create(backend, entities::source_addresses::Entity),
        create(backend, entities::exclusions::Entity),
        create(backend, entities::tokens::Entity),
        create(backend, entities::sessions::Entity),
        create(backend, entities::workers::Entity),
        create(backend, entities::writers::Entity),
        create(backend, entities::exemptions::Entity),
        create(backend, entities::operations::Entity),
        create(backend, entities::audit::Entity),
        create(backend, entities::audit_head::Entity),
    ]
    .concat()
}

fn reference_entities(backend: DbBackend) -> Vec<String> {
    [
        create(backend, app::messages::Entity),
        create(backend, app::sync_queue::Entity),
        create(backend, app::user_profiles::Entity),
    ]
    .concat()
}

async fn connect(url: &str) -> DatabaseConnection {
    Database::connect(url).await.expect("a database")
}

async fn made_of(url: &str, statements: &[String]) -> BTreeSet<String> {
    let db = connect(url).await;
    for sql in statements {
        db.execute_unprepared(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    sentences(&db).await
}

/// A second empty database beside one that a test was given.
async fn beside(url: &str) -> String {
    if let Some(rest) = url.strip_suffix("?mode=rwc") {
        return format!("{rest}.{}?mode=rwc", crate::rows::number());
    }
    let (server, name) = url.rsplit_once('/').expect("a database's name");
    let other = format!("{name}_{}", crate::rows::number());
    let sql = format!("CREATE DATABASE {other} TEMPLATE template0");
    connect(url).await.execute_unprepared(&sql).await.expect("a second database");
    format!("{server}/{other}")
}

#[test]
fn the_migrated_ledger_is_what_the_entities_say() {
    for_each_database(async |url| {
        let migrated = connect(&url).await;
        migrate_ledger(&migrated).await.unwrap();
        let told = made_of(&beside(&url).await, &ledger_entities(migrated.get_database_backend())).await;
        assert!(told.len() > 150, "the catalogue was read: {told:#?}");
        assert_eq!(differences(&told, &sentences(&migrated).await), ONLY_IN_THE_MIGRATION);
    });
}

#[test]
fn the_migrated_reference_tables_are_what_the_entities_say() {
    for_each_database(async |url| {
        let migrated = connect(&url).await;
        migrate_reference_tables(&migrated).await.unwrap();
        let told = made_of(&beside(&url).await, &reference_entities(migrated.get_database_backend())).await;
        assert_eq!(told.len(), 12, "three tables of three columns and a key: {told:#?}");
        assert_eq!(differences(&told, &sentences(&migrated).await), [""; 0]);
    });
}

/// Each line: what is changed in the entities' statements, and what must then be found.
const ALTERATIONS: &[(&str, &str, &str, &str)] = &[
    ("a missing column", r#", "scope" text NOT NULL"#, "", "migration says: reseal_proofs.scope is text not null"),
    (
        "a column more",
        r#", "scope" text NOT NULL"#,
        r#", "scope" text NOT NULL, "more" text"#,
        "entities say: reseal_proofs.more is text",
    ),
    (
        "another type",
        r#""scope" text"#,
        r#""scope" varchar(9)"#,
        "migration says: reseal_proofs.scope is text not null",
    ),
    (
        "another length",
        r#""fence_fingerprint" varchar(64)"#,
        r#""fence_fingerprint" varchar(63)"#,
        "migration says: reseal_proofs.fence_fingerprint is ",
    ),
    (
        "another nullability",
        r#""scope" text NOT NULL"#,
        r#""scope" text"#,
        "migration says: reseal_proofs.scope is text not null",
    ),
    (
        "another default",
        r#""scope" text NOT NULL"#,
        r#""scope" text NOT NULL DEFAULT 'x'"#,
        "entities say: reseal_proofs.scope is text not null default 'x'",
    ),
    (
        "a missing foreign key",
        r#"FOREIGN KEY ("catalog_id") REFERENCES "reseal_catalog" ("id")"#,
        "CHECK (true)",
        "migration says: reseal_proofs (catalog_id) refers to reseal_catalog (id)",
    ),
    (
        "a foreign key to elsewhere",
        r#"FOREIGN KEY ("catalog_id") REFERENCES "reseal_catalog" ("id")"#,
        r#"FOREIGN KEY ("catalog_id") REFERENCES "reseal_batches" ("id")"#,
        "entities say: reseal_proofs (catalog_id) refers to reseal_batches (id)",
    ),
    (
        "another primary key",
        r#"PRIMARY KEY ("planned_table_id", "slot")"#,
        r#"PRIMARY KEY ("slot", "planned_table_id")"#,
        "migration says: primary key on reseal_progress (planned_table_id, slot)",
    ),
    (
        "a missing index",
        r#"CREATE INDEX "idx-reseal_proofs-rotation_id" ON "reseal_proofs" ("rotation_id")"#,
        "SELECT 1",
        "migration says: index on reseal_proofs (rotation_id)",
    ),
    (
        "an index that is not unique",
        r#"CREATE UNIQUE INDEX "idx-reseal_keys-version""#,
        r#"CREATE INDEX "idx-reseal_keys-version""#,
        "migration says: unique index on reseal_keys (keyset, version)",
    ),
    (
        "a column that is not unique",
        r#""open_keyset" varchar(64) UNIQUE"#,
        r#""open_keyset" varchar(64)"#,
        "migration says: unique index on reseal_rotations (open_keyset)",
    ),
    (
        "an index in another order",
        r#"("keyset", "version")"#,
        r#"("version", "keyset")"#,
        "entities say: unique index on reseal_keys (version, keyset)",
    ),
];

#[test]
fn every_kind_of_difference_between_entities_and_schema_is_found() {
    for_each_database(async |url| {
        let migrated = connect(&url).await;
        migrate_ledger(&migrated).await.unwrap();
        let (migrated, backend) = (sentences(&migrated).await, migrated.get_database_backend());
        for (what, from, to, found) in ALTERATIONS {
            let statements = ledger_entities(backend);
            let altered: Vec<String> = statements.iter().map(|sql| sql.replace(from, to)).collect();
            assert_ne!(statements, altered, "{what}: nothing to alter in {statements:#?}");
            let different = differences(&made_of(&beside(&url).await, &altered).await, &migrated);
            assert!(different.iter().any(|d| d.contains(found)), "{what} was not found: {different:#?}");
        }
    });
}
