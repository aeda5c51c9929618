//! What PostgreSQL's catalogue says of a table, and whether it can be rotated.

use super::*;

const FIND: &str = "
    SELECT n.nspname::text, c.oid::bigint, c.relkind::text, c.relispartition
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND CASE WHEN $1::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = $1 END";

const COLUMNS: &str = "
    SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated::text,
           coalesce((SELECT array_position(i.indkey::int2[], a.attnum) FROM pg_index i
                     WHERE i.indrelid = a.attrelid AND i.indisprimary), -1)::bigint
    FROM pg_attribute a WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum";

pub(super) async fn find(
    connection: &mut PgConnection,
    schema: Option<&str>,
    table: &str,
    key: &[String],
    columns: &[String],
) -> Result<Shape, SourceError> {
    let found = sqlx::query(FIND).persistent(false).bind(schema).bind(table).fetch_optional(&mut *connection).await?;
    let Some(found) = found else {
        let place = schema.map_or_else(|| "the search path".to_owned(), |s| format!("schema `{s}`"));
        return Err(SourceError::refused("table_missing", format!("there is no table `{table}` in {place}")));
    };
    let (schema, oid): (String, i64) = (found.try_get(0)?, found.try_get(1)?);
    let (kind, is_partition): (String, bool) = (found.try_get(2)?, found.try_get(3)?);
    let name = format!("{schema}.{table}");
    match kind.as_str() {
        "r" if is_partition => {
            return Err(SourceError::refused(
                "table_kind",
                format!("`{name}` is a partition; partitioned tables are not supported yet"),
            ));
        }
        "r" => {}
        "p" => {
            return Err(SourceError::refused(
                "table_kind",
                format!("`{name}` is partitioned; partitioned tables are not supported yet"),
            ));
        }
        _ => {
            return Err(SourceError::refused(
                "table_kind",
                format!("`{name}` is a view or a foreign table: register the table behind it"),
            ));
        }
    }
    let mut parts = vec![oid.to_string(), name.clone()];
    let mut live = Vec::new();
    for row in sqlx::query(COLUMNS).persistent(false).bind(oid).fetch_all(&mut *connection).await? {
        let (column, ty): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (not_null, generated, position): (bool, String, i64) = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        if columns.contains(&column) || position >= 0 {
            parts.push(format!("{column} {ty} {not_null} {generated} {position}"));
        }
        live.push((column, ty, generated, position));
    }
    let key_type = check_key(&name, key, &live)?;
    for column in columns {
        let Some((_, ty, generated, _)) = live.iter().find(|(c, ..)| c == column) else {
            return Err(SourceError::refused("column_missing", format!("`{name}` has no column `{column}`")));
        };
        if !generated.is_empty() {
            return Err(SourceError::refused(
                "column_generated",
                format!("`{name}.{column}` is a generated column: register the column that it is made of"),
            ));
        }
        if ty != "bytea" {
            return Err(SourceError::refused(
                "column_type",
                format!("`{name}.{column}` is {ty}; only bytea columns are supported yet"),
            ));
        }
    }
    Ok(Shape {
        schema,
        table: table.to_owned(),
        key: key.concat(),
        key_type,
        columns: columns.to_vec(),
        fingerprint: fingerprint(parts.iter().map(String::as_str)),
    })
}

fn check_key(name: &str, key: &[String], live: &[(String, String, String, i64)]) -> Result<KeyType, SourceError> {
    let mut primary: Vec<_> = live.iter().filter(|(.., position)| *position >= 0).collect();
    primary.sort_by_key(|(.., position)| *position);
    let names: Vec<&str> = primary.iter().map(|(column, ..)| column.as_str()).collect();
    if names.is_empty() {
        return Err(SourceError::refused(
            "no_primary_key",
            format!("`{name}` has no primary key, so its rows cannot be told apart: give it one"),
        ));
    }
    if names != key.iter().map(String::as_str).collect::<Vec<_>>() {
        return Err(SourceError::refused(
            "primary_key_differs",
            format!("the primary key of `{name}` is ({}), not ({})", names.join(", "), key.join(", ")),
        ));
    }
    let [(column, ty, ..)] = primary.as_slice() else {
        return Err(SourceError::refused(
            "key_type",
            format!("`{name}` has a composite primary key; only single integer and uuid keys are supported yet"),
        ));
    };
    match ty.as_str() {
        "smallint" | "integer" | "bigint" => Ok(KeyType::Integer),
        "uuid" => Ok(KeyType::Uuid),
        other => Err(SourceError::refused(
            "key_type",
            format!("the primary key `{name}.{column}` is {other}; only integer and uuid keys are supported yet"),
        )),
    }
}

/// The fingerprint of the table as it is now.
pub(super) async fn fingerprint_now(connection: &mut PgConnection, shape: &Shape) -> Result<String, SourceError> {
    let key = std::slice::from_ref(&shape.key);
    Ok(find(connection, Some(&shape.schema), &shape.table, key, &shape.columns).await?.fingerprint)
}
