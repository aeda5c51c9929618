//! Compare and swap on SQLite.
//!
//! Old values are compared whole: SQLite has no log that they could reach, and no digest.

use super::{cells::cells, key::*, *};
use sqlx::SqliteConnection;

/// One transaction. Where triggers of others run, what was stored is read again before it is kept; whether they do is
/// asked inside, since one can have come since the table was looked at.
pub(super) async fn swap(
    connection: &mut SqliteConnection,
    shape: &Shape,
    swaps: &[Swap],
) -> Result<Vec<String>, SourceError> {
    // Asked first: this reads the schema again where it has changed, which a failing UPDATE does not.
    let watched = shape::is_watched(&mut *connection, &shape.table).await?;
    let mut swapped = Vec::with_capacity(swaps.len());
    // Split where SQLite's limit of bound values (32,766) demands it.
    for some in swaps.chunks(30_000 / (shape.key.len() + 2 * shape.columns.len())) {
        swapped.extend(update(&mut *connection, shape, some).await?);
    }
    if watched {
        let kept = swaps.iter().filter(|s| swapped.contains(&s.key));
        refuse_what_triggers_changed(connection, shape, kept).await?;
    }
    Ok(swapped)
}

async fn refuse_what_triggers_changed(
    connection: &mut SqliteConnection,
    shape: &Shape,
    kept: impl Iterator<Item = &Swap>,
) -> Result<(), SourceError> {
    for swap in kept {
        let sql = format!("SELECT {} FROM {} WHERE {} = {}", cells(shape), table_of(shape), tuple(shape), marks(shape));
        let look = key_values(shape, &swap.key)?.into_iter().fold(query(sql), bind);
        // A trigger can have moved or deleted the row.
        let Some(row) = look.fetch_optional(&mut *connection).await? else {
            return Err(SourceError::altered(&table_of(shape)));
        };
        for (i, cell) in swap.cells.iter().enumerate() {
            let now: Option<Vec<u8>> = row.try_get(i)?;
            if cell.as_ref().is_some_and(|(_, new)| now.as_ref() != Some(new)) {
                return Err(SourceError::altered(&table_of(shape)));
            }
        }
    }
    Ok(())
}

/// One `UPDATE … FROM (VALUES …)`.
async fn update(connection: &mut SqliteConnection, shape: &Shape, swaps: &[Swap]) -> Result<Vec<String>, SourceError> {
    let (mut names, mut sets, mut same) = (Vec::new(), Vec::new(), Vec::new());
    for (i, column) in shape.key.iter().enumerate() {
        names.push(format!("reseal_k{i}"));
        same.push(format!("{} = v.reseal_k{i}", compared(column, "t.")));
    }
    for (i, column) in shape.columns.iter().enumerate() {
        let c = quoted(&column.name);
        let new = format!("v.reseal_new{i}");
        let new = if column.is_text() { format!("CAST({new} AS TEXT)") } else { new };
        names.push(format!("reseal_old{i}, reseal_new{i}"));
        sets.push(format!("{c} = coalesce({new}, t.{c})"));
        same.push(format!("(v.reseal_old{i} IS NULL OR CAST(t.{c} AS BLOB) = v.reseal_old{i})"));
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
        for cell in &swap.cells {
            let (old, new) = cell.clone().unzip();
            update = update.bind(old).bind(new);
        }
    }
    update.fetch_all(connection).await?.iter().map(|row| key_of(shape, row)).collect()
}
