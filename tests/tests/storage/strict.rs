//! Columns whose fence lets in nothing but cells under the active key.

use crate::{drive_past_writers, on_every_database, open, rotate_past_writers, site::Site, stale};
use reseal_config::Fence;
use reseal_entities::state::RotationState;
use reseal_storage::{Fenceable, StorageError, Text};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use uuid::Uuid;

async fn strict(backend: DbBackend) -> Site {
    Site::with(backend, false, |c| c.tables.iter_mut().for_each(|t| t.fence = Fence::Strict)).await
}

async fn a_plaintext_is_refused_in_its_own_words_and_not_run_again(backend: DbBackend) {
    let site = strict(backend).await;
    let storage = open(&site, stale()).await;
    let id = storage.messages::<Text>().send(&site.app, "hello").await.unwrap();
    rotate_past_writers(&site).await;
    for value in [&b"in the clear"[..], b""] {
        let runs = AtomicUsize::new(0);
        let refused: Result<(), StorageError> = storage
            .transaction(&site.app, async |txn| {
                runs.fetch_add(1, Relaxed);
                let sql = "UPDATE messages SET encrypted_content = $1 WHERE id = $2";
                let values = [value.to_vec().into(), id.into()];
                txn.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
                Ok(())
            })
            .await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), "not_encrypted", "{refused}");
        assert!(!refused.is_fenced() && refused.to_string().contains("encrypt it"), "{refused}");
        assert_eq!(runs.load(Relaxed), 1, "running it again cannot help");
    }
    // A cell under the old key is told to be encrypted again, and is.
    assert!(storage.messages::<Text>().edit(&site.app, id, "edited").await.unwrap());
    assert_eq!(storage.counters().refused, 1);
    // What does not touch the cell passes.
    site.sql("UPDATE messages SET created_at = created_at + 1").await;
    site.set_message(id, None).await.unwrap();
}

async fn a_strict_column_is_rotated_again_while_it_is_written(backend: DbBackend) {
    let site = strict(backend).await;
    let truth = site.seed(60).await;
    rotate_past_writers(&site).await;
    assert_eq!(site.read_all().await, truth);
    let storage = open(&site, stale()).await;
    let (id, late) = (Uuid::new_v4(), Uuid::new_v4());
    storage.user_profiles::<Text>().save(&site.app, id, "between").await.unwrap();
    // The fence of the first rotation stands sealed; the second one's key is let in before it is promoted.
    let second = site.request().await;
    site.drive(second, |s| s.state != RotationState::Requested && s.state != RotationState::Planning).await;
    let fresh = open(&site, stale()).await;
    fresh.user_profiles::<Text>().save(&site.app, id, "under the next key").await.unwrap();
    storage.user_profiles::<Text>().save(&site.app, late, "a late one under the key before").await.unwrap();
    assert_eq!(fresh.counters().refused + storage.counters().refused, 0, "both keys are let in until the fence");
    drive_past_writers(&site, second, RotationState::Completed).await;
    for (id, text) in [(id, "under the next key"), (late, "a late one under the key before")] {
        assert_eq!(fresh.user_profiles::<Text>().load(&site.app, id).await.unwrap().unwrap().as_str(), text);
    }
}

on_every_database!(
    a_plaintext_is_refused_in_its_own_words_and_not_run_again,
    a_strict_column_is_rotated_again_while_it_is_written,
);
