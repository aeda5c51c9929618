//! Cutting, reading and swapping on PostgreSQL.
//!
//! A key's text is always selected `AS reseal_k`: under its own name, `ORDER BY` would sort by the text.

use super::*;
use reseal_keyring::cell::PREFIX_LEN;

/// Walks batch ends inside the database: each step skips `rows` index entries from the last bound.
pub(super) async fn bounds(
    pool: &PgPool,
    shape: &Shape,
    range: &Range,
    rows: i64,
    stretch: i64,
) -> Result<Vec<Bound>, SourceError> {
    let (key, table, cast) = (quoted(&shape.key), table_of(shape), key_cast(shape));
    let (in_range, binds) = in_range(shape, range, 3);
    let upper =
        range.up_to.as_ref().map_or("true".to_owned(), |_| format!("{key} <= ${}::text::{cast}", 2 + binds.len()));
    let sql = format!(
        "WITH RECURSIVE bound(k, n) AS (
            SELECT (SELECT {key} FROM {table} WHERE {in_range} ORDER BY {key} OFFSET $1::bigint - 1 LIMIT 1), 1::bigint
            UNION ALL
            SELECT (SELECT {key} FROM {table} WHERE {key} > bound.k AND {upper} ORDER BY {key} OFFSET $1::bigint - 1 LIMIT 1), n + 1
            FROM bound WHERE bound.k IS NOT NULL AND n < $2
         ) SELECT k::text FROM bound WHERE k IS NOT NULL ORDER BY n"
    );
    let mut walk = query(sql).bind(rows).bind(stretch);
    for bind in &binds {
        walk = walk.bind(bind);
    }
    let mut found = Vec::new();
    for row in walk.fetch_all(pool).await? {
        found.push(Bound { up_to_key: row.try_get(0)?, rows });
    }
    if (found.len() as i64) < stretch {
        let after = found.last().map(|b| b.up_to_key.clone()).or_else(|| range.after.clone());
        found.extend(rest(pool, shape, &Range { after, up_to: range.up_to.clone() }).await?);
    }
    Ok(found)
}

/// The last, shorter batch of a range.
async fn rest(pool: &PgPool, shape: &Shape, range: &Range) -> Result<Option<Bound>, SourceError> {
    let (key, (in_range, binds)) = (quoted(&shape.key), in_range(shape, range, 1));
    let table = table_of(shape);
    let sql = format!(
        "SELECT (SELECT {key}::text AS reseal_k FROM {table} WHERE {in_range} ORDER BY {key} DESC LIMIT 1), \
         (SELECT count(*) FROM {table} WHERE {in_range})"
    );
    let mut count = query(sql);
    for bind in &binds {
        count = count.bind(bind);
    }
    let row = count.fetch_one(pool).await?;
    let last: Option<String> = row.try_get(0)?;
    let rows: i64 = row.try_get(1)?;
    Ok(last.map(|up_to_key| Bound { up_to_key, rows }))
}

fn stale(shape: &Shape, active: &Header) -> String {
    let stale =
        |c: &String| format!("({c} IS NOT NULL AND substring({c} from 1 for 5) <> {})", literal(active), c = quoted(c));
    format!("({})", shape.columns.iter().map(stale).collect::<Vec<_>>().join(" OR "))
}

fn columns(shape: &Shape) -> String {
    shape.columns.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(", ")
}

pub(super) async fn read(
    executor: impl sqlx::PgExecutor<'_>,
    shape: &Shape,
    range: &Range,
    active: &Header,
    rows: u32,
    bytes: i64,
) -> Result<Vec<Row>, SourceError> {
    let (key, columns, (in_range, binds)) = (quoted(&shape.key), columns(shape), in_range(shape, range, 3));
    let size = shape
        .columns
        .iter()
        .map(|c| format!("coalesce(octet_length({}), 0)", quoted(c)))
        .collect::<Vec<_>>()
        .join(" + ");
    // The running sum looks at lengths only, so a large value beyond the limit is never fetched.
    let sql = format!(
        "SELECT {key}::text AS reseal_k, {columns} FROM (
            SELECT {key}, {columns}, sum({size}) OVER (ORDER BY {key} ROWS UNBOUNDED PRECEDING) - ({size}) AS reseal_before
            FROM (SELECT {key}, {columns} FROM {} WHERE {in_range} AND {} ORDER BY {key} LIMIT $1) page
         ) sized WHERE reseal_before < $2 ORDER BY sized.{key}",
        table_of(shape), stale(shape, active)
    );
    let mut page = query(sql).bind(i64::from(rows)).bind(bytes);
    for bind in &binds {
        page = page.bind(bind);
    }
    rows_of(shape, page.fetch_all(executor).await?)
}

pub(super) async fn read_again(
    pool: &PgPool,
    shape: &Shape,
    keys: &[String],
    active: &Header,
) -> Result<Vec<Row>, SourceError> {
    let (key, cast) = (quoted(&shape.key), key_cast(shape));
    let sql = format!(
        "SELECT {key}::text AS reseal_k, {} FROM {} WHERE {key} = ANY($1::text[]::{cast}[]) AND {} ORDER BY {key}",
        columns(shape),
        table_of(shape),
        stale(shape, active)
    );
    rows_of(shape, query(sql).bind(keys).fetch_all(pool).await?)
}

fn rows_of(shape: &Shape, found: Vec<sqlx::postgres::PgRow>) -> Result<Vec<Row>, SourceError> {
    let read = |row: &sqlx::postgres::PgRow| {
        let cells = (1..=shape.columns.len()).map(|i| row.try_get(i)).collect::<Result<_, _>>()?;
        Ok(Row { key: row.try_get(0)?, cells })
    };
    found.iter().map(read).collect()
}

/// One `UPDATE … FROM unnest(…)`. Header and nonce identify the old cell, so 17 bytes of it are
/// compared; a column that stays as it is compares and sets nothing.
pub(super) async fn swap(pool: &PgPool, shape: &Shape, swaps: &[Swap]) -> Result<Vec<String>, SourceError> {
    let (key, cast) = (quoted(&shape.key), key_cast(shape));
    let (mut arrays, mut names, mut sets, mut same) =
        (vec![format!("$1::text[]::{cast}[]")], vec!["k".to_owned()], vec![], vec![]);
    for (i, column) in shape.columns.iter().enumerate() {
        let c = quoted(column);
        arrays.push(format!("${}::bytea[], ${}::bytea[]", 2 + 2 * i, 3 + 2 * i));
        names.push(format!("old{i}, new{i}"));
        sets.push(format!("{c} = coalesce(v.new{i}, t.{c})"));
        same.push(format!("(v.old{i} IS NULL OR substring(t.{c} from 1 for {PREFIX_LEN}) = v.old{i})"));
    }
    let sql = format!(
        "UPDATE {} AS t SET {} FROM unnest({}) AS v({}) WHERE t.{key} = v.k AND {} RETURNING t.{key}::text",
        table_of(shape),
        sets.join(", "),
        arrays.join(", "),
        names.join(", "),
        same.join(" AND ")
    );
    let keys: Vec<&str> = swaps.iter().map(|s| s.key.as_str()).collect();
    let mut update = query(sql).bind(keys);
    for i in 0..shape.columns.len() {
        let old: Vec<Option<&[u8]>> =
            swaps.iter().map(|s| s.cells[i].as_ref().map(|(old, _)| old.as_slice())).collect();
        let new: Vec<Option<&[u8]>> =
            swaps.iter().map(|s| s.cells[i].as_ref().map(|(_, new)| new.as_slice())).collect();
        update = update.bind(old).bind(new);
    }
    update.fetch_all(pool).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
