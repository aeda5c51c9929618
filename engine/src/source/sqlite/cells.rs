//! Cutting, reading and swapping on SQLite.

use super::{key::*, *};

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

pub(super) fn cells(shape: &Shape) -> String {
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
    let before = shape.free_name("reseal_before");
    let sql = format!(
        "SELECT {names}, {cell_names} FROM (
            SELECT {names}, {cell_names}, sum({size}) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) - ({size}) AS {before}
            FROM (SELECT {names}, {} FROM {} WHERE {in_range} AND {} ORDER BY {order} LIMIT ?)
         ) WHERE {before} < ? ORDER BY {order}",
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

/// See [`Source::neighbours`].
pub(super) async fn neighbours(
    pool: &SqlitePool,
    shape: &Shape,
    key: &str,
    rows: u32,
) -> Result<Vec<Row>, SourceError> {
    let (mut found, key) = (Vec::new(), Some(key.to_owned()));
    for (range, descending) in
        [(Range { after: None, up_to: key.clone() }, true), (Range { after: key, up_to: None }, false)]
    {
        let (in_range, binds) = in_range(shape, &range)?;
        let (names, table, order) = (key_names(shape), table_of(shape), order(shape, descending));
        let sql = format!("SELECT {names}, {} FROM {table} WHERE {in_range} ORDER BY {order} LIMIT ?", cells(shape));
        let side = binds.into_iter().fold(query(sql), bind).bind(i64::from(rows));
        found.extend(rows_of(shape, side.fetch_all(pool).await?)?);
    }
    Ok(found)
}

fn rows_of(shape: &Shape, found: Vec<SqliteRow>) -> Result<Vec<Row>, SourceError> {
    let arity = shape.key.len();
    let read = |row: &SqliteRow| {
        let cells = (arity..arity + shape.columns.len()).map(|i| row.try_get(i)).collect::<Result<_, _>>()?;
        Ok(Row { key: key_of(shape, row)?, cells, version: None })
    };
    found.iter().map(read).collect()
}
