//! Columns that are still being adopted, and columns of text.

use crate::{on_every_database, open, promote, site::Site, stale};
use reseal_entities::{
    app::messages,
    ledger::keys::{self, NewKey},
    state::KeyState,
};
use reseal_keyring::{Algorithm, Dek, KeyInfo, Keyset, Prefix};
use reseal_storage::{Encoding, Field, Format, KeyId, Layout, Text};
use sea_orm::{ActiveValue::NotSet, DbBackend};

mod notes {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "notes")]
    pub(crate) struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        #[sea_orm(column_type = "Text")]
        pub body: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

const PLAIN: Field<notes::Entity, Text> =
    Field::new(notes::Column::Body).layout(Layout { format: Format::Plaintext, encoding: Encoding::Base64 });
const BASE64: Field<notes::Entity, Text> =
    Field::new(notes::Column::Body).layout(Layout { format: Format::Tink, encoding: Encoding::Base64 });

async fn notes(backend: DbBackend) -> Site {
    let site = Site::new(backend).await;
    let id = if backend == DbBackend::Postgres { "bigserial PRIMARY KEY" } else { "integer PRIMARY KEY" };
    site.sql(&format!("CREATE TABLE notes (id {id}, body text NOT NULL)")).await;
    site
}

async fn a_plaintext_column_is_read_as_it_is_and_written_as_cells(backend: DbBackend) {
    let site = notes(backend).await;
    let (storage, db) = (open(&site, stale()).await, &site.app);
    site.sql("INSERT INTO notes (id, body) VALUES (1, 'nobody encrypted this')").await;
    assert_eq!(storage.load(db, PLAIN, 1).await.unwrap().unwrap().as_str(), "nobody encrypted this");
    assert!(storage.update(db, PLAIN, 1, "now it is").await.unwrap());
    assert_eq!(storage.load(db, PLAIN, 1).await.unwrap().unwrap().as_str(), "now it is");
    // The column takes no NULL, and its ids are the database's.
    site.sql("DELETE FROM notes").await;
    let row = notes::ActiveModel { id: NotSet, ..Default::default() };
    let id = storage.insert(db, PLAIN, row, "new").await.unwrap();
    assert_eq!(storage.load(db, BASE64, id).await.unwrap().unwrap().as_str(), "new", "it is a native cell in base64");
    assert_eq!(site.count("SELECT count(*) FROM notes WHERE body LIKE '%new%'").await, 0);
}

async fn a_cell_of_a_key_just_promoted_is_never_taken_for_a_plaintext(backend: DbBackend) {
    let site = notes(backend).await;
    let (old, new, db) = (open(&site, stale()).await, open(&site, stale()).await, &site.app);
    old.load_keyset("default").await.unwrap();
    promote(&site).await;
    let row = notes::ActiveModel { id: NotSet, ..Default::default() };
    let id = new.insert(db, PLAIN, row, "secret").await.unwrap();
    assert_eq!(old.load(db, PLAIN, id).await.unwrap().unwrap().as_str(), "secret");
}

async fn a_plaintext_that_only_looks_like_a_cell_is_looked_up_once(backend: DbBackend) {
    let site = notes(backend).await;
    let (storage, db) = (open(&site, stale()).await, &site.app);
    site.sql("INSERT INTO notes (id, body) VALUES (1, 'AQAAAAcA is no cell')").await;
    storage.load_keyset("default").await.unwrap();
    let before = storage.counters().loads;
    for _ in 0..3 {
        assert_eq!(storage.load(db, PLAIN, 1).await.unwrap().unwrap().as_str(), "AQAAAAcA is no cell");
    }
    assert_eq!(storage.counters().loads - before, 1);
    assert_eq!(storage.load(db, BASE64, 1).await.unwrap_err().code(), "cell_not_base64");
}

const RAW: Field<messages::Entity, Text> = Field::new(messages::Column::EncryptedContent)
    .layout(Layout { format: Format::RawAesGcm, encoding: Encoding::Bytes });

async fn a_cell_without_a_key_id_is_read_under_the_raw_key_and_replaced_by_a_native_one(backend: DbBackend) {
    let site = Site::new(backend).await;
    let (storage, db) = (open(&site, stale()).await, &site.app);
    let (key_id, secret) = (KeyId(77), [7; 32]);
    let dek = || Dek::from_slice(&secret).unwrap();
    let kek = reseal_keyring::kek::open(site.engine.config.kek.uri.expose()).unwrap();
    let raw = NewKey {
        key_id: 77,
        state: KeyState::Deactivated,
        algorithm: "AES256_GCM".into(),
        prefix: "raw".into(),
        kek_id: kek.id().into(),
        wrapped_dek: kek.wrap("default", key_id, &dek()).unwrap(),
    };
    keys::insert(site.engine.ledger.db(), "tester", "default", raw).await.unwrap();
    let (algorithm, prefix) = (Algorithm::Aes256Gcm, Prefix::Raw);
    let info = KeyInfo { key_id, version: 1, state: reseal_keyring::KeyState::Active, algorithm, prefix };
    let others = Keyset::new("theirs", vec![(info, Some(dek()))]).unwrap();

    let id = storage.messages::<Text>().send(db, "native").await.unwrap();
    assert_eq!(storage.load(db, RAW, id).await.unwrap().unwrap().as_str(), "native");
    let cell = others.encrypt(b"theirs", format!("messages.encrypted_content:{id}").as_bytes());
    site.set_message(id, Some(cell)).await.unwrap();
    assert_eq!(storage.load(db, RAW, id).await.unwrap().unwrap().as_str(), "theirs");
    assert!(storage.messages::<Text>().read(db, id).await.is_err(), "the native layout takes native cells only");
    assert!(storage.update(db, RAW, id, "ours").await.unwrap());
    assert_eq!(storage.messages::<Text>().read(db, id).await.unwrap().unwrap().as_str(), "ours");
}

on_every_database!(
    a_cell_without_a_key_id_is_read_under_the_raw_key_and_replaced_by_a_native_one,
    a_plaintext_column_is_read_as_it_is_and_written_as_cells,
    a_cell_of_a_key_just_promoted_is_never_taken_for_a_plaintext,
    a_plaintext_that_only_looks_like_a_cell_is_looked_up_once,
);
