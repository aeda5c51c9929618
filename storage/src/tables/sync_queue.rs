//! `sync_queue`: values that wait to be taken once

use std::marker::PhantomData;

use reseal_entities::{
    app::sync_queue::{ActiveModel, Column, Entity},
    ledger::time::now,
};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::{Begin, Field, Payload, Storage, StorageError, field::Key};

/// Entries; each bound to `sync_queue.encrypted_data:{id}`
pub struct SyncQueue<'a, P> {
    storage: &'a Storage,
    payload: PhantomData<fn() -> P>,
}

/// An entry that was taken
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// Its id: entries that were made earlier have smaller ones
    pub id: i64,
    /// What was enqueued
    pub value: T,
}

const TAKE: &str = "DELETE FROM sync_queue WHERE id = (SELECT id FROM sync_queue \
                    WHERE encrypted_data IS NOT NULL AND id > $1 ORDER BY id LIMIT 1";

impl<'a, P: Payload> SyncQueue<'a, P> {
    /// The column, for statements of one's own
    pub const FIELD: Field<Entity, P> = Field::new(Column::EncryptedData);

    pub(crate) fn new(storage: &'a Storage) -> Self {
        Self { storage, payload: PhantomData }
    }

    /// Adds an entry and says its id
    ///
    /// # Errors
    ///
    /// As [`Storage::insert`].
    pub async fn enqueue<C: Begin>(&self, db: &C, value: &P::Given) -> Result<i64, StorageError> {
        let row = ActiveModel::default();
        self.storage.insert_with(db, Self::FIELD, row, value, vec![(Column::CreatedAt, now(db))]).await
    }

    /// Takes the oldest entry out; none when there is none, or others hold all of them at this moment
    ///
    /// An entry is taken at most once. It goes with the caller's transaction: what is rolled back is
    /// there again, and work in the same transaction is done once. On a connection it is gone when this
    /// returns, whatever becomes of the caller. One that cannot be decrypted stays, see
    /// [`SyncQueue::take_after`]. Entries that others are taking are passed over, so that takers do not
    /// wait for each other; the price is that they finish in no order.
    ///
    /// # Errors
    ///
    /// Those of the database and the cell.
    pub async fn take<C: Begin>(&self, db: &C) -> Result<Option<Entry<P::Taken>>, StorageError> {
        self.take_after(db, i64::MIN).await
    }

    /// The same among entries with a greater id: to pass over one that cannot be decrypted
    ///
    /// # Errors
    ///
    /// As [`SyncQueue::take`].
    pub async fn take_after<C: Begin>(&self, db: &C, id: i64) -> Result<Option<Entry<P::Taken>>, StorageError> {
        let cell = Self::FIELD.cell;
        let loaded = self.storage.reading(cell).await?; // before the cell is read
        let backend = db.get_database_backend();
        // Without the lock two takers would wait for one row, and one of them find it gone.
        let lock = if backend == DbBackend::Postgres { " FOR UPDATE SKIP LOCKED" } else { "" };
        let sql = format!("{TAKE}{lock}) RETURNING id, encrypted_data");
        let txn = db.begin_write().await?;
        let taken = async {
            let row = txn.query_one_raw(Statement::from_sql_and_values(backend, sql, [id.into()])).await?;
            let Some(row) = row else { return Ok(None) };
            let id: i64 = row.try_get("", "id")?;
            let Some(stored) = cell.stored(&row, "encrypted_data")? else { return Ok(None) };
            // Before the commit: an entry that cannot be decrypted must not be gone.
            let key = Key::of::<Entity>(id)?;
            let value = self.storage.open_as::<Entity, P>(loaded, cell, &key, &stored).await?;
            Ok(Some(Entry { id, value }))
        };
        let taken: Result<_, StorageError> = taken.await;
        match taken {
            Ok(taken) => txn.commit().await.map(|()| taken).map_err(StorageError::from),
            Err(error) => {
                let _ = txn.rollback().await;
                Err(error)
            }
        }
    }
}
