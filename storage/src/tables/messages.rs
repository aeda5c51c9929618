//! `messages`: values under ids that the database makes

use std::marker::PhantomData;

use reseal_entities::{
    app::messages::{ActiveModel, Column, Entity},
    ledger::time::now,
};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::{Begin, Field, Payload, Storage, StorageError, field::Key};

/// Messages; each bound to `messages.encrypted_content:{id}`
pub struct Messages<'a, P> {
    storage: &'a Storage,
    payload: PhantomData<fn() -> P>,
}

impl<'a, P: Payload> Messages<'a, P> {
    /// The column, for statements of one's own
    pub const FIELD: Field<Entity, P> = Field::new(Column::EncryptedContent);

    pub(crate) fn new(storage: &'a Storage) -> Self {
        Self { storage, payload: PhantomData }
    }

    /// Stores a message and says its id
    ///
    /// # Errors
    ///
    /// As [`Storage::insert`].
    pub async fn send<C: Begin>(&self, db: &C, message: &P::Given) -> Result<i64, StorageError> {
        let row = ActiveModel::default();
        self.storage.insert_with(db, Self::FIELD, row, message, vec![(Column::CreatedAt, now(db))]).await
    }

    /// One message
    ///
    /// # Errors
    ///
    /// As [`Storage::load`].
    pub async fn read<C: ConnectionTrait>(&self, db: &C, id: i64) -> Result<Option<P::Taken>, StorageError> {
        self.storage.load(db, Self::FIELD, id).await
    }

    /// The next messages after an id, oldest first, at most `limit`
    ///
    /// # Errors
    ///
    /// As [`Storage::load`]; one that cannot be read is an error for all.
    pub async fn after<C: ConnectionTrait>(
        &self,
        db: &C,
        id: i64,
        limit: u64,
    ) -> Result<Vec<(i64, P::Taken)>, StorageError> {
        let cell = Self::FIELD.cell;
        let loaded = self.storage.reading(cell).await?; // before the cells are read
        let rows = Entity::find()
            .filter(Column::Id.gt(id))
            .filter(Column::EncryptedContent.is_not_null())
            .order_by_asc(Column::Id)
            .limit(limit)
            .all(db)
            .await?;
        let mut messages = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(stored) = row.encrypted_content else { continue };
            let key = Key::of::<Entity>(row.id)?;
            messages.push((row.id, self.storage.open_as::<Entity, P>(loaded.clone(), cell, &key, &stored).await?));
        }
        Ok(messages)
    }

    /// Replaces a message; false when there is none of this id
    ///
    /// # Errors
    ///
    /// As [`Storage::update`].
    pub async fn edit<C: ConnectionTrait>(&self, db: &C, id: i64, message: &P::Given) -> Result<bool, StorageError> {
        self.storage.update(db, Self::FIELD, id, message).await
    }

    /// Deletes a message; false when there was none
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn delete<C: ConnectionTrait>(&self, db: &C, id: i64) -> Result<bool, StorageError> {
        Ok(Entity::delete_by_id(id).exec(db).await?.rows_affected > 0)
    }
}
