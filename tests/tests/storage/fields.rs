//! Fields that are not what their entity or the ledger's catalog says of the column.

use crate::{
    on_every_database, open,
    site::{Site, column, table},
    stale,
    tables::{BODY, NOTE, create_invoices, invoices},
};
use reseal_entities::app::messages;
use reseal_storage::{Encoding, Field, Format, Layout, Text};
use sea_orm::{ActiveValue::Set, DbBackend};

mod letters {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "letters")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i64,
        #[sea_orm(column_type = "Text")]
        pub body: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

const BASE64: Layout = Layout { format: Format::Tink, encoding: Encoding::Base64 };

/// A ledger that knows the reference tables and `invoices`, without a rotation.
async fn registered(backend: DbBackend) -> Site {
    let mut site = Site::new(backend).await;
    create_invoices(&site, backend).await;
    let mut config = site.engine.config.clone();
    let columns = vec![column("body", "invoices.body:{tenant}:{number}"), column("note", "note {number} of {tenant}")];
    let mut invoices = table("invoices", columns);
    invoices.primary_key = vec!["tenant".into(), "number".into()];
    config.tables.push(invoices);
    let ledger = site.engine.ledger.clone();
    let engine = reseal_engine::Engine::open(config, ledger, "worker-1".into()).await.unwrap();
    site.engine = std::sync::Arc::new(engine);
    reseal_engine::plan::register(&site.engine).await.unwrap();
    site
}

async fn a_forgotten_layout_is_refused_before_anything_is_stored(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.sql("CREATE TABLE letters (id bigint PRIMARY KEY, body text NOT NULL)").await;
    let (storage, db) = (open(&site, stale()).await, &site.app);
    const FORGOTTEN: Field<letters::Entity, Text> = Field::new(letters::Column::Body);
    let row = letters::ActiveModel { id: Set(1), ..Default::default() };
    let refused = storage.insert(db, FORGOTTEN, row.clone(), "hello").await.unwrap_err();
    assert_eq!(refused.code(), "field_column_type");
    for words in ["letters.body", "holds text", "`bytes`", "layout"] {
        assert!(refused.to_string().contains(words), "{words}: {refused}");
    }
    assert_eq!(storage.seal(FORGOTTEN, 1, "hello").await.unwrap_err().code(), "field_column_type");
    assert_eq!(site.count("SELECT count(*) FROM letters").await, 0);
    storage.insert(db, FORGOTTEN.layout(BASE64), row, "hello").await.unwrap();
    assert_eq!(storage.load(db, FORGOTTEN.layout(BASE64), 1).await.unwrap().unwrap().as_str(), "hello");
    // The other way about: base64 in a column of bytes.
    const OTHER: Field<messages::Entity, Text> = Field::new(messages::Column::EncryptedContent).layout(BASE64);
    assert_eq!(storage.update(db, OTHER, 1, "x").await.unwrap_err().code(), "field_column_type");
}

async fn a_field_that_differs_from_the_catalog_is_refused_and_both_sides_are_named(backend: DbBackend) {
    let site = registered(backend).await;
    site.engine.keyring.create("tester", "drafts").await.unwrap();
    let (storage, db) = (open(&site, stale()).await, &site.app);
    let key = || ("acme".to_owned(), 1);
    let row = invoices::ActiveModel { tenant: Set("acme".into()), number: Set(1), ..Default::default() };
    storage.insert(db, BODY, row.clone(), b"body").await.unwrap();
    let plain = Layout { format: Format::Plaintext, encoding: Encoding::Bytes };
    for other in [BODY.associated_data("invoices.body:{number}"), BODY.keyset("drafts"), BODY.layout(plain)] {
        let refused = storage.update(db, other, key(), b"other").await.unwrap_err();
        assert_eq!(refused.code(), "field_differs", "{refused}");
        for words in ["the field says keyset", "the ledger has keyset", "invoices.body:{tenant}:{number}"] {
            assert!(refused.to_string().contains(words), "{words}: {refused}");
        }
        assert_eq!(storage.load(db, other, key()).await.unwrap_err().code(), "field_differs");
    }
    assert_eq!(storage.load(db, BODY, key()).await.unwrap().unwrap().as_slice(), b"body");
    // The same template, written out.
    let same = BODY.associated_data("invoices.body:{tenant}:{number}");
    assert!(storage.update(db, same, key(), b"again").await.unwrap());
}

async fn a_field_that_is_not_registered_is_not_written_once_its_keyset_is(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    create_invoices(&site, backend).await;
    let before = open(&site, stale()).await;
    let row = |number| invoices::ActiveModel { tenant: Set("acme".into()), number: Set(number), ..Default::default() };
    before.insert(&site.app, BODY, row(1), b"before").await.unwrap();
    reseal_engine::plan::register(&site.engine).await.unwrap();
    let storage = open(&site, stale()).await;
    let refused = storage.insert(&site.app, BODY, row(2), b"after").await.unwrap_err();
    assert_eq!(refused.code(), "field_not_registered", "{refused}");
    assert!(refused.to_string().contains("reseal catalog register"), "{refused}");
    let read = storage.load(&site.app, BODY, ("acme".to_owned(), 1)).await.unwrap().unwrap();
    assert_eq!(read.as_slice(), b"before", "reading harms nothing");
    let mut config = site.engine.config.clone();
    let mut invoices = table("invoices", vec![column("body", "invoices.body:{tenant}:{number}")]);
    invoices.primary_key = vec!["tenant".into(), "number".into()];
    config.tables.push(invoices);
    let ledger = site.engine.ledger.clone();
    site.engine = std::sync::Arc::new(reseal_engine::Engine::open(config, ledger, "w".into()).await.unwrap());
    reseal_engine::plan::register(&site.engine).await.unwrap();
    storage.insert(&site.app, BODY, row(2), b"after").await.unwrap();
}

async fn a_changed_key_that_leaves_out_a_bound_field_is_refused(backend: DbBackend) {
    let site = registered(backend).await;
    let (storage, db) = (open(&site, stale()).await, &site.app);
    let key = |number| ("acme".to_owned(), number);
    let row = invoices::ActiveModel { tenant: Set("acme".into()), number: Set(1), ..Default::default() };
    storage.insert(db, BODY, row, b"body").await.unwrap();
    storage.update(db, NOTE, key(1), "note").await.unwrap();
    let another = open(&site, stale()).await; // which has used no field yet
    for storage in [&storage, &another] {
        let refused = storage.rekey(db, BODY, key(1), key(2)).await.unwrap_err();
        assert_eq!(refused.code(), "field_missing", "{refused}");
        assert!(refused.to_string().contains("`note`"), "{refused}");
    }
    assert!(storage.rekey(db, (BODY, NOTE), key(1), key(2)).await.unwrap());
    assert_eq!(storage.load(db, NOTE, key(2)).await.unwrap().unwrap().as_str(), "note");
}

async fn a_changed_key_that_leaves_out_a_field_used_here_is_refused_without_a_catalog(backend: DbBackend) {
    let site = Site::new(backend).await;
    create_invoices(&site, backend).await;
    let (storage, db) = (open(&site, stale()).await, &site.app);
    let key = |number| ("acme".to_owned(), number);
    let row = invoices::ActiveModel { tenant: Set("acme".into()), number: Set(1), ..Default::default() };
    storage.insert(db, BODY, row, b"body").await.unwrap();
    storage.update(db, NOTE, key(1), "note").await.unwrap();
    assert_eq!(storage.rekey(db, BODY, key(1), key(2)).await.unwrap_err().code(), "field_missing");
    assert_eq!(storage.load(db, NOTE, key(1)).await.unwrap().unwrap().as_str(), "note");
}

async fn a_row_with_a_plaintext_in_another_encrypted_column_is_refused(backend: DbBackend) {
    let site = registered(backend).await;
    let (storage, db) = (open(&site, stale()).await, &site.app);
    let row = |note: Option<Vec<u8>>| invoices::ActiveModel {
        tenant: Set("acme".into()),
        number: Set(1),
        note: Set(note),
        ..Default::default()
    };
    let refused = storage.insert(db, BODY, row(Some(b"in the clear".to_vec())), b"body").await.unwrap_err();
    assert_eq!(refused.code(), "plaintext_in_row", "{refused}");
    assert!(refused.to_string().contains("`note`") && !refused.to_string().contains("clear"), "{refused}");
    let refused = storage.save(db, BODY, row(Some(Vec::new())), b"body").await.unwrap_err();
    assert_eq!(refused.code(), "plaintext_in_row", "nor are empty bytes a cell");
    assert_eq!(site.count("SELECT count(*) FROM invoices").await, 0);
    let sealed = storage.seal(NOTE, ("acme".to_owned(), 1), "note").await.unwrap();
    storage.insert(db, BODY, row(Some(sealed)), b"body").await.unwrap();
    storage.save(db, BODY, row(None), b"body").await.unwrap();
    assert_eq!(storage.load(db, NOTE, ("acme".to_owned(), 1)).await.unwrap(), None);
}

on_every_database!(
    a_forgotten_layout_is_refused_before_anything_is_stored,
    a_field_that_differs_from_the_catalog_is_refused_and_both_sides_are_named,
    a_field_that_is_not_registered_is_not_written_once_its_keyset_is,
    a_changed_key_that_leaves_out_a_bound_field_is_refused,
    a_changed_key_that_leaves_out_a_field_used_here_is_refused_without_a_catalog,
    a_row_with_a_plaintext_in_another_encrypted_column_is_refused,
);
