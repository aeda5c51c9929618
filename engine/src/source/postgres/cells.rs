//! Cutting, reading and swapping on PostgreSQL.

use super::{key::*, *};

/// The largest primary key.
pub(super) async fn max_key(pool: &PgPool, shape: &Shape) -> Result<Option<String>, SourceError> {
    let sql = format!(
        "SELECT {} FROM {} AS t ORDER BY {} LIMIT 1",
        key_texts(shape, "t."),
        table_of(shape),
        order(shape, true)
    );
    query(sql).fetch_optional(pool).await?.map(|row| key_of(shape, &row, 0)).transpose()
}

/// Walks batch ends inside the database: each step skips `rows` index entries from the last bound.
pub(super) async fn bounds(
    pool: &PgPool,
    shape: &Shape,
    range: &Range,
    rows: i64,
    stretch: i64,
) -> Result<Vec<Bound>, SourceError> {
    let (table, order, names) = (table_of(shape), order(shape, false), key_names(shape, "t."));
    let (in_range, binds) = in_range(shape, range, 3)?;
    // The upper bound's own parameters come last in `binds`.
    let upper = match &range.up_to {
        Some(_) => format!("{} <= {}", tuple(shape, "t."), bound(shape, 3 + binds.len() - shape.key.len())),
        None => "true".to_owned(),
    };
    let columns: Vec<String> = (0..shape.key.len()).map(|i| format!("b{i}")).collect();
    let last = columns.iter().map(|c| format!("bound.{c}")).collect::<Vec<_>>().join(", ");
    let next = columns.iter().map(|c| format!("next.{c}")).collect::<Vec<_>>().join(", ");
    let texts = shape.key.iter().zip(&columns).map(|(k, c)| text_of(k.ty, &format!("bound.{c}")));
    let texts = texts.collect::<Vec<_>>().join(", ");
    let columns = columns.join(", ");
    let sql = format!(
        "WITH RECURSIVE bound({columns}, n) AS (
            (SELECT {names}, 1::bigint FROM {table} AS t WHERE {in_range} ORDER BY {order} OFFSET $1::bigint - 1 LIMIT 1)
            UNION ALL
            SELECT {next}, bound.n + 1 FROM bound, LATERAL (
                SELECT {names} FROM {table} AS t WHERE {} > ({last}) AND {upper} ORDER BY {order}
                OFFSET $1::bigint - 1 LIMIT 1
            ) AS next({columns}) WHERE bound.n < $2
         ) SELECT {texts} FROM bound ORDER BY bound.n",
        tuple(shape, "t.")
    );
    let walk = binds.iter().fold(query(sql).bind(rows).bind(stretch), |q, b| q.bind(b));
    let mut found = Vec::new();
    for row in walk.fetch_all(pool).await? {
        found.push(Bound { up_to_key: key_of(shape, &row, 0)?, rows });
    }
    if (found.len() as i64) < stretch {
        let after = found.last().map(|b| b.up_to_key.clone()).or_else(|| range.after.clone());
        found.extend(rest(pool, shape, &Range { after, up_to: range.up_to.clone() }).await?);
    }
    Ok(found)
}

/// The last, shorter batch of a range.
async fn rest(pool: &PgPool, shape: &Shape, range: &Range) -> Result<Option<Bound>, SourceError> {
    let (in_range, binds) = in_range(shape, range, 1)?;
    let sql = format!(
        "SELECT {}, (SELECT count(*) FROM {table} AS t WHERE {in_range}) FROM {table} AS t WHERE {in_range}
         ORDER BY {} LIMIT 1",
        key_texts(shape, "t."),
        order(shape, true),
        table = table_of(shape),
    );
    let count = binds.iter().fold(query(sql), |q, b| q.bind(b));
    let Some(row) = count.fetch_optional(pool).await? else { return Ok(None) };
    Ok(Some(Bound { up_to_key: key_of(shape, &row, 0)?, rows: row.try_get(shape.key.len())? }))
}

fn stale(shape: &Shape, active: &Header) -> String {
    let stale = |c: &CellColumn| {
        let (name, header) = (format!("t.{}", quoted(&c.name)), [*active]);
        format!("({name} IS NOT NULL AND NOT {})", among(&name, c.is_text(), &header))
    };
    format!("({})", shape.columns.iter().map(stale).collect::<Vec<_>>().join(" OR "))
}

/// What is stored, as bytes.
pub(super) fn stored(expression: &str, text: bool) -> String {
    if text { format!("pg_catalog.convert_to({expression}, 'UTF8')") } else { expression.to_owned() }
}

/// Each column as a value under no name, by what its name is in `from`.
fn cells(shape: &Shape, from: &str) -> String {
    let cell = |c: &CellColumn| stored(&format!("{from}.{}", quoted(&c.name)), c.is_text());
    shape.columns.iter().map(cell).collect::<Vec<_>>().join(", ")
}

/// A row's place and the transaction that wrote it there: no two versions of a row share both. Neither is made of a
/// value.
pub(super) const VERSION: &str =
    "(t.ctid::pg_catalog.text OPERATOR(pg_catalog.||) '/' OPERATOR(pg_catalog.||) t.xmin::pg_catalog.text)";

/// The version as one more column, or nothing.
fn version_of(shape: &Shape) -> &'static str {
    if shape.compares_versions() { VERSION } else { "NULL::text" }
}

pub(super) async fn read(
    executor: impl sqlx::PgExecutor<'_>,
    shape: &Shape,
    range: &Range,
    active: &Header,
    rows: u32,
    bytes: i64,
) -> Result<Vec<Row>, SourceError> {
    let (in_range, binds) = in_range(shape, range, 3)?;
    let (names, order) = (key_names(shape, "t."), order(shape, false));
    let (before, version) = (shape.free_name("reseal_before"), shape.free_name("reseal_version"));
    let own = |from: &str| {
        let columns = shape.columns.iter().map(|c| format!("{from}.{}", quoted(&c.name)));
        columns.collect::<Vec<_>>().join(", ")
    };
    let sizes = shape.columns.iter().map(|c| format!("coalesce(octet_length(t.{}), 0)", quoted(&c.name)));
    let size = sizes.collect::<Vec<_>>().join(" + ");
    // The running sum looks at lengths only, so a large value beyond the limit is never fetched.
    let sql = format!(
        "SELECT {}, {}, sized.{version} FROM (
            SELECT {names}, {}, t.{version},
                   sum({size}) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) - ({size}) AS {before}
            FROM (SELECT {names}, {}, {} AS {version} FROM {} AS t WHERE {in_range} AND {} ORDER BY {order} LIMIT $1) AS t
         ) AS sized WHERE sized.{before} < $2 ORDER BY {}",
        key_texts(shape, "sized."),
        cells(shape, "sized"),
        own("t"),
        own("t"),
        version_of(shape),
        table_of(shape),
        stale(shape, active),
        key_names(shape, "sized.")
    );
    let page = binds.iter().fold(query(sql).bind(i64::from(rows)).bind(bytes), |q, b| q.bind(b));
    rows_of(shape, page.fetch_all(executor).await?)
}

pub(super) async fn read_again(
    pool: &PgPool,
    shape: &Shape,
    keys: &[String],
    active: &Header,
) -> Result<Vec<Row>, SourceError> {
    let (unnest, arrays) = unnest(shape, keys.iter(), &[])?;
    let sql = format!(
        "SELECT {}, {}, {} FROM {} AS t JOIN {unnest} ON {} WHERE {}",
        key_texts(shape, "t."),
        cells(shape, "t"),
        version_of(shape),
        table_of(shape),
        same_key(shape),
        stale(shape, active)
    );
    rows_of(shape, arrays.into_iter().fold(query(sql), Query::bind).fetch_all(pool).await?)
}

/// See [`Source::neighbours`].
pub(super) async fn neighbours(pool: &PgPool, shape: &Shape, key: &str, rows: u32) -> Result<Vec<Row>, SourceError> {
    let mut found = Vec::new();
    let sides = [
        (Range { after: None, up_to: Some(key.to_owned()) }, true),
        (Range { after: Some(key.to_owned()), up_to: None }, false),
    ];
    for (range, descending) in sides {
        let (in_range, binds) = in_range(shape, &range, 2)?;
        let sql = format!(
            "SELECT {}, {}, {} FROM {} AS t WHERE {in_range} ORDER BY {} LIMIT $1",
            key_texts(shape, "t."),
            cells(shape, "t"),
            version_of(shape),
            table_of(shape),
            order(shape, descending)
        );
        let side = binds.iter().fold(query(sql).bind(i64::from(rows)), |q, b| q.bind(b));
        found.extend(rows_of(shape, side.fetch_all(pool).await?)?);
    }
    Ok(found)
}

fn rows_of(shape: &Shape, found: Vec<PgRow>) -> Result<Vec<Row>, SourceError> {
    let arity = shape.key.len();
    let read = |row: &PgRow| {
        let cells = (arity..arity + shape.columns.len()).map(|i| row.try_get(i)).collect::<Result<_, _>>()?;
        Ok(Row { key: key_of(shape, row, 0)?, cells, version: row.try_get(arity + shape.columns.len())? })
    };
    found.iter().map(read).collect()
}
