//! Compare and swap on PostgreSQL.

use super::{
    cells::stored,
    key::{key_of, key_texts, same_key, unnest},
    shape::UPDATE_TRIGGERS,
    *,
};
use crate::source::error::{ALTERED, WATCHED, WATCHED_CODE};
use reseal_keyring::cell::{OVERHEAD, PREFIX_LEN};

const TAG_LEN: usize = OVERHEAD - PREFIX_LEN;

/// What of a stored value tells whether it is still the one that was read; none where the row's version does.
fn identity(column: &CellColumn, expression: &str) -> Option<String> {
    let stored = stored(expression, column.is_text());
    match column.compare() {
        Compare::Ends => Some(format!(
            "(substring({stored} from 1 for {PREFIX_LEN}) OPERATOR(pg_catalog.||) \
             substring({stored} from greatest(pg_catalog.octet_length({stored}) OPERATOR(pg_catalog.-) {}, 1)) \
             OPERATOR(pg_catalog.||) pg_catalog.int4send(pg_catalog.octet_length({stored})))",
            TAG_LEN - 1
        )),
        Compare::Whole => Some(stored),
        Compare::Version => None,
    }
}

fn identity_of<'v>(column: &CellColumn, old: &'v [u8]) -> Cow<'v, [u8]> {
    if column.compare() != Compare::Ends {
        return Cow::Borrowed(old);
    }
    let (first, last) = (&old[..old.len().min(PREFIX_LEN)], &old[old.len().saturating_sub(TAG_LEN)..]);
    let length = i32::try_from(old.len()).unwrap_or(i32::MAX).to_be_bytes();
    Cow::Owned([first, last, &length].concat())
}

/// One statement where no trigger of others runs at updates; the statement itself asks that again, since one can have
/// come since the table was looked at. Where one runs, a transaction that looks at what was stored.
pub(super) async fn swap(pool: &PgPool, shape: &Shape, swaps: &[Swap]) -> Result<Vec<String>, SourceError> {
    if !shape.watched {
        let mut txn = session::begin_as_the_role(pool).await?;
        match update(&mut *txn, shape, swaps, Triggers::Refused).await {
            Err(e) if e.code == WATCHED_CODE => txn.rollback().await?,
            done => {
                let done = done?;
                txn.commit().await?;
                return Ok(done);
            }
        }
    }
    let mut txn = session::begin_as_the_role(pool).await?;
    let swapped = swap_and_look(&mut txn, shape, swaps).await?;
    txn.commit().await?;
    Ok(swapped)
}

/// In the caller's transaction, which is rolled back when this fails. A trigger that runs after the row, or at the
/// commit, can change the row as well, so the stored values are read again after the last trigger.
pub(super) async fn swap_and_look(
    txn: &mut PgConnection,
    shape: &Shape,
    swaps: &[Swap],
) -> Result<Vec<String>, SourceError> {
    let swapped = update(&mut *txn, shape, swaps, Triggers::Watched).await?;
    sqlx::raw_sql("SET CONSTRAINTS ALL IMMEDIATE").execute(&mut *txn).await?;
    let kept: Vec<&Swap> = swaps.iter().filter(|s| swapped.contains(&s.key)).collect();
    let more: Vec<_> = (0..shape.columns.len()).map(|i| (format!("new{i}"), "bytea")).collect();
    let (unnest, keys) = unnest(shape, kept.iter().map(|s| &s.key), &more)?;
    let as_sent = shape.columns.iter().enumerate().map(|(i, c)| {
        let now = stored(&format!("t.{}", quoted(&c.name)), c.is_text());
        format!("(v.new{i} IS NULL OR {now} {EQUALS} v.new{i})")
    });
    let sql = format!(
        "SELECT pg_catalog.count(*) FROM {} AS t JOIN {unnest} ON {} WHERE {}",
        table_of(shape),
        same_key(shape),
        as_sent.collect::<Vec<_>>().join(" AND ")
    );
    let mut look = keys.into_iter().fold(query(sql), Query::bind);
    for i in 0..shape.columns.len() {
        let new = kept.iter().map(|s| s.cells[i].as_ref().map(|(_, new)| new.as_slice()));
        look = look.bind(new.collect::<Vec<_>>());
    }
    let as_sent: i64 = look.fetch_one(&mut *txn).await?.try_get(0)?;
    // A row that a trigger moved or deleted is missing from the count, too.
    if as_sent == kept.len() as i64 { Ok(swapped) } else { Err(SourceError::altered(&table_of(shape))) }
}

/// Whether triggers of others may run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Triggers {
    /// The statement fails where one is there.
    Refused,
    /// The caller looks at what they made of the values.
    Watched,
}

/// One `UPDATE … FROM unnest(…)`. A column that stays as it is compares and sets nothing. What a trigger changed
/// before it was stored makes the statement fail, and with it every row of it.
async fn update(
    executor: impl sqlx::PgExecutor<'_>,
    shape: &Shape,
    swaps: &[Swap],
    triggers: Triggers,
) -> Result<Vec<String>, SourceError> {
    let (mut sets, mut same, mut more, mut as_sent) = (vec![], vec![same_key(shape)], vec![], vec![]);
    for (i, column) in shape.columns.iter().enumerate() {
        let c = quoted(&column.name);
        let new =
            if column.is_text() { format!("pg_catalog.convert_from(v.new{i}, 'UTF8')") } else { format!("v.new{i}") };
        sets.push(format!("{c} = coalesce({new}, t.{c})"));
        let same_value =
            identity(column, &format!("t.{c}")).map(|now| format!("(v.old{i} IS NULL OR {now} {EQUALS} v.old{i})"));
        same.extend(same_value);
        as_sent
            .push(format!("(v.new{i} IS NULL OR {} {EQUALS} v.new{i})", stored(&format!("t.{c}"), column.is_text())));
        more.extend([(format!("old{i}"), "bytea"), (format!("new{i}"), "bytea")]);
    }
    if shape.compares_versions() {
        same.push(format!("{} {EQUALS} v.version", cells::VERSION));
        more.push(("version".to_owned(), "text"));
    }
    let (unnest, keys) = unnest(shape, swaps.iter().map(|s| &s.key), &more)?;
    let parameters = keys.len() + more.len();
    let may = match triggers {
        Triggers::Watched => "'true'".to_owned(),
        Triggers::Refused => format!(
            "CASE WHEN EXISTS ({}) THEN '{WATCHED}' ELSE 'true' END",
            UPDATE_TRIGGERS.replace("$table", &format!("${}::pg_catalog.regclass", parameters + 1))
        ),
    };
    let sql = format!(
        "UPDATE {} AS t SET {} FROM {unnest} WHERE {} RETURNING {}, \
         (CASE WHEN {} THEN {may} ELSE '{ALTERED}' END)::boolean",
        table_of(shape),
        sets.join(", "),
        same.join(" AND "),
        key_texts(shape, "t."),
        as_sent.join(" AND "),
    );
    let old = shape.columns.iter().enumerate().map(|(i, column)| {
        let old = swaps.iter().map(|s| s.cells[i].as_ref().map(|(old, _)| old));
        // What is not compared is not sent.
        let sent = old.map(|old| old.filter(|_| column.compare() != Compare::Version).map(|o| identity_of(column, o)));
        sent.collect::<Vec<_>>()
    });
    let old: Vec<Vec<Option<Cow<'_, [u8]>>>> = old.collect();
    let mut update = keys.into_iter().fold(query(sql), Query::bind);
    for (i, old) in old.iter().enumerate() {
        let new = swaps.iter().map(|s| s.cells[i].as_ref().map(|(_, new)| new.as_slice()));
        update = update.bind(old.iter().map(Option::as_deref).collect::<Vec<_>>()).bind(new.collect::<Vec<_>>());
    }
    if shape.compares_versions() {
        update = update.bind(swaps.iter().map(|s| s.version.as_deref()).collect::<Vec<_>>());
    }
    if triggers == Triggers::Refused {
        update = update.bind(table_of(shape));
    }
    update.fetch_all(executor).await?.iter().map(|row| key_of(shape, row, 0)).collect()
}
