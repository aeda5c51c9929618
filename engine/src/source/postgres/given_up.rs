//! Giving a value up on PostgreSQL: its cell becomes NULL, or its row is deleted.

use super::{cells::stored, key::is_key, *};
use std::collections::BTreeMap;

/// `NOT NULL` of the column, or of the domain that is its type.
pub(super) async fn takes_null(pool: &PgPool, shape: &Shape, column: &str) -> Result<bool, SourceError> {
    let sql = "SELECT NOT (a.attnotnull OR t.typnotnull) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
               WHERE a.attrelid = $1::regclass AND a.attname = $2 AND NOT a.attisdropped";
    Ok(query(sql.to_owned()).bind(table_of(shape)).bind(column).fetch_one(pool).await?.try_get(0)?)
}

/// `WHERE` the row is, with its cell as parameter 1, and what to bind from parameter 2 on.
fn here(shape: &Shape, key: &str, column: &str) -> Result<(String, Vec<String>), SourceError> {
    let (is_key, binds) = is_key(shape, key, 2)?;
    let stored = stored(&format!("t.{}", quoted(column)), shape.column(column)?.is_text());
    Ok((format!("WHERE {is_key} AND {stored} {EQUALS} $1"), binds))
}

pub(super) async fn set_null(
    pool: &PgPool,
    shape: &Shape,
    key: &str,
    column: &str,
    old: &[u8],
) -> Result<bool, SourceError> {
    let (here, binds) = here(shape, key, column)?;
    let sql = format!("UPDATE {} AS t SET {} = NULL {here}", table_of(shape), quoted(column));
    let mut txn = session::begin_as_the_role(pool).await?;
    let done = binds.iter().fold(query(sql).bind(old), |q, b| q.bind(b)).execute(&mut *txn).await?;
    txn.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// In the caller's transaction, which decides by [`Deletion::done`]. What else changed is what this transaction's own
/// statistics say, so that triggers and foreign keys of any depth are in it.
pub(super) async fn delete_row(
    txn: &mut PgConnection,
    shape: &Shape,
    key: &str,
    column: &str,
    old: &[u8],
    only: Option<&OnlyIf>,
) -> Result<Option<Deletion>, SourceError> {
    let counted: bool =
        sqlx::query_scalar("SELECT current_setting('track_counts')::boolean").fetch_one(&mut *txn).await?;
    if !counted {
        return Err(SourceError::refused(
            "deletion_not_counted",
            "track_counts is off in the source, so that what a deletion takes with it cannot be counted: turn it on",
        ));
    }
    let (here, binds) = here(shape, key, column)?;
    let table = table_of(shape);
    let find = format!("SELECT to_jsonb(t)::text FROM {table} AS t {here} FOR UPDATE");
    let found = binds.iter().fold(query(find).bind(old), |q, b| q.bind(b)).fetch_optional(&mut *txn).await?;
    let Some(row) = found.map(|row| row.try_get::<String, _>(0)).transpose()? else { return Ok(None) };
    let before = changes(txn).await?;
    let sql = format!("DELETE FROM {table} AS t {here}");
    sqlx::raw_sql(session::THE_ROLES).execute(&mut *txn).await?;
    let gone = binds.iter().fold(query(sql).bind(old), |q, b| q.bind(b)).execute(&mut *txn).await?;
    sqlx::raw_sql("SET CONSTRAINTS ALL IMMEDIATE").execute(&mut *txn).await?;
    sqlx::raw_sql("SET LOCAL search_path = pg_catalog, pg_temp").execute(&mut *txn).await?;
    if gone.rows_affected() != 1 {
        return Err(SourceError::refused(
            "write_ignored",
            format!("a trigger of {table} keeps the row from being deleted"),
        ));
    }
    let own = format!("{}.{}", shape.schema, shape.table);
    let mut also = Vec::new();
    for (table, (deleted, changed)) in changes(txn).await? {
        let (deleted_before, changed_before) = before.get(&table).copied().unwrap_or_default();
        let deleted = deleted - deleted_before - i64::from(table == own);
        let changed = changed - changed_before;
        if deleted > 0 || changed > 0 {
            also.push(Also { table, deleted, changed });
        }
    }
    let done = only.is_some_and(|only| only.holds(&row, &also));
    Ok(Some(Deletion { row, also, done }))
}

/// Rows that this session deleted, and inserted or updated, by table; a partition counts as its partitioned table.
async fn changes(txn: &mut PgConnection) -> Result<BTreeMap<String, (i64, i64)>, SourceError> {
    let sql =
        "SELECT rn.nspname || '.' || root.relname, sum(s.n_tup_del)::bigint, sum(s.n_tup_upd + s.n_tup_ins)::bigint
               FROM pg_stat_xact_user_tables s JOIN pg_class c ON c.oid = s.relid
               JOIN pg_class root ON root.oid = CASE WHEN c.relispartition THEN pg_partition_root(c.oid) ELSE c.oid END
               JOIN pg_namespace rn ON rn.oid = root.relnamespace
               WHERE s.n_tup_del + s.n_tup_upd + s.n_tup_ins > 0 GROUP BY 1";
    let rows = sqlx::query(sql).persistent(false).fetch_all(txn).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)))).collect()
}
