//! What SQLite's schema says of a table, and whether it can be rotated.

use super::*;
use sqlx::SqliteConnection;

struct Column {
    name: String,
    ty: String,
    position: i64,
    hidden: i64,
}

pub(super) async fn find(
    connection: &mut SqliteConnection,
    schema: Option<&str>,
    table: &str,
    key: &[String],
    columns: &[String],
) -> Result<Shape, SourceError> {
    if schema.is_some_and(|s| s != "main") {
        return Err(SourceError::refused("table_missing", "a SQLite source has only the schema `main`"));
    }
    let found = sqlx::query("SELECT type, sql FROM main.sqlite_schema WHERE name = ? AND type IN ('table', 'view')")
        .bind(table)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(found) = found else {
        return Err(SourceError::refused("table_missing", format!("there is no table `{table}`")));
    };
    let (kind, sql): (String, String) = (found.try_get(0)?, found.try_get(1)?);
    if kind == "view" || sql.to_ascii_uppercase().starts_with("CREATE VIRTUAL") {
        return Err(SourceError::refused(
            "table_kind",
            format!("`{table}` is a view or a virtual table: register the table behind it"),
        ));
    }
    let mut live = Vec::new();
    let info = sqlx::query("SELECT name, type, pk, hidden FROM pragma_table_xinfo(?)")
        .bind(table)
        .fetch_all(&mut *connection)
        .await?;
    for row in info {
        live.push(Column {
            name: row.try_get(0)?,
            ty: row.try_get(1)?,
            position: row.try_get(2)?,
            hidden: row.try_get(3)?,
        });
    }
    for column in columns {
        let Some(found) = live.iter().find(|c| c.name == *column) else {
            return Err(SourceError::refused("column_missing", format!("`{table}` has no column `{column}`")));
        };
        if found.hidden != 0 {
            return Err(SourceError::refused(
                "column_generated",
                format!("`{table}.{column}` is a generated column: register the column that it is made of"),
            ));
        }
        let ty = found.ty.to_ascii_uppercase();
        if !ty.contains("BLOB") && ty != "BYTEA" {
            return Err(SourceError::refused(
                "column_type",
                format!("`{table}.{column}` is {}; only blob columns are supported yet", found.ty),
            ));
        }
    }
    let key_column = check_key(table, key, &live)?;
    let key_type = key_type(connection, table, key_column).await?;
    Ok(Shape {
        schema: "main".to_owned(),
        table: table.to_owned(),
        key: key.concat(),
        key_type,
        columns: columns.to_vec(),
        fingerprint: fingerprint([table, &sql]),
    })
}

fn check_key<'a>(table: &str, key: &[String], live: &'a [Column]) -> Result<&'a Column, SourceError> {
    let mut primary: Vec<_> = live.iter().filter(|c| c.position > 0).collect();
    primary.sort_by_key(|c| c.position);
    let names: Vec<&str> = primary.iter().map(|c| c.name.as_str()).collect();
    if names.is_empty() {
        return Err(SourceError::refused(
            "no_primary_key",
            format!("`{table}` has no primary key, so its rows cannot be told apart: give it one"),
        ));
    }
    if names != key.iter().map(String::as_str).collect::<Vec<_>>() {
        return Err(SourceError::refused(
            "primary_key_differs",
            format!("the primary key of `{table}` is ({}), not ({})", names.join(", "), key.join(", ")),
        ));
    }
    match primary.as_slice() {
        [column] => Ok(column),
        _ => Err(SourceError::refused(
            "key_type",
            format!("`{table}` has a composite primary key; only single integer and uuid keys are supported yet"),
        )),
    }
}

/// SQLite does not enforce declared types, so a uuid key is told by what the rows really hold.
async fn key_type(connection: &mut SqliteConnection, table: &str, key: &Column) -> Result<KeyType, SourceError> {
    let declared = key.ty.to_ascii_uppercase();
    if declared.contains("INT") {
        return Ok(KeyType::Integer);
    }
    let refused = || {
        SourceError::refused(
            "key_type",
            format!(
                "the primary key `{table}.{}` is {}; only integer and uuid keys are supported yet",
                key.name, key.ty
            ),
        )
    };
    if !declared.contains("UUID") {
        return Err(refused());
    }
    let sql = format!("SELECT typeof({0}), length({0}) FROM {1} LIMIT 1", quoted(&key.name), quoted(table));
    let Some(row) = query(sql).fetch_optional(connection).await? else { return Ok(KeyType::UuidBytes) };
    match (row.try_get::<String, _>(0)?.as_str(), row.try_get::<i64, _>(1)?) {
        ("blob", 16) => Ok(KeyType::UuidBytes),
        ("text", 36) => Ok(KeyType::Uuid),
        _ => Err(refused()),
    }
}

/// The fingerprint of the table as it is now.
pub(super) async fn fingerprint_now(connection: &mut SqliteConnection, shape: &Shape) -> Result<String, SourceError> {
    let key = std::slice::from_ref(&shape.key);
    Ok(find(connection, None, &shape.table, key, &shape.columns).await?.fingerprint)
}
