//! Changing a primary key that cells are bound to

use std::sync::atomic::Ordering::Relaxed;

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait,
    sea_query::{Expr, ExprTrait, Query},
};

use reseal_keyring::CellError;

use crate::{
    Fields, KeyOf, Storage, StorageError,
    error::{Refused, aborted, refused_by_fence},
    field::{Key, key_columns},
    transaction::TRIES,
};

/// Others who write the row at the same time win; after so many of them the caller hears of it.
const SWAPS_MAX: usize = 10;

impl Storage {
    /// Changes a row's primary key and re-encrypts its values for the new one, in one `UPDATE`; false when
    /// there is no such row
    ///
    /// `fields` must be **every** field of the entity that is bound to the key. One that the ledger's catalog has, or that
    /// this process has used, and that is left out is refused: it could not be decrypted afterwards. The `UPDATE` compares the old cells, so a value that somebody wrote meanwhile
    /// is never overwritten by an older one; it is read again and tried again, up to ten times. The price
    /// is a read before the write. Rows elsewhere that refer to the key are the application's to change.
    ///
    /// # Errors
    ///
    /// Those of reading and writing; [`StorageError::Contended`]; [`StorageError::Field`] for a field that is left out.
    pub async fn rekey<C: ConnectionTrait, E: EntityTrait>(
        &self,
        db: &C,
        fields: impl Fields<E>,
        old: KeyOf<E>,
        new: KeyOf<E>,
    ) -> Result<bool, StorageError> {
        let (old, new, cells) = (Key::of::<E>(old)?, Key::of::<E>(new)?, fields.cells());
        self.names_every_bound_field(&cells).await?;
        let mut tried = 1;
        for _ in 0..SWAPS_MAX {
            let mut readers = Vec::new();
            for cell in &cells {
                readers.push(self.reading(*cell).await?); // before the cells are read
            }
            let mut select = Query::select();
            select.from(E::default().table_ref()).and_where(old.is::<E>());
            for (at, cell) in cells.iter().enumerate() {
                select.expr_as(Expr::col(cell.column), format!("cell{at}"));
            }
            let Some(row) = db.query_one(&select).await? else { return Ok(false) };
            let mut update = Query::update();
            update.table(E::default().table_ref()).and_where(old.is::<E>());
            for (column, value) in key_columns::<E>().into_iter().zip(&new.values) {
                update.value(column, column.save_as(Expr::val(value.clone())));
            }
            for (at, (cell, loaded)) in cells.iter().zip(readers).enumerate() {
                let column = Expr::col(cell.column);
                let Some(stored) = cell.stored(&row, &format!("cell{at}"))? else {
                    update.and_where(column.is_null());
                    continue;
                };
                let plaintext = self.decrypt(loaded, *cell, &old, &stored).await?;
                let writing = self.writing(*cell).await?;
                if let Some(key_id) = writing.keyset.stranger(cell.layout, &stored) {
                    // Perhaps a value, perhaps a cell under a key that a restored ledger has forgotten.
                    let error = CellError::UnknownKey { key_id };
                    return Err(StorageError::Cell { place: cell.place(&old), error });
                }
                let sealed = self.encrypt(&writing, *cell, &new, &plaintext)?;
                update.value(cell.column, cell.column.save_as(Expr::val(cell.value(sealed))));
                let same = cell.exactly(db.get_database_backend());
                update.and_where(same.eq(cell.column.save_as(Expr::val(cell.value(stored.to_vec())))));
            }
            let done = db.execute(&update).await.map(|done| done.rows_affected());
            let refused = done.as_ref().is_err_and(refused_by_fence);
            if refused && tried == TRIES {
                return Err(Refused.into());
            }
            if refused {
                // Whichever of the keysets it was.
                self.inner.keysets.counted.refused.fetch_add(1, Relaxed);
                self.inner.keysets.reload_all().await;
                tried += 1;
                continue;
            }
            match done {
                Ok(0) => {}
                Ok(_) => {
                    self.inner.keysets.counted.went_through_at(tried);
                    return Ok(true);
                }
                Err(error) if tried > 1 && aborted(&error) => return Err(Refused.into()),
                Err(error) => return Err(error.into()),
            }
        }
        let place = cells.first().map_or_else(|| E::default().table_name().to_owned(), |cell| cell.place(&old));
        Err(StorageError::Contended(place))
    }
}
