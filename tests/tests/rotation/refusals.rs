//! What is refused before anything is written, with the reason.

use crate::{
    on_every_database,
    site::{Site, column, table},
};
use reseal_engine::source::CellColumn;
use reseal_keyring::{Encoding, Layout};
use sea_orm::DbBackend;

on_every_database! {
    a_table_that_cannot_be_rotated_is_refused_with_the_reason,
    a_table_that_is_refused_leaves_the_keyset_as_it_was,
    a_column_registered_otherwise_is_refused,
}

async fn a_table_that_cannot_be_rotated_is_refused_with_the_reason(backend: DbBackend) {
    let site = Site::new(backend).await;
    let blob = if backend == DbBackend::Postgres { "bytea" } else { "blob" };
    site.sql(&format!("CREATE TABLE keyless (id bigint, c {blob})")).await;
    site.sql(&format!("CREATE TABLE composite (id bigint, b bigint, c {blob}, PRIMARY KEY (id, b))")).await;
    site.sql(&format!("CREATE TABLE dates (id date PRIMARY KEY, c {blob})")).await;
    site.sql("CREATE TABLE words (id bigint PRIMARY KEY, c text)").await;
    site.sql(&format!("CREATE TABLE keys (id bigint, c {blob}, PRIMARY KEY (id, c))")).await;
    site.sql(&format!("CREATE TABLE made (id bigint PRIMARY KEY, a {blob}, c {blob} GENERATED ALWAYS AS (a) STORED)"))
        .await;
    site.sql("CREATE VIEW seen AS SELECT id, encrypted_content AS c FROM messages").await;
    let text = Layout { encoding: Encoding::Base64, ..Layout::NATIVE };
    let mut cases = vec![
        ("nowhere", "id", "c", Layout::NATIVE, "table_missing", "there is no table"),
        ("messages", "id", "c", Layout::NATIVE, "column_missing", "has no column"),
        ("messages", "created_at", "encrypted_content", Layout::NATIVE, "primary_key_differs", "is (id)"),
        ("messages", "id", "encrypted_content", text, "column_type", "base64"),
        ("keyless", "id", "c", Layout::NATIVE, "no_primary_key", "give it one"),
        ("composite", "id", "c", Layout::NATIVE, "primary_key_differs", "(id, b)"),
        ("dates", "id", "c", Layout::NATIVE, "key_type", "date"),
        ("words", "id", "c", Layout::NATIVE, "column_type", "needs a bytes column"),
        ("keys", "id c", "c", Layout::NATIVE, "column_in_key", "part of the primary key"),
        ("made", "id", "c", Layout::NATIVE, "column_generated", "the column that it is made of"),
        ("seen", "id", "c", Layout::NATIVE, "table_kind", "the table behind it"),
    ];
    if backend == DbBackend::Postgres {
        site.sql("CREATE TABLE split (id bigint PRIMARY KEY, c bytea) PARTITION BY RANGE (id)").await;
        site.sql("CREATE TABLE split_1 PARTITION OF split FOR VALUES FROM (0) TO (9)").await;
        site.sql("CREATE TABLE mother (id bigint PRIMARY KEY, c bytea)").await;
        site.sql("CREATE TABLE child (PRIMARY KEY (id)) INHERITS (mother)").await;
        site.sql("CREATE TABLE js (id bigint PRIMARY KEY, c jsonb)").await;
        cases.extend([
            ("split_1", "id", "c", Layout::NATIVE, "table_kind", "register its partitioned table"),
            ("mother", "id", "c", Layout::NATIVE, "table_kind", "inherit"),
            ("js", "id", "c", text, "column_type", "jsonb"),
        ]);
    }
    let source = site.engine.source("app").unwrap();
    for (table, key, column, layout, code, why) in cases {
        let key: Vec<String> = key.split(' ').map(str::to_owned).collect();
        let refused = source.shape(None, table, &key, &[CellColumn::wanted(column, layout)]).await.unwrap_err();
        assert_eq!(refused.code, code, "{table}: {refused}");
        assert!(refused.to_string().contains(why), "{table}: {refused}");
    }
}

async fn a_table_that_is_refused_leaves_the_keyset_as_it_was(backend: DbBackend) {
    let site = Site::with(backend, false, |c| c.tables.push(table("nowhere", vec![column("c", "")]))).await;
    site.seed(5).await;
    let id = site.request().await;
    let status = site.drive(id, |s| s.code.is_some()).await;
    assert_eq!(status.code.as_deref(), Some("table_missing"));
    assert!(status.needs_attention && status.new_key.is_none(), "{status:#?}");
    assert!(status.detail.unwrap().contains("nowhere"));
}

async fn a_column_registered_otherwise_is_refused(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    reseal_engine::plan::register(&site.engine).await.unwrap();
    let mut config = site.engine.config.clone();
    config.tables[0].columns[0].associated_data = "other:{id}".into();
    let ledger = site.engine.ledger.clone();
    site.engine = reseal_engine::Engine::open(config, ledger, "w".into()).await.unwrap().into();
    let refused = reseal_engine::plan::register(&site.engine).await.unwrap_err();
    assert_eq!(refused.code(), "catalog_conflict");
}
