//! What SQLite's schema says of a table, and whether it can be rotated.

use super::{
    super::shape::{check_key_names, refuse_generated, refuse_type},
    *,
};
use sqlx::SqliteConnection;

/// The collation of a primary key's index can differ from its column's, and rows are told apart by the index's.
const COLLATION: &str = "SELECT x.coll FROM pragma_index_list(?) l, pragma_index_xinfo(l.name) x \
                         WHERE l.origin = 'pk' AND x.key AND x.name = ?";

/// Triggers of others that run at updates. The schema keeps the table's name as each trigger spells it.
const UPDATE_TRIGGERS: &str = "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE \
                               AND substr(name, 1, 16) <> 'zz_reseal_fence_' AND upper(sql) LIKE '%UPDATE%' ORDER BY name";

/// Whether triggers of others run at updates.
pub(super) async fn is_watched(connection: &mut SqliteConnection, table: &str) -> Result<bool, SourceError> {
    let found: Option<String> = sqlx::query_scalar(UPDATE_TRIGGERS).bind(table).fetch_optional(connection).await?;
    Ok(found.is_some())
}

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
    columns: &[CellColumn],
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
    let key = find_key(connection, table, key, &live).await?;
    let any_text = columns.iter().any(CellColumn::is_text) || key.iter().any(|k| k.ty == KeyType::Text);
    if any_text {
        refuse_utf16(connection).await?;
    }
    for column in columns {
        check_column(table, column, &live)?;
    }
    Ok(Shape::new("main", table, key, columns.to_vec(), &[table.to_owned(), sql]))
}

fn check_column(table: &str, wanted: &CellColumn, live: &[Column]) -> Result<(), SourceError> {
    let name = &wanted.name;
    let Some(found) = live.iter().find(|c| c.name == *name) else {
        return Err(SourceError::refused("column_missing", format!("`{table}` has no column `{name}`")));
    };
    if found.hidden != 0 {
        return Err(refuse_generated(table, name));
    }
    if found.position > 0 {
        return Err(SourceError::refused(
            "column_in_key",
            format!("`{table}.{name}` is part of the primary key, which re-encrypting would change"),
        ));
    }
    let fits = if wanted.is_text() { is_text(&found.ty) } else { is_bytes(&found.ty) };
    if fits { Ok(()) } else { Err(refuse_type(table, wanted, &found.ty)) }
}

fn is_text(ty: &str) -> bool {
    let ty = ty.to_ascii_uppercase();
    ["CHAR", "CLOB", "TEXT"].iter().any(|word| ty.contains(word))
}

fn is_bytes(ty: &str) -> bool {
    let ty = ty.to_ascii_uppercase();
    ["BLOB", "BYTEA", "BINARY"].iter().any(|word| ty.contains(word))
}

/// There, bytes of a text are not its UTF-8, and no header would be found.
async fn refuse_utf16(connection: &mut SqliteConnection) -> Result<(), SourceError> {
    let encoding: String = sqlx::query_scalar("SELECT encoding FROM pragma_encoding").fetch_one(connection).await?;
    if encoding == "UTF-8" {
        return Ok(());
    }
    Err(SourceError::refused(
        "source_encoding",
        format!("the source's text is {encoding}; text keys and text columns are supported in UTF-8 databases only"),
    ))
}

async fn find_key(
    connection: &mut SqliteConnection,
    table: &str,
    key: &[String],
    live: &[Column],
) -> Result<Vec<KeyColumn>, SourceError> {
    let mut primary: Vec<_> = live.iter().filter(|c| c.position > 0).collect();
    primary.sort_by_key(|c| c.position);
    check_key_names(table, &primary.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), key)?;
    let mut found = Vec::new();
    for column in primary {
        let ty = key_type(connection, table, column).await?;
        let collation = if ty == KeyType::Text || ty == KeyType::Uuid {
            sqlx::query_scalar(COLLATION).bind(table).bind(&column.name).fetch_optional(&mut *connection).await?
        } else {
            None
        };
        found.push(KeyColumn { name: column.name.clone(), ty, collation });
    }
    Ok(found)
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
                "the primary key column `{table}.{}` is {}: integer, uuid, text and blob ones are supported",
                key.name, key.ty
            ),
        )
    };
    if !declared.contains("UUID") {
        return match (is_text(&declared), is_bytes(&declared)) {
            (true, _) => Ok(KeyType::Text),
            (_, true) => Ok(KeyType::Bytes),
            _ => Err(refused()),
        };
    }
    let sql = format!("SELECT typeof({0}), length({0}) FROM {1} LIMIT 1", quoted(&key.name), quoted(table));
    let Some(row) = query(sql).fetch_optional(connection).await? else { return Ok(KeyType::UuidBytes) };
    match (row.try_get::<String, _>(0)?.as_str(), row.try_get::<i64, _>(1)?) {
        ("blob", 16) => Ok(KeyType::UuidBytes),
        ("text", 36) => Ok(KeyType::Uuid),
        _ => Err(refused()),
    }
}

/// What runs at each row that is re-encrypted. Our own fences are not news.
pub(super) async fn notes(pool: &SqlitePool, shape: &Shape) -> Result<Vec<String>, SourceError> {
    let found: Vec<String> = sqlx::query_scalar(UPDATE_TRIGGERS).bind(&shape.table).fetch_all(pool).await?;
    Ok(found.iter().map(|name| format!("trigger {name} may fire at every row that is re-encrypted")).collect())
}

/// The fingerprint of the table as it is now.
pub(super) async fn fingerprint_now(connection: &mut SqliteConnection, shape: &Shape) -> Result<String, SourceError> {
    let key: Vec<String> = shape.key.iter().map(|k| k.name.clone()).collect();
    Ok(find(connection, None, &shape.table, &key, &shape.columns).await?.fingerprint)
}
