//! Primary keys that change.

use crate::{
    on_every_database, open, rotate_past_writers,
    site::Site,
    stale,
    tables::{BODY, NOTE, create_invoices, invoices},
};
use reseal_storage::Text;
use sea_orm::{ActiveValue::Set, DbBackend};
use uuid::Uuid;

async fn a_changed_key_takes_every_value_with_it(backend: DbBackend) {
    let site = Site::new(backend).await;
    create_invoices(&site, backend).await;
    let (storage, db) = (open(&site, stale()).await, &site.app);
    let key = |number| ("acme".to_owned(), number);
    let row = invoices::ActiveModel { tenant: Set("acme".into()), number: Set(1), ..Default::default() };
    storage.insert(db, BODY, row, b"body").await.unwrap();
    storage.update(db, NOTE, key(1), "note").await.unwrap();
    assert!(storage.rekey(db, (BODY, NOTE), key(1), key(2)).await.unwrap());
    assert!(!storage.rekey(db, (BODY, NOTE), key(1), key(3)).await.unwrap(), "nothing is left of the old one");
    assert_eq!(storage.load(db, BODY, key(2)).await.unwrap().unwrap().as_slice(), b"body");
    assert_eq!(storage.load(db, NOTE, key(2)).await.unwrap().unwrap().as_str(), "note");
    site.sql("UPDATE invoices SET note = NULL").await;
    assert!(storage.rekey(db, (BODY, NOTE), key(2), key(4)).await.unwrap());
    assert_eq!(storage.load(db, BODY, key(4)).await.unwrap().unwrap().as_slice(), b"body");
    assert_eq!(site.count("SELECT count(*) FROM invoices").await, 1);
}

async fn a_value_written_meanwhile_is_never_overwritten_by_an_older_one(backend: DbBackend) {
    let site = Site::new(backend).await;
    let (storage, db) = (open(&site, stale()).await, site.app.clone());
    let mut met = 0;
    for round in 0..40 {
        let (old, new) = (Uuid::new_v4(), Uuid::new_v4());
        let profiles = storage.user_profiles::<Text>();
        profiles.save(&db, old, "first").await.unwrap();
        let (writer, its_db) = (storage.clone(), db.clone());
        let writing = tokio::spawn(async move {
            let mut last = "first".to_owned();
            for n in 0.. {
                let value = format!("value {n}");
                let field = reseal_storage::UserProfiles::<Text>::FIELD;
                if !writer.update(&its_db, field, old, &value).await.unwrap() {
                    break;
                }
                last = value;
            }
            last
        });
        for _ in 0..round % 4 {
            tokio::task::yield_now().await;
        }
        // Contended only says that the writer was faster each time.
        while profiles.rekey(&db, old, new).await.is_err() {}
        let last = writing.await.unwrap();
        met += i32::from(last != "first");
        assert_eq!(profiles.load(&db, new).await.unwrap().unwrap().as_str(), last, "round {round}");
    }
    assert!(met > 5, "the writer wrote in only {met} rounds");
}

async fn a_key_changes_also_after_a_rotation_that_the_instance_missed(backend: DbBackend) {
    let site = Site::new(backend).await;
    let (storage, db) = (open(&site, stale()).await, &site.app);
    let (profiles, [old, new]) = (storage.user_profiles::<Text>(), [Uuid::new_v4(), Uuid::new_v4()]);
    profiles.save(db, old, "Ann").await.unwrap();
    let reader = open(&site, stale()).await;
    rotate_past_writers(&site).await;
    // Reading the cell tells the instance of the new key, and the fence has nothing to refuse.
    assert!(profiles.rekey(db, old, new).await.unwrap());
    assert_eq!(reader.user_profiles::<Text>().load(db, new).await.unwrap().unwrap().as_str(), "Ann");
    assert_eq!(reader.user_profiles::<Text>().load(db, old).await.unwrap(), None);
}

on_every_database!(
    a_changed_key_takes_every_value_with_it,
    a_value_written_meanwhile_is_never_overwritten_by_an_older_one,
    a_key_changes_also_after_a_rotation_that_the_instance_missed,
);
