//! Cutting, reading and swapping on PostgreSQL.

use super::{key::*, *};
use reseal_keyring::cell::PREFIX_LEN;

/// The largest primary key.
pub(super) async fn max_key(pool: &PgPool, shape: &Shape) -> Result<Option<String>, SourceError> {
    let sql =
        format!("SELECT {} FROM {} ORDER BY {} LIMIT 1", key_texts(shape, ""), table_of(shape), order(shape, true));
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
    let (table, order, names) = (table_of(shape), order(shape, false), key_names(shape, ""));
    let (in_range, binds) = in_range(shape, range, 3)?;
    // The upper bound's own parameters come last in `binds`.
    let upper = match &range.up_to {
        Some(_) => format!("{} <= {}", tuple(shape, ""), bound(shape, 3 + binds.len() - shape.key.len())),
        None => "true".to_owned(),
    };
    let columns: Vec<String> = (0..shape.key.len()).map(|i| format!("b{i}")).collect();
    let last = columns.iter().map(|c| format!("bound.{c}")).collect::<Vec<_>>().join(", ");
    let texts = shape.key.iter().zip(&columns).map(|(k, c)| text_of(k.ty, c)).collect::<Vec<_>>().join(", ");
    let columns = columns.join(", ");
    let sql = format!(
        "WITH RECURSIVE bound({columns}, n) AS (
            (SELECT {names}, 1::bigint FROM {table} WHERE {in_range} ORDER BY {order} OFFSET $1::bigint - 1 LIMIT 1)
            UNION ALL
            SELECT next.*, n + 1 FROM bound, LATERAL (
                SELECT {names} FROM {table} WHERE {} > ({last}) AND {upper} ORDER BY {order} OFFSET $1::bigint - 1 LIMIT 1
            ) next WHERE n < $2
         ) SELECT {texts} FROM bound ORDER BY n",
        tuple(shape, "")
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
        "SELECT {}, (SELECT count(*) FROM {table} WHERE {in_range}) FROM {table} WHERE {in_range} ORDER BY {} LIMIT 1",
        key_texts(shape, ""),
        order(shape, true),
        table = table_of(shape),
    );
    let count = binds.iter().fold(query(sql), |q, b| q.bind(b));
    let Some(row) = count.fetch_optional(pool).await? else { return Ok(None) };
    Ok(Some(Bound { up_to_key: key_of(shape, &row, 0)?, rows: row.try_get(shape.key.len())? }))
}

fn stale(shape: &Shape, active: &Header) -> String {
    let stale = |c: &CellColumn| {
        let (name, header) = (quoted(&c.name), [*active]);
        format!("({name} IS NOT NULL AND NOT {})", among(&name, c.is_text(), &header))
    };
    format!("({})", shape.columns.iter().map(stale).collect::<Vec<_>>().join(" OR "))
}

/// What is stored, as bytes.
pub(super) fn stored(expression: &str, text: bool) -> String {
    if text { format!("convert_to({expression}, 'UTF8')") } else { expression.to_owned() }
}

fn columns(shape: &Shape, each: impl Fn(&CellColumn, String) -> String) -> Vec<String> {
    shape.columns.iter().map(|c| each(c, quoted(&c.name))).collect()
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
    let (names, order) = (key_names(shape, ""), order(shape, false));
    let cells = columns(shape, |_, name| name).join(", ");
    let size = columns(shape, |_, name| format!("coalesce(octet_length({name}), 0)")).join(" + ");
    // The running sum looks at lengths only, so a large value beyond the limit is never fetched.
    let sql = format!(
        "SELECT {}, {} FROM (
            SELECT {names}, {cells}, sum({size}) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) - ({size}) AS reseal_before
            FROM (SELECT {names}, {cells} FROM {} WHERE {in_range} AND {} ORDER BY {order} LIMIT $1) page
         ) sized WHERE reseal_before < $2 ORDER BY {}",
        key_texts(shape, ""), columns(shape, |c, name| stored(&name, c.is_text())).join(", "),
        table_of(shape), stale(shape, active), key_names(shape, "sized.")
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
        "SELECT {}, {} FROM {} t JOIN {unnest} ON {} WHERE {}",
        key_texts(shape, "t."),
        columns(shape, |c, name| stored(&name, c.is_text())).join(", "),
        table_of(shape),
        same_key(shape),
        stale(shape, active)
    );
    rows_of(shape, arrays.into_iter().fold(query(sql), Query::bind).fetch_all(pool).await?)
}

fn rows_of(shape: &Shape, found: Vec<PgRow>) -> Result<Vec<Row>, SourceError> {
    let arity = shape.key.len();
    let read = |row: &PgRow| {
        let cells = (arity..arity + shape.columns.len()).map(|i| row.try_get(i)).collect::<Result<_, _>>()?;
        Ok(Row { key: key_of(shape, row, 0)?, cells })
    };
    found.iter().map(read).collect()
}

/// What of a stored value tells whether it is still the one that was read.
fn identity(column: &CellColumn, expression: &str) -> String {
    let stored = stored(expression, column.is_text());
    match column.compare() {
        Compare::Prefix => format!("substring({stored} from 1 for {PREFIX_LEN})"),
        Compare::Whole => stored,
        Compare::Sha256 => format!("sha256({stored})"),
    }
}

fn identity_of<'v>(column: &CellColumn, old: &'v [u8]) -> Cow<'v, [u8]> {
    match column.compare() {
        Compare::Prefix => Cow::Borrowed(&old[..old.len().min(PREFIX_LEN)]),
        Compare::Whole => Cow::Borrowed(old),
        Compare::Sha256 => Cow::Owned(Sha256::digest(old).to_vec()),
    }
}

/// The same as [`swap_once`]; where triggers of others run, what was stored is read again before it is kept: one
/// that runs after the row can change it, too.
pub(super) async fn swap(pool: &PgPool, shape: &Shape, swaps: &[Swap]) -> Result<Vec<String>, SourceError> {
    if !shape.watched {
        return swap_once(pool, shape, swaps).await;
    }
    let mut txn = pool.begin().await?;
    let swapped = swap_once(&mut *txn, shape, swaps).await?;
    let kept: Vec<&Swap> = swaps.iter().filter(|s| swapped.contains(&s.key)).collect();
    let more: Vec<_> = (0..shape.columns.len()).map(|i| (format!("new{i}"), "bytea")).collect();
    let (unnest, keys) = unnest(shape, kept.iter().map(|s| &s.key), &more)?;
    let differs = shape.columns.iter().enumerate().map(|(i, c)| {
        let now = stored(&format!("t.{}", quoted(&c.name)), c.is_text());
        format!("(v.new{i} IS NOT NULL AND {now} IS DISTINCT FROM v.new{i})")
    });
    let sql = format!(
        "SELECT count(*) FROM {} t JOIN {unnest} ON {} WHERE {}",
        table_of(shape),
        same_key(shape),
        differs.collect::<Vec<_>>().join(" OR ")
    );
    let mut look = keys.into_iter().fold(query(sql), Query::bind);
    for i in 0..shape.columns.len() {
        let new = kept.iter().map(|s| s.cells[i].as_ref().map(|(_, new)| new.as_slice()));
        look = look.bind(new.collect::<Vec<_>>());
    }
    let altered: i64 = look.fetch_one(&mut *txn).await?.try_get(0)?;
    if altered > 0 {
        txn.rollback().await?;
        return Err(SourceError::altered(&table_of(shape)));
    }
    txn.commit().await?;
    Ok(swapped)
}

/// One `UPDATE … FROM unnest(…)`. A column that stays as it is compares and sets nothing. What a trigger changed
/// before it was stored makes the statement fail, and with it every row of it.
pub(super) async fn swap_once(
    executor: impl sqlx::PgExecutor<'_>,
    shape: &Shape,
    swaps: &[Swap],
) -> Result<Vec<String>, SourceError> {
    let (mut sets, mut same, mut more, mut as_sent) = (vec![], vec![same_key(shape)], vec![], vec![]);
    for (i, column) in shape.columns.iter().enumerate() {
        let c = quoted(&column.name);
        let new = if column.is_text() { format!("convert_from(v.new{i}, 'UTF8')") } else { format!("v.new{i}") };
        sets.push(format!("{c} = coalesce({new}, t.{c})"));
        same.push(format!("(v.old{i} IS NULL OR {} = v.old{i})", identity(column, &format!("t.{c}"))));
        as_sent.push(format!("(v.new{i} IS NULL OR {} = v.new{i})", stored(&format!("t.{c}"), column.is_text())));
        more.extend([(format!("old{i}"), "bytea"), (format!("new{i}"), "bytea")]);
    }
    let (unnest, keys) = unnest(shape, swaps.iter().map(|s| &s.key), &more)?;
    let sql = format!(
        "UPDATE {} AS t SET {} FROM {unnest} WHERE {} RETURNING {}, \
         (CASE WHEN {} THEN 'true' ELSE '{}' END)::boolean",
        table_of(shape),
        sets.join(", "),
        same.join(" AND "),
        key_texts(shape, "t."),
        as_sent.join(" AND "),
        super::error::ALTERED
    );
    let old = shape.columns.iter().enumerate().map(|(i, column)| {
        let cells = swaps.iter().map(|s| s.cells[i].as_ref().map(|(old, _)| identity_of(column, old)));
        cells.collect::<Vec<_>>()
    });
    let old: Vec<Vec<Option<Cow<'_, [u8]>>>> = old.collect();
    let mut update = keys.into_iter().fold(query(sql), Query::bind);
    for (i, old) in old.iter().enumerate() {
        let new = swaps.iter().map(|s| s.cells[i].as_ref().map(|(_, new)| new.as_slice()));
        update = update.bind(old.iter().map(Option::as_deref).collect::<Vec<_>>()).bind(new.collect::<Vec<_>>());
    }
    update.fetch_all(executor).await?.iter().map(|row| key_of(shape, row, 0)).collect()
}
