//! Fields as the ledger's catalog has them: an application and a rotation must mean the same by a column
//!
//! A field that says otherwise would store what no rotation can open, or what the application itself cannot read again.

use std::{
    any::TypeId,
    sync::{Arc, Mutex, PoisonError},
};

use reseal_entities::{catalog, ledger::catalog as ledger_catalog};
use reseal_keyring::{Encoding, Layout, Template, cell as native};
use sea_orm::{
    ColumnTrait, EntityTrait, IdenStatic, Value,
    sea_query::{ColumnType, Expr, SimpleExpr},
};

use crate::{
    Storage, StorageError,
    error::{FieldFault, not_allowed},
    field::{Cell, key_columns},
    keysets::{LOADING_MAX, Loaded},
};

/// What was compared in this process: each field once.
#[derive(Default)]
pub(crate) struct Agreed(Mutex<Vec<Field>>);

/// A field that agrees, and the registered columns of its table.
struct Field {
    entity: TypeId,
    column: &'static str,
    keyset: &'static str,
    layout: Layout,
    template: Option<&'static str>,
    /// Its cells do not open under another key of the row.
    is_bound: bool,
    siblings: Arc<[Sibling]>,
}

/// Another encrypted column of the table, as the ledger has it.
struct Sibling {
    column: String,
    encoding: Encoding,
    is_bound: bool,
    is_to_be_adopted: bool,
}

impl Field {
    fn is<E: EntityTrait>(&self, cell: Cell<E>) -> bool {
        self.entity == TypeId::of::<E>()
            && self.column == cell.column.as_str()
            && (self.keyset, self.layout, self.template) == (cell.keyset, cell.layout, cell.template)
    }
}

impl Agreed {
    fn with<T>(&self, look: impl FnOnce(&mut Vec<Field>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Storage {
    /// The keyset to read a field with; take it before the cell is read. Reading needs no catalog, and a column that is
    /// not registered yet may be read.
    pub(crate) async fn reading<E: EntityTrait>(&self, cell: Cell<E>) -> Result<Arc<Loaded>, StorageError> {
        let loaded = self.inner.keysets.for_reading(cell.keyset).await?;
        match self.agree(cell).await {
            Err(StorageError::Field { fault: FieldFault::Unchecked | FieldFault::NotRegistered, .. }) => Ok(loaded),
            agreed => agreed.map(|()| loaded),
        }
    }

    /// The keyset to write a field with.
    pub(crate) async fn writing<E: EntityTrait>(&self, cell: Cell<E>) -> Result<Arc<Loaded>, StorageError> {
        let loaded = self.inner.keysets.for_writing(cell.keyset).await?;
        self.agree(cell).await.map(|()| loaded)
    }

    /// Compares a field with its entity and with the catalog at its first use.
    async fn agree<E: EntityTrait>(&self, cell: Cell<E>) -> Result<(), StorageError> {
        if self.inner.agreed.with(|fields| fields.iter().any(|field| field.is(cell))) {
            return Ok(());
        }
        fits_its_column(cell)?;
        let registered = self.registered(cell).await?;
        let of_table: Vec<_> = registered.iter().filter(|row| is_of::<E>(row)).collect();
        let rows: Vec<_> = of_table.iter().filter(|row| row.column_name == cell.column.as_str()).collect();
        match rows.first() {
            Some(_) if rows.iter().any(|row| says_the_same(row, cell)) => {}
            Some(row) => {
                let why = format!(
                    "the field says {}, and the ledger has {}: make the field and reseal.toml say the same",
                    said(cell),
                    registered_as(row)
                );
                return Err(field_error(cell, FieldFault::Differs, why));
            }
            // Before the first rotation nothing is registered, and everything is at once.
            None if registered.iter().all(|row| row.keyset != cell.keyset) => {
                tracing::warn!(
                    field = cell.path(),
                    "the field is not registered in the ledger's catalog: declare it in reseal.toml, or no rotation knows of it"
                );
            }
            None => {
                let why = format!(
                    "the ledger's catalog has columns of keyset `{}` and not this one, so no rotation would re-encrypt it: \
                     declare it in reseal.toml, then run `reseal catalog register`",
                    cell.keyset
                );
                return Err(field_error(cell, FieldFault::NotRegistered, why));
            }
        }
        let siblings = of_table.into_iter().map(sibling).collect();
        self.inner.agreed.with(|fields| {
            fields.push(Field {
                entity: TypeId::of::<E>(),
                column: cell.column.as_str(),
                keyset: cell.keyset,
                layout: cell.layout,
                template: cell.template,
                is_bound: binds(&template_of(cell), &key_names::<E>()),
                siblings,
            });
        });
        Ok(())
    }

    async fn registered<E: EntityTrait>(&self, cell: Cell<E>) -> Result<Vec<catalog::Model>, StorageError> {
        let db = self.inner.keysets.ledger().db();
        let why = match tokio::time::timeout(LOADING_MAX, ledger_catalog::registered(db)).await {
            Ok(Ok(registered)) => return Ok(registered),
            Ok(Err(error)) if not_allowed(&error) => format!("{error}; see the GRANTs in docs/storage.md"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the ledger does not answer".to_owned(),
        };
        let why = format!("the field could not be compared with the ledger's catalog: {why}");
        Err(field_error(cell, FieldFault::Unchecked, why))
    }

    /// Refuses a change of the primary key that leaves out a field which is bound to it: its cell would not open again.
    pub(crate) async fn names_every_bound_field<E: EntityTrait>(&self, cells: &[Cell<E>]) -> Result<(), StorageError> {
        let Some(first) = cells.first() else { return Ok(()) };
        let registered = self.registered(*first).await?;
        let of_table = registered.iter().filter(|row| is_of::<E>(row)).map(sibling);
        let mut bound: Vec<String> = of_table.filter(|s| s.is_bound).map(|s| s.column).collect();
        self.inner.agreed.with(|fields| {
            let used = fields.iter().filter(|f| f.entity == TypeId::of::<E>() && f.is_bound);
            bound.extend(used.map(|f| f.column.to_owned()));
        });
        let missing = bound.into_iter().find(|column| cells.iter().all(|cell| cell.column.as_str() != column));
        match missing {
            None => Ok(()),
            Some(column) => {
                let why = format!(
                    "column `{column}` is bound to the row's key, too, and would not open under the new one: name all of \
                     the entity's fields"
                );
                Err(field_error(*first, FieldFault::Missing, why))
            }
        }
    }

    /// Refuses a row with a plaintext in another of its encrypted columns.
    pub(crate) fn holds_no_plaintext<E: EntityTrait>(
        &self,
        cell: Cell<E>,
        columns: &[(E::Column, SimpleExpr, Option<Value>)],
    ) -> Result<(), StorageError> {
        let siblings = self.inner.agreed.with(|fields| {
            let field = fields.iter().find(|field| field.is(cell));
            field.map(|field| field.siblings.clone()).unwrap_or_default()
        });
        let is_plaintext = |(column, _, value): &&(E::Column, SimpleExpr, Option<Value>)| {
            let sibling = siblings.iter().find(|s| s.column == column.as_str() && !s.is_to_be_adopted);
            let stored = value.as_ref().and_then(bytes_of);
            sibling.zip(stored).is_some_and(|(sibling, stored)| !is_cell(sibling.encoding, stored))
        };
        match columns.iter().find(is_plaintext) {
            None => Ok(()),
            Some((column, ..)) => {
                let why = format!(
                    "the row sets column `{}` to a value that is not encrypted: leave it out and write it through its own \
                     field, or set what `Storage::seal` returned",
                    column.as_str()
                );
                Err(field_error(cell, FieldFault::Plaintext, why))
            }
        }
    }
}

fn field_error<E: EntityTrait>(cell: Cell<E>, fault: FieldFault, why: String) -> StorageError {
    StorageError::Field { place: cell.path(), fault, why }
}

/// Bytes in a text column, or base64 in a bytes column, are stored by some databases and read again by none.
fn fits_its_column<E: EntityTrait>(cell: Cell<E>) -> Result<(), StorageError> {
    let def = cell.column.def();
    let (is_text, words) = match def.get_column_type() {
        ColumnType::Char(_) | ColumnType::String(_) | ColumnType::Text => (true, "text"),
        ColumnType::Blob | ColumnType::Binary(_) | ColumnType::VarBinary(_) => (false, "bytes"),
        _ => return Ok(()), // a type of the application's own
    };
    if is_text == cell.layout.encoding.is_text() {
        return Ok(());
    }
    let why = format!(
        "the entity's column holds {words}, and the field's encoding is `{}`: give the field the `layout` that the column has in \
         reseal.toml",
        cell.layout.encoding
    );
    Err(field_error(cell, FieldFault::ColumnType, why))
}

fn is_of<E: EntityTrait>(row: &catalog::Model) -> bool {
    let entity = E::default();
    row.table_name == entity.table_name() && entity.schema_name().is_none_or(|schema| row.schema_name == schema)
}

fn says_the_same<E: EntityTrait>(row: &catalog::Model, cell: Cell<E>) -> bool {
    let (names, of_row) = (key_names::<E>(), row.primary_key());
    let same_key = names.len() == of_row.len() && names.iter().all(|name| of_row.contains(name));
    // In one order of columns: the entity's need not be the table's.
    let parsed = |text: &str| Template::parse(text, &of_row).ok();
    let format = row.format == cell.layout.format.as_str()
        || (row.adopted_at.is_some() && cell.layout.format.as_str() == catalog::NATIVE);
    row.keyset == cell.keyset
        && row.encoding == cell.layout.encoding.as_str()
        && format
        && same_key
        && parsed(&row.associated_data) == parsed(&template_of(cell))
}

fn said<E: EntityTrait>(cell: Cell<E>) -> String {
    format!(
        "keyset `{}`, associated data `{}`, primary key {:?}, format `{}` and encoding `{}`",
        cell.keyset,
        template_of(cell),
        key_names::<E>(),
        cell.layout.format,
        cell.layout.encoding
    )
}

fn registered_as(row: &catalog::Model) -> String {
    let adopted = if row.adopted_at.is_some() { " (adopted, so `tink` too)" } else { "" };
    format!(
        "keyset `{}`, associated data `{}`, primary key {:?}, format `{}`{adopted} and encoding `{}` for {}",
        row.keyset,
        row.associated_data,
        row.primary_key(),
        row.format,
        row.encoding,
        row.path()
    )
}

fn sibling(row: &catalog::Model) -> Sibling {
    Sibling {
        column: row.column_name.clone(),
        encoding: row.encoding.parse().unwrap_or(Encoding::Bytes),
        is_bound: binds(&row.associated_data, &row.primary_key()),
        is_to_be_adopted: row.is_to_be_adopted(),
    }
}

fn binds(template: &str, primary_key: &[String]) -> bool {
    // One that cannot be parsed may be.
    Template::parse(template, primary_key).map_or(true, |template| template.binds_to_row())
}

fn key_names<E: EntityTrait>() -> Vec<String> {
    key_columns::<E>().iter().map(|c| c.as_str().to_owned()).collect()
}

/// The field's template, also where it has none of its own.
fn template_of<E: EntityTrait>(cell: Cell<E>) -> String {
    let literal = |text: &str| text.replace('{', "{{").replace('}', "}}");
    match cell.template {
        Some(template) => template.to_owned(),
        None => {
            let keys: Vec<String> = key_names::<E>().iter().map(|name| format!("{{{name}}}")).collect();
            format!("{}:{}", literal(&cell.path()), keys.join(":"))
        }
    }
}

fn bytes_of(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Bytes(Some(bytes)) => Some(bytes),
        Value::String(Some(text)) => Some(text.as_bytes()),
        _ => None,
    }
}

fn is_cell(encoding: Encoding, stored: &[u8]) -> bool {
    encoding.decode(stored).is_ok_and(|bytes| native::parse(&bytes).is_ok())
}

/// A column of a row with its value, as a statement has it.
pub(crate) fn set<C: ColumnTrait>(column: C, value: Value) -> (C, SimpleExpr, Option<Value>) {
    (column, column.save_as(Expr::val(value.clone())), Some(value))
}
