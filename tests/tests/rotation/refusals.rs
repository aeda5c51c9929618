//! What is refused before anything is written, with the reason.

use crate::{
    on_every_database,
    site::{Site, column, table},
};
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
    site.sql(&format!("CREATE TABLE texts (id varchar(20) PRIMARY KEY, c {blob})")).await;
    site.sql("CREATE TABLE words (id bigint PRIMARY KEY, c text)").await;
    site.sql(&format!("CREATE TABLE made (id bigint PRIMARY KEY, a {blob}, c {blob} GENERATED ALWAYS AS (a) STORED)"))
        .await;
    site.sql("CREATE VIEW seen AS SELECT id, encrypted_content AS c FROM messages").await;
    let source = site.engine.source("app").unwrap();
    let cases = [
        ("nowhere", "id", "c", "table_missing"),
        ("messages", "id", "c", "column_missing"),
        ("messages", "created_at", "encrypted_content", "primary_key_differs"),
        ("keyless", "id", "c", "no_primary_key"),
        ("composite", "id", "c", "primary_key_differs"),
        ("texts", "id", "c", "key_type"),
        ("words", "id", "c", "column_type"),
        ("made", "id", "c", "column_generated"),
        ("seen", "id", "c", "table_kind"),
    ];
    for (table, key, column, code) in cases {
        let found = source.shape(None, table, &[key.into()], &[column.into()]).await;
        assert_eq!(found.map_err(|e| e.code), Err(code), "{table}");
    }
    let composite = source.shape(None, "composite", &["id".into(), "b".into()], &["c".into()]).await;
    assert_eq!(composite.map_err(|e| e.code), Err("key_type"));
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
