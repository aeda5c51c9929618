//! Rows with an encrypted value: insert, save, load, update

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IdenStatic, Iterable, Value,
    sea_query::{Expr, OnConflict, Query, SimpleExpr},
};

use crate::{
    Begin, Field, KeyOf, Payload, Storage, StorageError,
    agreed::set,
    error::Refused,
    field::{Cell, Key, key_columns},
    transaction::TRIES,
};

impl Storage {
    /// The value of a row; none when there is no such row, or NULL in it
    ///
    /// # Errors
    ///
    /// Those of the database and the cell; [`StorageError::Payload`] when what was decrypted is no value
    /// of the field's type.
    pub async fn load<C: ConnectionTrait, E: EntityTrait, P: Payload>(
        &self,
        db: &C,
        field: Field<E, P>,
        key: KeyOf<E>,
    ) -> Result<Option<P::Taken>, StorageError> {
        let (cell, key) = (field.cell, Key::of::<E>(key)?);
        let loaded = self.reading(cell).await?; // before the cell is read
        let Some(stored) = self.stored(db, cell, &key).await? else { return Ok(None) };
        Ok(Some(self.open_as::<E, P>(loaded, cell, &key, &stored).await?))
    }

    /// Inserts a row and its value; says its key
    ///
    /// A key that is set in `row` makes it one `INSERT`. One that the database makes costs a transaction
    /// (a savepoint inside the caller's): the row is inserted without its value, which is bound to the
    /// key, and gets it before the commit; nobody ever sees it without. The column must then take NULL,
    /// or empty bytes.
    ///
    /// # Errors
    ///
    /// Those of the database; [`StorageError::Fenced`] where the caller's transaction is aborted; [`StorageError::Field`]
    /// where `row` sets another encrypted column to a plaintext.
    pub async fn insert<C: Begin, E: EntityTrait, P: Payload>(
        &self,
        db: &C,
        field: Field<E, P>,
        row: E::ActiveModel,
        value: &P::Given,
    ) -> Result<KeyOf<E>, StorageError> {
        self.insert_with(db, field, row, value, Vec::new()).await
    }

    /// With more columns whose values the database computes.
    pub(crate) async fn insert_with<C: Begin, E: EntityTrait, P: Payload>(
        &self,
        db: &C,
        field: Field<E, P>,
        row: E::ActiveModel,
        value: &P::Given,
        more: Vec<(E::Column, SimpleExpr)>,
    ) -> Result<KeyOf<E>, StorageError> {
        let cell = field.cell;
        let plaintext = plaintext::<E, P>(cell, value)?;
        let columns = self.columns(&row, cell, more).await?;
        if let Some(key) = key_of_row::<E>(&row)? {
            let insert = |value: Value| insert::<E>(&columns, cell, value);
            let done = self.write(db, cell, &key, &plaintext, insert).await?;
            return if done == 1 { returned_as::<E>(&key) } else { Err(StorageError::Contended(cell.place(&key))) };
        }
        for tried in 1..=TRIES {
            let txn = db.begin_write().await?;
            match self.insert_made(&txn, cell, &columns, &plaintext).await {
                Ok(key) => {
                    txn.commit().await?;
                    self.inner.keysets.counted.went_through_at(tried);
                    return Ok(key);
                }
                Err(error) => {
                    let _ = txn.rollback().await;
                    if !matches!(error, StorageError::Fenced(_)) || tried == TRIES {
                        return Err(error);
                    }
                }
            }
        }
        Err(Refused.into())
    }

    /// The other columns that a statement sets. A plaintext in one that is encrypted is refused.
    async fn columns<E: EntityTrait>(
        &self,
        row: &E::ActiveModel,
        cell: Cell<E>,
        more: Vec<(E::Column, SimpleExpr)>,
    ) -> Result<Vec<(E::Column, SimpleExpr)>, StorageError> {
        let others = E::Column::iter().filter(|c| c.as_str() != cell.column.as_str());
        let columns: Vec<_> = others.filter_map(|c| Some(set(c, row.get(c).into_value()?))).collect();
        self.writing(cell).await?; // which knows the table's other encrypted columns
        self.holds_no_plaintext(cell, &columns)?;
        Ok(columns.into_iter().map(|(column, expression, _)| (column, expression)).chain(more).collect())
    }

    async fn insert_made<C: ConnectionTrait, E: EntityTrait>(
        &self,
        txn: &C,
        cell: Cell<E>,
        columns: &[(E::Column, SimpleExpr)],
        plaintext: &[u8],
    ) -> Result<KeyOf<E>, StorageError> {
        let writing = self.writing(cell).await?;
        let no_value = cell.no_value(&writing.keyset);
        let no_value = no_value.map_err(|error| StorageError::Cell { place: cell.path(), error })?;
        let mut statement = insert::<E>(columns, cell, no_value);
        statement.returning(Query::returning().columns(key_columns::<E>()));
        let row = txn.query_one(&statement).await?;
        let row = row.ok_or_else(|| DbErr::RecordNotInserted)?;
        let made = Key::returned::<E>(&row)?;
        let key = Key::of::<E>(Key::returned::<E>(&row)?)?;
        let written = self.write(txn, cell, &key, plaintext, |value| update::<E>(cell, &key, value)).await?;
        if written == 1 { Ok(made) } else { Err(StorageError::Contended(cell.place(&key))) }
    }

    /// Inserts a row and its value, or updates the row of that key: its value and whatever is set in `row`
    ///
    /// # Errors
    ///
    /// As [`Storage::insert`]; [`StorageError::Key`] when the key is not set in `row`.
    pub async fn save<C: ConnectionTrait, E: EntityTrait, P: Payload>(
        &self,
        db: &C,
        field: Field<E, P>,
        row: E::ActiveModel,
        value: &P::Given,
    ) -> Result<(), StorageError> {
        self.save_with(db, field, row, value, Vec::new()).await
    }

    /// With more columns that only an insert writes.
    pub(crate) async fn save_with<C: ConnectionTrait, E: EntityTrait, P: Payload>(
        &self,
        db: &C,
        field: Field<E, P>,
        row: E::ActiveModel,
        value: &P::Given,
        more: Vec<(E::Column, SimpleExpr)>,
    ) -> Result<(), StorageError> {
        let cell = field.cell;
        let plaintext = plaintext::<E, P>(cell, value)?;
        let key = key_of_row::<E>(&row)?.ok_or_else(|| StorageError::Key(E::default().table_name().to_owned()))?;
        let mut columns = self.columns(&row, cell, Vec::new()).await?;
        let keys: Vec<_> = key_columns::<E>().iter().map(|c| c.as_str()).collect();
        let mut changes: Vec<E::Column> =
            columns.iter().map(|(c, _)| *c).filter(|c| !keys.contains(&c.as_str())).collect();
        changes.push(cell.column);
        columns.extend(more);
        let statement = |value: Value| {
            let mut statement = insert::<E>(&columns, cell, value);
            statement.on_conflict(
                OnConflict::columns(key_columns::<E>()).update_columns(changes.iter().copied()).to_owned(),
            );
            statement
        };
        self.write(db, cell, &key, &plaintext, statement).await.map(drop)
    }

    /// Replaces the value of a row; false when there is no such row
    ///
    /// # Errors
    ///
    /// Those of the database; [`StorageError::Fenced`] where the caller's transaction is aborted.
    pub async fn update<C: ConnectionTrait, E: EntityTrait, P: Payload>(
        &self,
        db: &C,
        field: Field<E, P>,
        key: KeyOf<E>,
        value: &P::Given,
    ) -> Result<bool, StorageError> {
        let (cell, key) = (field.cell, Key::of::<E>(key)?);
        let plaintext = plaintext::<E, P>(cell, value)?;
        let written = self.write(db, cell, &key, &plaintext, |value| update::<E>(cell, &key, value)).await?;
        Ok(written > 0)
    }

    /// The bytes for a column, for a statement of one's own; bound to the row of this key
    ///
    /// A statement that the fence refuses is not written again by itself: run it in
    /// [`Storage::transaction`], which encrypts again.
    ///
    /// # Errors
    ///
    /// As for a write, without the database's.
    pub async fn seal<E: EntityTrait, P: Payload>(
        &self,
        field: Field<E, P>,
        key: KeyOf<E>,
        value: &P::Given,
    ) -> Result<Vec<u8>, StorageError> {
        let (cell, key) = (field.cell, Key::of::<E>(key)?);
        let plaintext = plaintext::<E, P>(cell, value)?;
        let loaded = self.writing(cell).await?;
        self.encrypt(&loaded, cell, &key, &plaintext)
    }

    /// The value of bytes that stood in a column, from a statement of one's own
    ///
    /// # Errors
    ///
    /// Those of the cell and the payload.
    pub async fn unseal<E: EntityTrait, P: Payload>(
        &self,
        field: Field<E, P>,
        key: KeyOf<E>,
        stored: &[u8],
    ) -> Result<P::Taken, StorageError> {
        let (cell, key) = (field.cell, Key::of::<E>(key)?);
        let loaded = self.reading(cell).await?;
        self.open_as::<E, P>(loaded, cell, &key, stored).await
    }
}

fn plaintext<E: EntityTrait, P: Payload>(cell: Cell<E>, value: &P::Given) -> Result<crate::Wiping, StorageError> {
    P::write(value).ok_or_else(|| StorageError::Payload { place: cell.path(), expected: P::EXPECTED })
}

/// None when the database makes it, or a part of it.
fn key_of_row<E: EntityTrait>(row: &E::ActiveModel) -> Result<Option<Key>, StorageError> {
    let values: Option<Vec<Value>> = key_columns::<E>().into_iter().map(|c| row.get(c).into_value()).collect();
    values.map(Key::from_values::<E>).transpose()
}

fn returned_as<E: EntityTrait>(key: &Key) -> Result<KeyOf<E>, StorageError> {
    use sea_orm::sea_query::{FromValueTuple, ValueTuple};
    let mut values = key.values.clone();
    let tuple = match values.len() {
        1 => ValueTuple::One(values.remove(0)),
        2 => ValueTuple::Two(values.remove(0), values.remove(0)),
        3 => ValueTuple::Three(values.remove(0), values.remove(0), values.remove(0)),
        _ => ValueTuple::Many(values),
    };
    Ok(KeyOf::<E>::from_value_tuple(tuple))
}

fn insert<E: EntityTrait>(
    columns: &[(E::Column, SimpleExpr)],
    cell: Cell<E>,
    value: Value,
) -> sea_orm::sea_query::InsertStatement {
    let mut insert = Query::insert();
    insert.into_table(E::default().table_ref());
    insert.columns(columns.iter().map(|(c, _)| *c).chain([cell.column]));
    let values = columns.iter().map(|(_, value)| value.clone()).chain([cell.column.save_as(Expr::val(value))]);
    insert.values_panic(values); // as many as columns
    insert
}

fn update<E: EntityTrait>(cell: Cell<E>, key: &Key, value: Value) -> sea_orm::sea_query::UpdateStatement {
    let mut update = Query::update();
    update.table(E::default().table_ref()).value(cell.column, cell.column.save_as(Expr::val(value)));
    update.and_where(key.is::<E>());
    update
}
