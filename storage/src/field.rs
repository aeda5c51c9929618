//! A field: a column of encrypted values, and what they are bound to

use std::{fmt, marker::PhantomData};

use reseal_keyring::{CellError, Keyset, Layout, Template};
use sea_orm::{
    ColumnTrait, DbBackend, EntityTrait, IdenStatic, Iterable, PrimaryKeyToColumn, PrimaryKeyTrait, QueryResult,
    TryGetableMany, Value,
    sea_query::{Expr, ExprTrait, IntoValueTuple, SimpleExpr},
};
use zeroize::Zeroizing;

use crate::StorageError;

/// The primary key of an entity: one value, or a tuple
pub type KeyOf<E> = <<E as EntityTrait>::PrimaryKey as PrimaryKeyTrait>::ValueType;

/// A column of encrypted values, as a constant beside its entity
///
/// ```
/// # mod invoices { use sea_orm::entity::prelude::*;
/// # #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)] #[sea_orm(table_name = "invoices")]
/// # pub struct Model { #[sea_orm(primary_key, auto_increment = false)] pub tenant: i32,
/// #   #[sea_orm(primary_key, auto_increment = false)] pub number: i32, pub body: Option<Vec<u8>> }
/// # #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)] pub enum Relation {}
/// # impl ActiveModelBehavior for ActiveModel {} }
/// use reseal_storage::{Field, Json};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Invoice { cents: i64 }
///
/// const BODY: Field<invoices::Entity, Json<Invoice>> = Field::new(invoices::Column::Body);
/// ```
///
/// At its first use a field is compared with its entity's column and with the ledger's catalog, and refused with
/// [`StorageError::Field`] where they differ. Unless it says otherwise a field is of the keyset `default`, holds Tink's bytes, and binds each cell
/// to `{table}.{column}:{key}`, the columns of a composite key separated by colons.
pub struct Field<E: EntityTrait, P> {
    pub(crate) cell: Cell<E>,
    payload: PhantomData<fn() -> P>,
}

/// A field without the type of its values
pub struct Cell<E: EntityTrait> {
    pub(crate) column: E::Column,
    pub(crate) keyset: &'static str,
    pub(crate) layout: Layout,
    pub(crate) template: Option<&'static str>,
}

impl<E: EntityTrait, P> Field<E, P> {
    /// A column of native cells of the keyset `default`
    #[must_use]
    pub const fn new(column: E::Column) -> Self {
        let cell = Cell { column, keyset: "default", layout: Layout::NATIVE, template: None };
        Self { cell, payload: PhantomData }
    }

    /// Of another keyset
    #[must_use]
    pub const fn keyset(self, keyset: &'static str) -> Self {
        self.but(keyset, self.cell.layout, self.cell.template)
    }

    /// A text column with base64, or a column that is still being adopted
    ///
    /// Reads take what stands there; writes are native cells, in the layout's encoding. What is read
    /// from a plaintext column is authenticated by nothing until a rotation has adopted it.
    #[must_use]
    pub const fn layout(self, layout: Layout) -> Self {
        self.but(self.cell.keyset, layout, self.cell.template)
    }

    /// Binds cells to this template instead: byte for byte what `associated_data` says in `reseal.toml`
    ///
    /// Two text columns need a separator between them that neither can contain.
    #[must_use]
    pub const fn associated_data(self, template: &'static str) -> Self {
        self.but(self.cell.keyset, self.cell.layout, Some(template))
    }

    const fn but(self, keyset: &'static str, layout: Layout, template: Option<&'static str>) -> Self {
        let cell = Cell { column: self.cell.column, keyset, layout, template };
        Self { cell, payload: PhantomData }
    }
}

impl<E: EntityTrait, P> Clone for Field<E, P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<E: EntityTrait, P> Copy for Field<E, P> {}
impl<E: EntityTrait> Clone for Cell<E> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<E: EntityTrait> Copy for Cell<E> {}

impl<E: EntityTrait, P> fmt::Debug for Field<E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({} of keyset {})", self.cell.path(), self.cell.keyset)
    }
}

/// One field, or a tuple of up to four: what a row's key is bound into
pub trait Fields<E: EntityTrait>: Send {
    /// Without their types
    fn cells(&self) -> Vec<Cell<E>>;
}

impl<E: EntityTrait, P> Fields<E> for Field<E, P> {
    fn cells(&self) -> Vec<Cell<E>> {
        vec![self.cell]
    }
}

macro_rules! tuples_of_fields {
    ($(($($p:ident $at:tt),+)),+) => { $(
        impl<E: EntityTrait, $($p),+> Fields<E> for ($(Field<E, $p>,)+) {
            fn cells(&self) -> Vec<Cell<E>> {
                vec![$(self.$at.cell),+]
            }
        }
    )+ };
}
tuples_of_fields!((A 0, B 1), (A 0, B 1, C 2), (A 0, B 1, C 2, D 3));

impl<E: EntityTrait> Cell<E> {
    pub(crate) fn path(&self) -> String {
        format!("{}.{}", E::default().table_name(), self.column.as_str())
    }

    pub(crate) fn place(&self, key: &Key) -> String {
        format!("{}:{}", self.path(), key.texts.join(":"))
    }

    pub(crate) fn associated_data(&self, key: &Key) -> Result<Vec<u8>, StorageError> {
        let Some(template) = self.template else { return Ok(self.place(key).into_bytes()) };
        let columns: Vec<String> = key_columns::<E>().iter().map(|c| c.as_str().to_owned()).collect();
        let template = Template::parse(template, &columns);
        let template = template.map_err(|error| StorageError::Template { place: self.path(), error })?;
        Ok(template.render(&key.texts))
    }

    /// Stored bytes as a value of the column's type.
    pub(crate) fn value(&self, stored: Vec<u8>) -> Value {
        if !self.layout.encoding.is_text() {
            return Value::Bytes(Some(stored));
        }
        Value::String(Some(String::from_utf8(stored).unwrap_or_default())) // base64 is ASCII
    }

    /// For a moment inside a transaction, a row without its value: NULL, or where the column takes none, a cell
    /// that holds nothing. Empty bytes are no cell, and a fence that lets in only cells refuses them.
    pub(crate) fn no_value(&self, keyset: &Keyset) -> Result<Value, CellError> {
        match (self.column.def().is_null(), self.layout.encoding.is_text()) {
            (true, true) => Ok(Value::String(None)),
            (true, false) => Ok(Value::Bytes(None)),
            (false, _) => keyset.encrypt_into(self.layout, b"", b"reseal no value yet").map(|cell| self.value(cell)),
        }
    }

    /// The column as bytes compare: another collation could take a change for none.
    pub(crate) fn exactly(&self, backend: DbBackend) -> SimpleExpr {
        let column = Expr::col(self.column);
        match (self.layout.encoding.is_text(), backend) {
            (false, _) => column,
            (true, DbBackend::Sqlite) => Expr::cust_with_expr("$1 COLLATE BINARY", column),
            (true, _) => Expr::cust_with_expr("$1 COLLATE \"C\"", column),
        }
    }

    /// What stands in a row of a result, as `name`.
    pub(crate) fn stored(&self, row: &QueryResult, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
        let stored = if self.layout.encoding.is_text() {
            row.try_get::<Option<String>>("", name)?.map(String::into_bytes)
        } else {
            row.try_get::<Option<Vec<u8>>>("", name)?
        };
        Ok(stored.map(Zeroizing::new))
    }
}

pub(crate) fn key_columns<E: EntityTrait>() -> Vec<E::Column> {
    E::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column).collect()
}

/// A row's key, as values and as canonical texts.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) values: Vec<Value>,
    pub(crate) texts: Vec<String>,
}

impl Key {
    pub(crate) fn of<E: EntityTrait>(key: KeyOf<E>) -> Result<Self, StorageError> {
        Self::from_values::<E>(key.into_value_tuple().into_iter().collect())
    }

    pub(crate) fn from_values<E: EntityTrait>(values: Vec<Value>) -> Result<Self, StorageError> {
        let texts: Option<Vec<String>> = values.iter().map(canonical).collect();
        let texts = texts.filter(|t| t.len() == key_columns::<E>().len());
        let texts = texts.ok_or_else(|| StorageError::Key(E::default().table_name().to_owned()))?;
        Ok(Self { values, texts })
    }

    /// `pk = …` for each column.
    pub(crate) fn is<E: EntityTrait>(&self) -> SimpleExpr {
        let one = |(column, value): (E::Column, &Value)| Expr::col(column).eq(column.save_as(Expr::val(value.clone())));
        let mut columns = key_columns::<E>().into_iter().zip(&self.values).map(one);
        let first = columns.next().unwrap_or_else(|| Expr::val(false));
        columns.fold(first, |all, one| all.and(one))
    }

    /// The key of a row of a result that has its columns by name.
    pub(crate) fn returned<E: EntityTrait>(row: &QueryResult) -> Result<KeyOf<E>, StorageError> {
        let names: Vec<String> = key_columns::<E>().iter().map(|c| c.as_str().to_owned()).collect();
        let got = KeyOf::<E>::try_get_many(row, "", &names);
        got.map_err(|_| StorageError::Key(E::default().table_name().to_owned()))
    }
}

/// Integers in decimal, uuids in lower case with hyphens, bytes in hex, text as it is.
fn canonical(value: &Value) -> Option<String> {
    Some(match value {
        Value::TinyInt(Some(n)) => n.to_string(),
        Value::SmallInt(Some(n)) => n.to_string(),
        Value::Int(Some(n)) => n.to_string(),
        Value::BigInt(Some(n)) => n.to_string(),
        Value::TinyUnsigned(Some(n)) => n.to_string(),
        Value::SmallUnsigned(Some(n)) => n.to_string(),
        Value::Unsigned(Some(n)) => n.to_string(),
        Value::BigUnsigned(Some(n)) => n.to_string(),
        Value::String(Some(text)) => text.clone(),
        Value::Bytes(Some(bytes)) => hex::encode(bytes),
        Value::Uuid(Some(uuid)) => uuid.hyphenated().to_string(),
        _ => return None,
    })
}
