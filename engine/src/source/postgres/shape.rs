//! What PostgreSQL's catalogue says of a table, and whether it can be rotated.

use super::{
    super::shape::{check_key_names, refuse_generated, refuse_type},
    *,
};

/// Triggers of others that run at updates of a table or its partitions, deferred ones among them. Our own fences change
/// nothing. Qualified throughout: a statement that writes holds it, too.
pub(super) const UPDATE_TRIGGERS: &str = "
    SELECT 1 FROM pg_catalog.pg_trigger g
    WHERE (g.tgrelid OPERATOR(pg_catalog.=) $table
           OR g.tgrelid OPERATOR(pg_catalog.=) ANY (SELECT p.relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree($table) p))
      AND NOT g.tgisinternal AND g.tgenabled OPERATOR(pg_catalog.<>) 'D'
      AND (g.tgtype OPERATOR(pg_catalog.&) 16) OPERATOR(pg_catalog.<>) 0
      AND pg_catalog.left(g.tgname::pg_catalog.text, 16) OPERATOR(pg_catalog.<>) 'zz_reseal_fence_'";

fn find_sql() -> String {
    format!(
        "SELECT n.nspname::text, c.oid::bigint, c.relkind::text, c.relispartition,
                EXISTS (SELECT 1 FROM pg_inherits i WHERE i.inhparent = c.oid AND c.relkind = 'r'),
                EXISTS (SELECT 1 FROM pg_partition_tree(c.oid) p JOIN pg_class f ON f.oid = p.relid
                        WHERE f.relkind = 'f'),
                EXISTS (SELECT 1 FROM pg_rewrite r
                        WHERE r.ev_class = c.oid AND r.ev_type = '2' AND c.relkind IN ('r', 'p')),
                EXISTS ({})
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
           AND n.nspname = ANY ($1::text[])
         ORDER BY array_position($1::text[], n.nspname::text) LIMIT 1",
        UPDATE_TRIGGERS.replace("$table", "c.oid")
    )
}

const COLUMNS: &str = "
    SELECT a.attname::text, format_type(a.atttypid, NULL), a.attnotnull, a.attgenerated::text,
           coalesce((SELECT array_position(i.indkey::int2[], a.attnum) FROM pg_index i
                     WHERE i.indrelid = a.attrelid AND i.indisprimary), -1)::bigint,
           CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 END, format_type(a.atttypid, a.atttypmod)
    FROM pg_attribute a WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum";

/// What runs or leaves at each row that is re-encrypted. Our own fences are not news.
const NOTES: &str = "
    SELECT format('trigger %s (%s) fires at every row that is re-encrypted', t.tgname, p.proname)
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = $1::regclass AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 16 <> 0
      AND t.tgname NOT LIKE 'zz\\_reseal\\_fence\\_%'
    UNION ALL
    SELECT format('publication %s replicates every row that is re-encrypted', p.pubname)
    FROM pg_publication_tables t JOIN pg_publication p ON p.pubname = t.pubname AND p.pubupdate
    WHERE (t.schemaname, t.tablename) IN (
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = $1::regclass OR c.oid IN (SELECT relid FROM pg_partition_tree($1::regclass)))
    GROUP BY p.pubname ORDER BY 1";

struct Live {
    name: String,
    ty: String,
    generated: bool,
    position: i64,
    length_max: Option<i32>,
}

pub(super) async fn find(
    connection: &mut PgConnection,
    schema: Option<&str>,
    table: &str,
    key: &[String],
    columns: &[CellColumn],
) -> Result<Shape, SourceError> {
    // Our own sessions look into no schema, so a name without one is looked for where the role would find it.
    let schemas = match schema {
        Some(schema) => vec![schema.to_owned()],
        None => session::schemas(connection).await?,
    };
    let found = query(find_sql()).bind(schemas).bind(table).fetch_optional(&mut *connection).await?;
    let Some(found) = found else {
        let place = schema.map_or_else(|| "the search path".to_owned(), |s| format!("schema `{s}`"));
        return Err(SourceError::refused("table_missing", format!("there is no table `{table}` in {place}")));
    };
    let (schema, oid): (String, i64) = (found.try_get(0)?, found.try_get(1)?);
    let name = format!("{schema}.{table}");
    refuse_kind(&name, &found)?;
    let mut parts = vec![oid.to_string(), name.clone()];
    let mut live = Vec::new();
    for row in sqlx::query(COLUMNS).persistent(false).bind(oid).fetch_all(&mut *connection).await? {
        let (column, full): (String, String) = (row.try_get(0)?, row.try_get(6)?);
        let (not_null, generated, position): (bool, String, i64) = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        if columns.iter().any(|c| c.name == column) || position >= 0 {
            parts.push(format!("{column} {full} {not_null} {generated} {position}"));
        }
        let (ty, length_max) = (row.try_get(1)?, row.try_get(5)?);
        live.push(Live { name: column, ty, generated: !generated.is_empty(), position, length_max });
    }
    let key = find_key(&name, key, &live)?;
    let columns = columns.iter().map(|column| find_column(&name, column, &live)).collect::<Result<_, _>>()?;
    Ok(Shape { watched: found.try_get(7)?, ..Shape::new(&schema, table, key, columns, &parts) })
}

pub(super) async fn notes(pool: &PgPool, shape: &Shape) -> Result<Vec<String>, SourceError> {
    Ok(sqlx::query_scalar(NOTES).persistent(false).bind(table_of(shape)).fetch_all(pool).await?)
}

fn refuse_kind(name: &str, found: &PgRow) -> Result<(), SourceError> {
    let (kind, is_partition): (String, bool) = (found.try_get(2)?, found.try_get(3)?);
    let (has_children, has_foreign, has_rule): (bool, bool, bool) =
        (found.try_get(4)?, found.try_get(5)?, found.try_get(6)?);
    let why = match kind.as_str() {
        _ if is_partition => "is a partition: register its partitioned table",
        "r" if has_children => {
            "has tables that inherit from it, whose rows no key of its own tells apart: register those"
        }
        "p" if has_foreign => "has a partition that is a foreign table: detach it and register it where it lives",
        "r" | "p" if has_rule => {
            "has a rule on UPDATE, which would do something else than re-encrypt: make it a trigger"
        }
        "r" | "p" => return Ok(()),
        "f" => "is a foreign table: register it in the source where it lives",
        _ => "is a view: register the table behind it",
    };
    Err(SourceError::refused("table_kind", format!("`{name}` {why}")))
}

fn find_key(name: &str, key: &[String], live: &[Live]) -> Result<Vec<KeyColumn>, SourceError> {
    let mut primary: Vec<_> = live.iter().filter(|c| c.position >= 0).collect();
    primary.sort_by_key(|c| c.position);
    check_key_names(name, &primary.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), key)?;
    let column = |c: &&Live| {
        let ty = match c.ty.as_str() {
            "smallint" | "integer" | "bigint" => KeyType::Integer,
            "uuid" => KeyType::Uuid,
            "text" | "character varying" => KeyType::Text,
            "bytea" => KeyType::Bytes,
            other => {
                return Err(SourceError::refused(
                    "key_type",
                    format!(
                        "the primary key column `{name}.{}` is {other}: integer, uuid, text, varchar and bytea ones are \
                         supported",
                        c.name
                    ),
                ));
            }
        };
        Ok(KeyColumn { name: c.name.clone(), ty, collation: None })
    };
    primary.iter().map(column).collect()
}

fn find_column(name: &str, wanted: &CellColumn, live: &[Live]) -> Result<CellColumn, SourceError> {
    let Some(found) = live.iter().find(|c| c.name == wanted.name) else {
        return Err(SourceError::refused("column_missing", format!("`{name}` has no column `{}`", wanted.name)));
    };
    if found.generated {
        return Err(refuse_generated(name, &wanted.name));
    }
    if found.position >= 0 {
        return Err(SourceError::refused(
            "column_in_key",
            format!("`{name}.{}` is part of the primary key, which re-encrypting would change", wanted.name),
        ));
    }
    let fits = match found.ty.as_str() {
        "bytea" => !wanted.is_text(),
        "text" | "character varying" => wanted.is_text(),
        _ => false,
    };
    if !fits {
        return Err(refuse_type(name, wanted, &found.ty));
    }
    let length_max = found.length_max.and_then(|n| usize::try_from(n).ok()).filter(|_| wanted.is_text());
    Ok(CellColumn { length_max, ..wanted.clone() })
}

/// The fingerprint of the table as it is now.
pub(super) async fn fingerprint_now(connection: &mut PgConnection, shape: &Shape) -> Result<String, SourceError> {
    let key: Vec<String> = shape.key.iter().map(|k| k.name.clone()).collect();
    Ok(find(connection, Some(&shape.schema), &shape.table, &key, &shape.columns).await?.fingerprint)
}
