//! `user_profiles`: one value a person, under a uuid that the application makes

use std::marker::PhantomData;

use reseal_entities::{
    app::user_profiles::{ActiveModel, Column, Entity},
    ledger::time::now,
};
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait};
use uuid::Uuid;

use crate::{Field, Payload, Storage, StorageError};

/// Profiles; each bound to `user_profiles.encrypted_data:{id}`
pub struct UserProfiles<'a, P> {
    storage: &'a Storage,
    payload: PhantomData<fn() -> P>,
}

impl<'a, P: Payload> UserProfiles<'a, P> {
    /// The column, for statements of one's own
    pub const FIELD: Field<Entity, P> = Field::new(Column::EncryptedData);

    pub(crate) fn new(storage: &'a Storage) -> Self {
        Self { storage, payload: PhantomData }
    }

    /// Inserts the profile, or replaces the one of this id
    ///
    /// # Errors
    ///
    /// As [`Storage::save`].
    pub async fn save<C: ConnectionTrait>(&self, db: &C, id: Uuid, profile: &P::Given) -> Result<(), StorageError> {
        let row = ActiveModel { id: Set(id), ..Default::default() };
        self.storage.save_with(db, Self::FIELD, row, profile, vec![(Column::CreatedAt, now(db))]).await
    }

    /// The profile of this id
    ///
    /// # Errors
    ///
    /// As [`Storage::load`].
    pub async fn load<C: ConnectionTrait>(&self, db: &C, id: Uuid) -> Result<Option<P::Taken>, StorageError> {
        self.storage.load(db, Self::FIELD, id).await
    }

    /// Gives the profile another id; false when there is none of the old one
    ///
    /// # Errors
    ///
    /// As [`Storage::rekey`].
    pub async fn rekey<C: ConnectionTrait>(&self, db: &C, old: Uuid, new: Uuid) -> Result<bool, StorageError> {
        self.storage.rekey(db, Self::FIELD, old, new).await
    }

    /// Deletes the profile; false when there was none
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn delete<C: ConnectionTrait>(&self, db: &C, id: Uuid) -> Result<bool, StorageError> {
        Ok(Entity::delete_by_id(id).exec(db).await?.rows_affected > 0)
    }
}
