//! Primary keys of any arity and type in SQL.

use super::*;
use sqlx::{TypeInfo, ValueRef};

pub(super) fn key_names(shape: &Shape) -> String {
    shape.key.iter().map(|k| quoted(&k.name)).collect::<Vec<_>>().join(", ")
}

/// A key column as its primary key compares it.
pub(super) fn compared(column: &KeyColumn, alias: &str) -> String {
    let name = format!("{alias}{}", quoted(&column.name));
    column.collation.as_ref().map_or(name.clone(), |collation| format!("{name} COLLATE {}", quoted(collation)))
}

/// A column, or several as a row value.
pub(super) fn tuple(shape: &Shape) -> String {
    let names = shape.key.iter().map(|k| compared(k, "")).collect::<Vec<_>>().join(", ");
    if shape.key.len() == 1 { names } else { format!("({names})") }
}

pub(super) fn marks(shape: &Shape) -> String {
    if shape.key.len() == 1 { "?".to_owned() } else { format!("({})", vec!["?"; shape.key.len()].join(", ")) }
}

/// One column of a key as SQLite holds it.
pub(super) enum KeyValue {
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

pub(super) fn key_values(shape: &Shape, key: &str) -> Result<Vec<KeyValue>, SourceError> {
    let value = |(column, text): (&KeyColumn, String)| {
        let bad = || shape.bad_key(key);
        match column.ty {
            KeyType::Integer => text.parse().map(KeyValue::Integer).map_err(|_| bad()),
            KeyType::Uuid | KeyType::Text => Ok(KeyValue::Text(text)),
            KeyType::UuidBytes => hex::decode(text.replace('-', "")).map(KeyValue::Bytes).map_err(|_| bad()),
            KeyType::Bytes => hex::decode(text).map(KeyValue::Bytes).map_err(|_| bad()),
        }
    };
    shape.key.iter().zip(shape.split_key(key)?).map(value).collect()
}

pub(super) type SqliteQuery<'q> = Query<'q, Db, SqliteArguments>;

pub(super) fn bind<'q>(query: SqliteQuery<'q>, key: KeyValue) -> SqliteQuery<'q> {
    match key {
        KeyValue::Integer(v) => query.bind(v),
        KeyValue::Text(v) => query.bind(v),
        KeyValue::Bytes(v) => query.bind(v),
    }
}

/// SQLite enforces neither declared types nor, in most primary keys, NOT NULL.
fn refuse_other_type(shape: &Shape, column: &KeyColumn, row: &SqliteRow, i: usize) -> Result<(), SourceError> {
    let wanted = match column.ty {
        KeyType::Integer => "INTEGER",
        KeyType::Uuid | KeyType::Text => "TEXT",
        KeyType::Bytes | KeyType::UuidBytes => "BLOB",
    };
    let value = row.try_get_raw(i)?;
    let found = if value.is_null() { "NULL".to_owned() } else { value.type_info().name().to_owned() };
    if found == wanted {
        return Ok(());
    }
    Err(SourceError::refused(
        "key_malformed",
        format!(
            "the primary key column `{}` of {} is {found} in some row and not {wanted}",
            column.name,
            table_of(shape)
        ),
    ))
}

/// The canonical text of a key, whose columns come first in a result.
pub(super) fn key_of(shape: &Shape, row: &SqliteRow) -> Result<String, SourceError> {
    let part = |(i, column): (usize, &KeyColumn)| {
        refuse_other_type(shape, column, row, i)?;
        Ok(match column.ty {
            KeyType::Integer => row.try_get::<i64, _>(i)?.to_string(),
            KeyType::Uuid | KeyType::Text => row.try_get(i)?,
            KeyType::Bytes => hex::encode(row.try_get::<Vec<u8>, _>(i)?),
            KeyType::UuidBytes => {
                let h = hex::encode(row.try_get::<Vec<u8>, _>(i)?);
                if h.len() != 32 {
                    return Err(SourceError::refused(
                        "key_malformed",
                        format!("a key of {} is not sixteen bytes", table_of(shape)),
                    ));
                }
                format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
            }
        })
    };
    Ok(shape.join_key(shape.key.iter().enumerate().map(part).collect::<Result<_, SourceError>>()?))
}

pub(super) fn in_range(shape: &Shape, range: &Range) -> Result<(String, Vec<KeyValue>), SourceError> {
    let (mut terms, mut binds) = (vec!["true".to_owned()], Vec::new());
    for (operator, key) in [(">", &range.after), ("<=", &range.up_to)] {
        if let Some(key) = key {
            terms.push(format!("{} {operator} {}", tuple(shape), marks(shape)));
            binds.extend(key_values(shape, key)?);
        }
    }
    Ok((terms.join(" AND "), binds))
}

/// `"a", "b" DESC`: the order of a key, always the index's own.
pub(super) fn order(shape: &Shape, descending: bool) -> String {
    let direction = if descending { " DESC" } else { "" };
    shape.key.iter().map(|k| format!("{}{direction}", compared(k, ""))).collect::<Vec<_>>().join(", ")
}
