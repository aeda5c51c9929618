//! The reference tables, and an entity of one's own.

use crate::{on_every_database, open, site::Site, stale};
use reseal_entities::app::{messages, user_profiles};
use reseal_storage::{Bytes, Field, Json, Text};
use sea_orm::{ActiveValue::Set, DbBackend, EntityTrait, TransactionTrait};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Profile {
    name: String,
    age: u8,
}

pub(crate) mod invoices {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "invoices")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i32,
        pub cents: i32,
        #[sea_orm(column_type = "Blob", nullable)]
        pub body: Option<Vec<u8>>,
        #[sea_orm(column_type = "Blob", nullable)]
        pub note: Option<Vec<u8>>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) const BODY: Field<invoices::Entity, Bytes> = Field::new(invoices::Column::Body);
pub(crate) const NOTE: Field<invoices::Entity, Text> =
    Field::new(invoices::Column::Note).associated_data("note {number} of {tenant}");

pub(crate) async fn create_invoices(site: &Site, backend: DbBackend) {
    let bytes = if backend == DbBackend::Postgres { "bytea" } else { "blob" };
    let columns = format!("tenant text, number integer, cents integer NOT NULL DEFAULT 0, body {bytes}, note {bytes}");
    site.sql(&format!("CREATE TABLE invoices ({columns}, PRIMARY KEY (tenant, number))")).await;
}

async fn what_is_saved_comes_back_and_is_bound_to_its_row_as_the_reference_says(backend: DbBackend) {
    let site = Site::new(backend).await;
    let storage = open(&site, stale()).await;
    let db = &site.app;

    let (profiles, uuid) = (storage.user_profiles::<Json<Profile>>(), Uuid::new_v4());
    let ann = |age| Profile { name: "Ann \"A\" Ü".into(), age };
    profiles.save(db, uuid, &ann(40)).await.unwrap();
    profiles.save(db, uuid, &ann(41)).await.unwrap();
    assert_eq!(profiles.load(db, uuid).await.unwrap(), Some(ann(41)));
    assert_eq!(profiles.load(db, Uuid::new_v4()).await.unwrap(), None);

    let messages = storage.messages::<Bytes>();
    let id = messages.send(db, b"hello").await.unwrap();
    let second = messages.send(db, b"").await.unwrap();
    assert!(second > id);
    assert_eq!(messages.read(db, second).await.unwrap().unwrap().as_slice(), b"");
    assert!(messages.edit(db, id, b"hello again").await.unwrap());
    assert!(!messages.edit(db, 77, b"nobody").await.unwrap());
    let page: Vec<_> = messages.after(db, 0, 10).await.unwrap().into_iter().map(|(id, m)| (id, m.to_vec())).collect();
    assert_eq!(page, [(id, b"hello again".to_vec()), (second, Vec::new())]);

    // Read by the keyring itself, with the associated data written out.
    let keyset = site.engine.keyring.keyset("default").await.unwrap();
    let row = messages::Entity::find_by_id(id).one(db).await.unwrap().unwrap();
    let associated_data = format!("messages.encrypted_content:{id}");
    let plaintext = keyset.decrypt(&row.encrypted_content.unwrap(), associated_data.as_bytes()).unwrap();
    assert_eq!(*plaintext, b"hello again");
    assert!(row.created_at > 1_600_000_000_000, "{}", row.created_at);
    let row = user_profiles::Entity::find_by_id(uuid).one(db).await.unwrap().unwrap();
    let associated_data = format!("user_profiles.encrypted_data:{}", uuid.to_string().to_lowercase());
    keyset.decrypt(&row.encrypted_data.unwrap(), associated_data.as_bytes()).unwrap();

    assert!(messages.delete(db, id).await.unwrap() && !messages.delete(db, id).await.unwrap());
    assert!(profiles.delete(db, uuid).await.unwrap());
    assert_eq!(messages.read(db, id).await.unwrap(), None);
}

async fn an_entity_of_ones_own_with_a_composite_key_takes_a_line_a_column(backend: DbBackend) {
    let site = Site::new(backend).await;
    create_invoices(&site, backend).await;
    let (storage, db) = (open(&site, stale()).await, &site.app);
    let key = || ("acme".to_owned(), 7);
    let row = |cents| invoices::ActiveModel {
        tenant: Set("acme".into()),
        number: Set(7),
        cents: Set(cents),
        ..Default::default()
    };
    assert_eq!(storage.insert(db, BODY, row(5), b"body").await.unwrap(), key());
    storage.insert(db, BODY, row(5), b"again").await.unwrap_err();
    assert!(storage.update(db, NOTE, key(), "note").await.unwrap());
    storage.save(db, BODY, row(6), b"new body").await.unwrap();
    assert_eq!(storage.load(db, BODY, key()).await.unwrap().unwrap().as_slice(), b"new body");
    assert_eq!(storage.load(db, NOTE, key()).await.unwrap().unwrap().as_str(), "note");
    let stored = invoices::Entity::find_by_id(key()).one(db).await.unwrap().unwrap();
    assert_eq!(stored.cents, 6);
    let keyset = site.engine.keyring.keyset("default").await.unwrap();
    assert_eq!(*keyset.decrypt(&stored.body.unwrap(), b"invoices.body:acme:7").unwrap(), b"new body");
    assert_eq!(*keyset.decrypt(&stored.note.unwrap(), b"note 7 of acme").unwrap(), b"note");
}

async fn a_cell_in_another_rows_place_is_refused_and_no_error_shows_a_value(backend: DbBackend) {
    let site = Site::new(backend).await;
    let (storage, db) = (open(&site, stale()).await, &site.app);
    let messages = storage.messages::<Text>();
    let [one, two] = [messages.send(db, "one secret").await.unwrap(), messages.send(db, "two").await.unwrap()];
    let cell = site.message(one).await;
    site.set_message(two, Some(cell)).await.unwrap();
    let error = messages.read(db, two).await.unwrap_err();
    assert_eq!(error.code(), "not_authentic");
    assert!(format!("{error:?}").contains(&format!("messages.encrypted_content:{two}")), "{error:?}");
    let error = storage.messages::<Json<u32>>().read(db, one).await.unwrap_err();
    assert_eq!(error.code(), "payload_malformed");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}

async fn a_row_whose_id_the_database_makes_is_never_seen_without_its_value(backend: DbBackend) {
    let site = Site::new(backend).await;
    let (storage, db) = (open(&site, stale()).await, &site.app);
    let (messages, goes_on) = (storage.messages::<Text>(), std::sync::atomic::AtomicBool::new(true));
    let nulls = "SELECT count(*) FROM messages WHERE encrypted_content IS NULL";
    let sending = async {
        for _ in 0..60 {
            messages.send(db, "hello").await.unwrap();
        }
        goes_on.store(false, std::sync::atomic::Ordering::Relaxed);
    };
    let looking = async {
        let mut looks = 0;
        while goes_on.load(std::sync::atomic::Ordering::Relaxed) {
            assert_eq!(site.count(nulls).await, 0);
            looks += 1;
        }
        looks
    };
    let ((), looks) = tokio::join!(sending, looking);
    assert!(looks > 5, "{looks} looks");
    // In the caller's transaction it goes with it.
    let txn = db.begin().await.unwrap();
    let id = messages.send(&txn, "not kept").await.unwrap();
    assert_eq!(messages.read(&txn, id).await.unwrap().unwrap().as_str(), "not kept");
    txn.rollback().await.unwrap();
    assert_eq!(messages.read(db, id).await.unwrap(), None);
    assert_eq!(site.count("SELECT count(*) FROM messages").await, 60);
}

on_every_database!(
    what_is_saved_comes_back_and_is_bound_to_its_row_as_the_reference_says,
    an_entity_of_ones_own_with_a_composite_key_takes_a_line_a_column,
    a_cell_in_another_rows_place_is_refused_and_no_error_shows_a_value,
    a_row_whose_id_the_database_makes_is_never_seen_without_its_value,
);
