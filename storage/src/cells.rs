//! One cell: read, decrypted, encrypted, written, and written again when the fence refuses it

use std::sync::{Arc, atomic::Ordering::Relaxed};

use reseal_keyring::KeyId;
use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait, StatementBuilder, Value,
    sea_query::{Expr, Query},
};
use zeroize::Zeroizing;

use crate::{
    Payload, Storage, StorageError,
    error::{Refused, aborted, refused_by_fence},
    field::{Cell, Key},
    keysets::Loaded,
    transaction::TRIES,
};

impl Storage {
    pub(crate) async fn stored<C: ConnectionTrait, E: EntityTrait>(
        &self,
        db: &C,
        cell: Cell<E>,
        key: &Key,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
        let mut select = Query::select();
        select.expr_as(Expr::col(cell.column), "cell").from(E::default().table_ref()).and_where(key.is::<E>());
        match db.query_one(&select).await? {
            Some(row) => cell.stored(&row, "cell"),
            None => Ok(None),
        }
    }

    pub(crate) async fn decrypt<E: EntityTrait>(
        &self,
        loaded: Arc<Loaded>,
        cell: Cell<E>,
        key: &Key,
        stored: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StorageError> {
        let associated_data = cell.associated_data(key)?;
        self.inner.keysets.open(loaded, cell.layout, stored, &associated_data, || cell.place(key)).await
    }

    pub(crate) async fn open_as<E: EntityTrait, P: Payload>(
        &self,
        loaded: Arc<Loaded>,
        cell: Cell<E>,
        key: &Key,
        stored: &[u8],
    ) -> Result<P::Taken, StorageError> {
        let plaintext = self.decrypt(loaded, cell, key, stored).await?;
        let malformed = || StorageError::Payload { place: cell.place(key), expected: P::EXPECTED };
        P::read(plaintext).ok_or_else(malformed)
    }

    pub(crate) fn encrypt<E: EntityTrait>(
        &self,
        loaded: &Loaded,
        cell: Cell<E>,
        key: &Key,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, StorageError> {
        let associated_data = cell.associated_data(key)?;
        let sealed = loaded.keyset.encrypt_into(cell.layout, plaintext, &associated_data);
        let sealed = sealed.map_err(|error| StorageError::Cell { place: cell.place(key), error })?;
        self.inner.keysets.counted.encryptions(loaded.keyset.active().0, 1);
        Ok(sealed)
    }

    /// Encrypts and writes; a write that the fence refuses is encrypted and written again after a reload.
    /// Says how many rows were written.
    pub(crate) async fn write<C: ConnectionTrait, E: EntityTrait, S: StatementBuilder + Sync>(
        &self,
        db: &C,
        cell: Cell<E>,
        key: &Key,
        plaintext: &[u8],
        statement: impl Fn(Value) -> S,
    ) -> Result<u64, StorageError> {
        for tried in 1..=TRIES {
            let loaded = self.writing(cell).await?;
            let sealed = self.encrypt(&loaded, cell, key, plaintext)?;
            let active = loaded.keyset.active();
            drop(loaded);
            let done = db.execute(&statement(cell.value(sealed))).await.map(|done| done.rows_affected());
            if let Some(done) = self.settled(done, cell.keyset, active, tried).await? {
                return Ok(done);
            }
        }
        Err(Refused.into())
    }

    /// What a write came to; `None` when it is to be encrypted and written again.
    async fn settled<T>(
        &self,
        done: Result<T, DbErr>,
        keyset: &str,
        active: KeyId,
        tried: usize,
    ) -> Result<Option<T>, StorageError> {
        match done {
            Ok(done) => {
                self.inner.keysets.counted.went_through_at(tried);
                Ok(Some(done))
            }
            Err(error) if refused_by_fence(&error) => {
                self.inner.keysets.counted.refused.fetch_add(1, Relaxed);
                self.inner.keysets.reload_refused(keyset, active).await?;
                Ok(None)
            }
            // The refusal before it aborted the caller's transaction: only the whole can be repeated.
            Err(error) if tried > 1 && aborted(&error) => Err(Refused.into()),
            Err(error) => Err(error.into()),
        }
    }
}
