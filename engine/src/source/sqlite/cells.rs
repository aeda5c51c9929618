//! Cutting, reading and swapping on SQLite.

use super::*;
use reseal_keyring::cell::PREFIX_LEN;
use sqlx::sqlite::SqliteRow;

/// Walks batch ends inside the database: each step skips `rows` index entries from the last bound.
pub(super) async fn bounds(
    pool: &SqlitePool,
    shape: &Shape,
    range: &Range,
    rows: i64,
    stretch: i64,
) -> Result<Vec<Bound>, SourceError> {
    let (key, table) = (quoted(&shape.key), table_of(shape));
    let (mut found, mut after) = (Vec::new(), range.after.clone());
    // A seek per batch: SQLite runs in this process, so a round trip costs next to nothing.
    while (found.len() as i64) < stretch {
        let left = Range { after: after.clone(), up_to: range.up_to.clone() };
        let (in_range, binds) = in_range(shape, &left)?;
        let sql = format!("SELECT {key} FROM {table} WHERE {in_range} ORDER BY {key} LIMIT 1 OFFSET ?");
        let seek = binds.into_iter().fold(query(sql), bind).bind(rows - 1);
        let Some(row) = seek.fetch_optional(pool).await? else {
            found.extend(rest(pool, shape, &left).await?);
            break;
        };
        let up_to_key = key_text(shape, &row, 0)?;
        after = Some(up_to_key.clone());
        found.push(Bound { up_to_key, rows });
    }
    Ok(found)
}

/// The last, shorter batch of a range.
async fn rest(pool: &SqlitePool, shape: &Shape, range: &Range) -> Result<Option<Bound>, SourceError> {
    let (in_range, binds) = in_range(shape, range)?;
    let sql = format!("SELECT max({}), count(*) FROM {} WHERE {in_range}", quoted(&shape.key), table_of(shape));
    let row = binds.into_iter().fold(query(sql), bind).fetch_one(pool).await?;
    let rows: i64 = row.try_get(1)?;
    if rows == 0 { Ok(None) } else { Ok(Some(Bound { up_to_key: key_text(shape, &row, 0)?, rows })) }
}

fn stale(shape: &Shape, active: &Header) -> String {
    let stale = |column: &String| {
        let c = quoted(column);
        format!("({c} IS NOT NULL AND {} <> {})", first_bytes(&c, 5), literals(&[*active]))
    };
    format!("({})", shape.columns.iter().map(stale).collect::<Vec<_>>().join(" OR "))
}

fn cells(shape: &Shape) -> String {
    shape.columns.iter().map(|c| format!("CAST({0} AS BLOB) AS {0}", quoted(c))).collect::<Vec<_>>().join(", ")
}

pub(super) async fn read(
    executor: impl sqlx::SqliteExecutor<'_>,
    shape: &Shape,
    range: &Range,
    active: &Header,
    rows: u32,
    bytes: i64,
) -> Result<Vec<Row>, SourceError> {
    let (key, (in_range, binds)) = (quoted(&shape.key), in_range(shape, range)?);
    let columns = shape.columns.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(", ");
    let size =
        shape.columns.iter().map(|c| format!("coalesce(length({}), 0)", quoted(c))).collect::<Vec<_>>().join(" + ");
    let sql = format!(
        "SELECT {key}, {columns} FROM (
            SELECT {key}, {columns}, sum({size}) OVER (ORDER BY {key} ROWS UNBOUNDED PRECEDING) - ({size}) AS reseal_before
            FROM (SELECT {key}, {} FROM {} WHERE {in_range} AND {} ORDER BY {key} LIMIT ?)
         ) WHERE reseal_before < ? ORDER BY {key}",
        cells(shape), table_of(shape), stale(shape, active)
    );
    let page = binds.into_iter().fold(query(sql), bind).bind(i64::from(rows)).bind(bytes);
    rows_of(shape, page.fetch_all(executor).await?)
}

pub(super) async fn read_again(
    pool: &SqlitePool,
    shape: &Shape,
    keys: &[String],
    active: &Header,
) -> Result<Vec<Row>, SourceError> {
    let key = quoted(&shape.key);
    let marks = vec!["?"; keys.len()].join(", ");
    let sql = format!(
        "SELECT {key}, {} FROM {} WHERE {key} IN ({marks}) AND {} ORDER BY {key}",
        cells(shape),
        table_of(shape),
        stale(shape, active)
    );
    let mut again = query(sql);
    for k in keys {
        again = bind(again, key_value(shape, k)?);
    }
    rows_of(shape, again.fetch_all(pool).await?)
}

fn rows_of(shape: &Shape, found: Vec<SqliteRow>) -> Result<Vec<Row>, SourceError> {
    let read = |row: &SqliteRow| {
        let cells = (1..=shape.columns.len()).map(|i| row.try_get(i)).collect::<Result<_, _>>()?;
        Ok(Row { key: key_text(shape, row, 0)?, cells })
    };
    found.iter().map(read).collect()
}

/// One `UPDATE … FROM (VALUES …)`, split where SQLite's limit of bound values (32,766) demands it;
/// each part is a transaction of its own.
pub(super) async fn swap(pool: &SqlitePool, shape: &Shape, swaps: &[Swap]) -> Result<Vec<String>, SourceError> {
    let mut swapped = Vec::with_capacity(swaps.len());
    for some in swaps.chunks(30_000 / (1 + 2 * shape.columns.len())) {
        swapped.extend(swap_some(pool, shape, some).await?);
    }
    Ok(swapped)
}

async fn swap_some(pool: &SqlitePool, shape: &Shape, swaps: &[Swap]) -> Result<Vec<String>, SourceError> {
    let key = quoted(&shape.key);
    let (mut names, mut sets, mut same) = (vec!["reseal_k".to_owned()], Vec::new(), Vec::new());
    for (i, column) in shape.columns.iter().enumerate() {
        let c = quoted(column);
        names.push(format!("reseal_old{i}, reseal_new{i}"));
        sets.push(format!("{c} = coalesce(v.reseal_new{i}, t.{c})"));
        same.push(format!(
            "(v.reseal_old{i} IS NULL OR {} = v.reseal_old{i})",
            first_bytes(&format!("t.{c}"), PREFIX_LEN)
        ));
    }
    let marks = format!("({})", vec!["?"; 1 + 2 * shape.columns.len()].join(", "));
    let sql = format!(
        "WITH v({}) AS (VALUES {}) UPDATE {} AS t SET {} FROM v WHERE t.{key} = v.reseal_k AND {} RETURNING {key}",
        names.join(", "),
        vec![marks; swaps.len()].join(", "),
        table_of(shape),
        sets.join(", "),
        same.join(" AND ")
    );
    let mut update = query(sql);
    for swap in swaps {
        update = bind(update, key_value(shape, &swap.key)?);
        for cell in &swap.cells {
            let (old, new) = cell.as_ref().map_or((None, None), |(old, new)| (Some(old.clone()), Some(new.clone())));
            update = update.bind(old).bind(new);
        }
    }
    update.fetch_all(pool).await?.iter().map(|row| key_text(shape, row, 0)).collect()
}
