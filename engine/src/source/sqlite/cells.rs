//! Cutting, reading and swapping on SQLite.

use super::{key::*, *};
use reseal_keyring::cell::PREFIX_LEN;
use sqlx::SqliteConnection;

/// The largest primary key.
pub(super) async fn max_key(pool: &SqlitePool, shape: &Shape) -> Result<Option<String>, SourceError> {
    last(pool, shape, &Range::default()).await
}

/// The largest key in a range.
async fn last(pool: &SqlitePool, shape: &Shape, range: &Range) -> Result<Option<String>, SourceError> {
    let (in_range, binds) = in_range(shape, range)?;
    let (names, table, order) = (key_names(shape), table_of(shape), order(shape, true));
    let sql = format!("SELECT {names} FROM {table} WHERE {in_range} ORDER BY {order} LIMIT 1");
    let found = binds.into_iter().fold(query(sql), bind).fetch_optional(pool).await?;
    found.map(|row| key_of(shape, &row)).transpose()
}

/// Walks batch ends inside the database: each step skips `rows` index entries from the last bound.
pub(super) async fn bounds(
    pool: &SqlitePool,
    shape: &Shape,
    range: &Range,
    rows: i64,
    stretch: i64,
) -> Result<Vec<Bound>, SourceError> {
    let (names, table, order) = (key_names(shape), table_of(shape), order(shape, false));
    let (mut found, mut after) = (Vec::new(), range.after.clone());
    // A seek per batch: SQLite runs in this process, so a round trip costs next to nothing.
    while (found.len() as i64) < stretch {
        let left = Range { after: after.clone(), up_to: range.up_to.clone() };
        let (in_range, binds) = in_range(shape, &left)?;
        let sql = format!("SELECT {names} FROM {table} WHERE {in_range} ORDER BY {order} LIMIT 1 OFFSET ?");
        let seek = binds.into_iter().fold(query(sql), bind).bind(rows - 1);
        let Some(row) = seek.fetch_optional(pool).await? else {
            found.extend(rest(pool, shape, &left).await?);
            break;
        };
        let up_to_key = key_of(shape, &row)?;
        after = Some(up_to_key.clone());
        found.push(Bound { up_to_key, rows });
    }
    Ok(found)
}

/// The last, shorter batch of a range.
async fn rest(pool: &SqlitePool, shape: &Shape, range: &Range) -> Result<Option<Bound>, SourceError> {
    let Some(up_to_key) = last(pool, shape, range).await? else { return Ok(None) };
    let (in_range, binds) = in_range(shape, range)?;
    let sql = format!("SELECT count(*) FROM {} WHERE {in_range}", table_of(shape));
    let rows = binds.into_iter().fold(query(sql), bind).fetch_one(pool).await?.try_get(0)?;
    Ok(Some(Bound { up_to_key, rows }))
}

fn stale(shape: &Shape, active: &Header) -> String {
    let stale = |column: &CellColumn| {
        let c = quoted(&column.name);
        format!("({c} IS NOT NULL AND NOT {})", among(&c, column.is_text(), &[*active]))
    };
    format!("({})", shape.columns.iter().map(stale).collect::<Vec<_>>().join(" OR "))
}

fn columns(shape: &Shape, each: impl Fn(String) -> String) -> Vec<String> {
    shape.columns.iter().map(|c| each(quoted(&c.name))).collect()
}

fn cells(shape: &Shape) -> String {
    columns(shape, |c| format!("CAST({c} AS BLOB) AS {c}")).join(", ")
}

pub(super) async fn read(
    executor: impl sqlx::SqliteExecutor<'_>,
    shape: &Shape,
    range: &Range,
    active: &Header,
    rows: u32,
    bytes: i64,
) -> Result<Vec<Row>, SourceError> {
    let (names, order, (in_range, binds)) = (key_names(shape), order(shape, false), in_range(shape, range)?);
    let cell_names = columns(shape, |c| c).join(", ");
    let size = columns(shape, |c| format!("coalesce(length({c}), 0)")).join(" + ");
    let sql = format!(
        "SELECT {names}, {cell_names} FROM (
            SELECT {names}, {cell_names}, sum({size}) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) - ({size}) AS reseal_before
            FROM (SELECT {names}, {} FROM {} WHERE {in_range} AND {} ORDER BY {order} LIMIT ?)
         ) WHERE reseal_before < ? ORDER BY {order}",
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
    let places = vec![marks(shape); keys.len()];
    let places = if shape.key.len() == 1 { places.join(", ") } else { format!("VALUES {}", places.join(", ")) };
    let sql = format!(
        "SELECT {}, {} FROM {} WHERE {} IN ({places}) AND {} ORDER BY {}",
        key_names(shape),
        cells(shape),
        table_of(shape),
        tuple(shape),
        stale(shape, active),
        order(shape, false)
    );
    let mut again = query(sql);
    for key in keys {
        again = key_values(shape, key)?.into_iter().fold(again, bind);
    }
    rows_of(shape, again.fetch_all(pool).await?)
}

fn rows_of(shape: &Shape, found: Vec<SqliteRow>) -> Result<Vec<Row>, SourceError> {
    let arity = shape.key.len();
    let read = |row: &SqliteRow| {
        let cells = (arity..arity + shape.columns.len()).map(|i| row.try_get(i)).collect::<Result<_, _>>()?;
        Ok(Row { key: key_of(shape, row)?, cells })
    };
    found.iter().map(read).collect()
}

/// Where triggers of others run, what was stored is read again before it is kept.
pub(super) async fn swap_kept(pool: &SqlitePool, shape: &Shape, swaps: &[Swap]) -> Result<Vec<String>, SourceError> {
    if !shape.watched {
        return swap(&mut *pool.acquire().await?, shape, swaps).await;
    }
    let mut txn = pool.begin_with("BEGIN IMMEDIATE").await?;
    let swapped = swap(&mut txn, shape, swaps).await?;
    for swap in swaps.iter().filter(|s| swapped.contains(&s.key)) {
        let sql = format!("SELECT {} FROM {} WHERE {} = {}", cells(shape), table_of(shape), tuple(shape), marks(shape));
        let look = key_values(shape, &swap.key)?.into_iter().fold(query(sql), bind);
        let Some(row) = look.fetch_optional(&mut *txn).await? else { continue };
        for (i, cell) in swap.cells.iter().enumerate() {
            let now: Option<Vec<u8>> = row.try_get(i)?;
            if cell.as_ref().is_some_and(|(_, new)| now.as_ref() != Some(new)) {
                txn.rollback().await?;
                return Err(SourceError::altered(&table_of(shape)));
            }
        }
    }
    txn.commit().await?;
    Ok(swapped)
}

/// One `UPDATE … FROM (VALUES …)`, split where SQLite's limit of bound values (32,766) demands it;
/// each part is a transaction of its own.
pub(super) async fn swap(
    connection: &mut SqliteConnection,
    shape: &Shape,
    swaps: &[Swap],
) -> Result<Vec<String>, SourceError> {
    let mut swapped = Vec::with_capacity(swaps.len());
    for some in swaps.chunks(30_000 / (shape.key.len() + 2 * shape.columns.len())) {
        swapped.extend(swap_some(&mut *connection, shape, some).await?);
    }
    Ok(swapped)
}

/// SQLite has no digest, and no log either: what is not a native cell in bytes is compared whole.
fn is_short(column: &CellColumn) -> bool {
    column.compare() == Compare::Prefix
}

async fn swap_some(
    connection: &mut SqliteConnection,
    shape: &Shape,
    swaps: &[Swap],
) -> Result<Vec<String>, SourceError> {
    let (mut names, mut sets, mut same) = (Vec::new(), Vec::new(), Vec::new());
    for (i, column) in shape.key.iter().enumerate() {
        names.push(format!("reseal_k{i}"));
        same.push(format!("{} = v.reseal_k{i}", compared(column, "t.")));
    }
    for (i, column) in shape.columns.iter().enumerate() {
        let c = quoted(&column.name);
        let new = format!("v.reseal_new{i}");
        let new = if column.is_text() { format!("CAST({new} AS TEXT)") } else { new };
        let old =
            if is_short(column) { first_bytes(&format!("t.{c}"), PREFIX_LEN) } else { format!("CAST(t.{c} AS BLOB)") };
        names.push(format!("reseal_old{i}, reseal_new{i}"));
        sets.push(format!("{c} = coalesce({new}, t.{c})"));
        same.push(format!("(v.reseal_old{i} IS NULL OR {old} = v.reseal_old{i})"));
    }
    let values = format!("({})", vec!["?"; shape.key.len() + 2 * shape.columns.len()].join(", "));
    let sql = format!(
        "WITH v({}) AS (VALUES {}) UPDATE {} AS t SET {} FROM v WHERE {} RETURNING {}",
        names.join(", "),
        vec![values; swaps.len()].join(", "),
        table_of(shape),
        sets.join(", "),
        same.join(" AND "),
        key_names(shape)
    );
    let mut update = query(sql);
    for swap in swaps {
        update = key_values(shape, &swap.key)?.into_iter().fold(update, bind);
        for (cell, column) in swap.cells.iter().zip(&shape.columns) {
            let old = cell.as_ref().map(|(old, _)| {
                let length = if is_short(column) { old.len().min(PREFIX_LEN) } else { old.len() };
                old[..length].to_vec()
            });
            update = update.bind(old).bind(cell.as_ref().map(|(_, new)| new.clone()));
        }
    }
    update.fetch_all(connection).await?.iter().map(|row| key_of(shape, row)).collect()
}
