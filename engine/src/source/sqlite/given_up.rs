//! Giving a value up on SQLite: its cell becomes NULL, or its row is deleted.

use super::{key::*, *};
use sqlx::SqliteConnection;

/// Foreign keys are followed so far; what lies deeper is refused.
const DEPTH_MAX: usize = 8;

pub(super) async fn takes_null(pool: &SqlitePool, shape: &Shape, column: &str) -> Result<bool, SourceError> {
    let sql = "SELECT NOT \"notnull\" FROM pragma_table_xinfo(?) WHERE name = ?";
    let takes: i64 = sqlx::query_scalar(sql).bind(&shape.table).bind(column).fetch_one(pool).await?;
    Ok(takes == 1)
}

/// The row with its cell as it was, by the key's parameters and then the cell's.
fn here(shape: &Shape, column: &str) -> String {
    format!("{} = {} AND CAST({} AS BLOB) = ?", tuple(shape), marks(shape), quoted(column))
}

fn bound<'q>(shape: &Shape, sql: String, key: &str, old: &[u8]) -> Result<SqliteQuery<'q>, SourceError> {
    Ok(key_values(shape, key)?.into_iter().fold(query(sql), bind).bind(old.to_vec()))
}

pub(super) async fn set_null(
    pool: &SqlitePool,
    shape: &Shape,
    key: &str,
    column: &str,
    old: &[u8],
) -> Result<bool, SourceError> {
    let sql = format!("UPDATE {} SET {} = NULL WHERE {}", table_of(shape), quoted(column), here(shape, column));
    Ok(bound(shape, sql, key, old)?.execute(pool).await?.rows_affected() == 1)
}

/// In the caller's transaction, which decides by [`Deletion::done`]. What else changes is what the foreign keys say;
/// triggers on deletion are refused, since SQLite does not tell what they do.
pub(super) async fn delete_row(
    txn: &mut SqliteConnection,
    shape: &Shape,
    key: &str,
    column: &str,
    old: &[u8],
    only: Option<&OnlyIf>,
) -> Result<Option<Deletion>, SourceError> {
    let Some(row) = whole_row(txn, shape, key, column, old).await? else { return Ok(None) };
    let (mut also, mut levels) = (Vec::new(), vec![(shape.table.clone(), here(shape, column))]);
    for depth in 0.. {
        let mut next = Vec::new();
        for (table, rows) in levels {
            refuse_triggers(txn, &table).await?;
            for child in children(txn, &table).await? {
                let those = format!(
                    "({}) IN (SELECT {} FROM {} WHERE {rows})",
                    child.from.join(", "),
                    child.to.join(", "),
                    quoted(&table)
                );
                let sql = format!("SELECT count(*) FROM {} WHERE {those}", quoted(&child.table));
                let n: i64 = bound(shape, sql, key, old)?.fetch_one(&mut *txn).await?.try_get(0)?;
                if n == 0 {
                    continue;
                }
                let deletes = child.on_delete == "CASCADE";
                let (deleted, changed) = if deletes { (n, 0) } else { (0, n) };
                also.push(Also { table: format!("main.{}", child.table), deleted, changed });
                if deletes {
                    next.push((child.table, those));
                } else {
                    refuse_update_triggers(txn, &child.table).await?;
                }
            }
        }
        if next.is_empty() {
            break;
        }
        if depth == DEPTH_MAX {
            return Err(not_counted("foreign keys delete rows of more than eight tables in a row, or of themselves"));
        }
        levels = next;
    }
    if !only.is_some_and(|only| only.holds(&row, &also)) {
        return Ok(Some(Deletion { row, also, done: false }));
    }
    let sql = format!("DELETE FROM {} WHERE {}", table_of(shape), here(shape, column));
    let done = bound(shape, sql, key, old)?.execute(&mut *txn).await?.rows_affected() == 1;
    Ok(Some(Deletion { row, also, done }))
}

fn not_counted(why: &str) -> SourceError {
    SourceError::refused(
        "deletion_not_counted",
        format!("what the deletion takes with it cannot be counted: {why}: delete the row yourself"),
    )
}

async fn whole_row(
    txn: &mut SqliteConnection,
    shape: &Shape,
    key: &str,
    column: &str,
    old: &[u8],
) -> Result<Option<String>, SourceError> {
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0")
        .bind(&shape.table)
        .fetch_all(&mut *txn)
        .await?;
    let values = names.iter().map(|name| format!("quote({})", quoted(name))).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {values} FROM {} WHERE {}", table_of(shape), here(shape, column));
    let Some(row) = bound(shape, sql, key, old)?.fetch_optional(&mut *txn).await? else { return Ok(None) };
    let mut object = serde_json::Map::new();
    for (i, name) in names.into_iter().enumerate() {
        object.insert(name, row.try_get::<String, _>(i)?.into());
    }
    Ok(Some(serde_json::Value::Object(object).to_string()))
}

/// A foreign key by which rows of another table go or change with those that they refer to.
struct Child {
    table: String,
    on_delete: String,
    from: Vec<String>,
    to: Vec<String>,
}

async fn children(txn: &mut SqliteConnection, parent: &str) -> Result<Vec<Child>, SourceError> {
    let sql = "SELECT s.name, f.id, upper(f.on_delete), f.\"from\",
                      coalesce(f.\"to\", (SELECT p.name FROM pragma_table_info(?) p WHERE p.pk = f.seq + 1))
               FROM main.sqlite_schema s, pragma_foreign_key_list(s.name) f
               WHERE s.type = 'table' AND f.\"table\" = ? COLLATE NOCASE
                 AND upper(f.on_delete) IN ('CASCADE', 'SET NULL', 'SET DEFAULT')
               ORDER BY s.name, f.id, f.seq";
    let rows = sqlx::query(sql).bind(parent).bind(parent).fetch_all(txn).await?;
    let mut found: Vec<(i64, Child)> = Vec::new();
    for row in rows {
        let (table, id): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let (from, to) = (quoted(&row.try_get::<String, _>(3)?), quoted(&row.try_get::<String, _>(4)?));
        match found.last_mut().filter(|(last, child)| *last == id && child.table == table) {
            Some((_, child)) => {
                child.from.push(from);
                child.to.push(to);
            }
            None => found.push((id, Child { table, on_delete: row.try_get(2)?, from: vec![from], to: vec![to] })),
        }
    }
    Ok(found.into_iter().map(|(_, child)| child).collect())
}

async fn refuse_triggers(txn: &mut SqliteConnection, table: &str) -> Result<(), SourceError> {
    refuse_named(txn, table, "%DELETE%").await
}

async fn refuse_update_triggers(txn: &mut SqliteConnection, table: &str) -> Result<(), SourceError> {
    refuse_named(txn, table, "%UPDATE%").await
}

async fn refuse_named(txn: &mut SqliteConnection, table: &str, event: &str) -> Result<(), SourceError> {
    let sql = "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE \
               AND substr(name, 1, 16) <> 'zz_reseal_fence_' AND upper(sql) LIKE ?";
    let found: Option<String> = sqlx::query_scalar(sql).bind(table).bind(event).fetch_optional(txn).await?;
    found.map_or(Ok(()), |name| Err(not_counted(&format!("trigger {name} on {table} runs with it"))))
}
