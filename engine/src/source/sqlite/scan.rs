//! Looking for copies in what is not registered: one read transaction over the whole file, each table read once.

use super::{super::needles::LENGTH_MIN, *};
use futures::TryStreamExt;
use sqlx::SqliteConnection;
use std::time::Instant;

const TABLES: &str = "SELECT name, upper(substr(sql, 1, 15)) = 'CREATE VIRTUAL ' FROM main.sqlite_schema \
                      WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name";

/// What is computed whenever it is read is stored nowhere (2), and hidden columns of virtual tables are arguments (1).
const COLUMNS: &str = "SELECT name FROM pragma_table_xinfo(?, 'main') WHERE hidden NOT IN (1, 2) ORDER BY cid";

struct Table {
    name: String,
    columns: Vec<String>,
}

pub(super) struct Listed {
    tables: Vec<Table>,
    pub(super) unreadable: Vec<Unreadable>,
}

/// What is to be looked at. Columns have affinities, not types, here: any of them may hold a cell.
pub(super) async fn list(connection: &mut SqliteConnection, left_out: &LeftOut<'_>) -> Result<Listed, SourceError> {
    let mut listed = Listed { tables: Vec::new(), unreadable: Vec::new() };
    for row in sqlx::query(TABLES).fetch_all(&mut *connection).await? {
        let (name, is_virtual): (String, bool) = (row.try_get(0)?, row.try_get::<Option<bool>, _>(1)?.unwrap_or(false));
        if left_out.table("main", &name) {
            continue;
        }
        let columns = sqlx::query_scalar::<_, String>(COLUMNS).bind(&name).fetch_all(&mut *connection).await;
        match columns.map_err(SourceError::from) {
            Ok(mut columns) => {
                columns.retain(|column| !left_out.column("main", &name, column));
                if !columns.is_empty() {
                    listed.tables.push(Table { name, columns });
                }
            }
            Err(e) if e.is(SourceErrorKind::Transient) => return Err(e.at(&name)),
            // Nobody can say what its columns are called.
            Err(_) if is_virtual && left_out.is_named("main", &name) => {}
            Err(_) if is_virtual => listed.unreadable.push(Unreadable {
                why: format!(
                    "it is a virtual table whose module this process does not have: leave it out with ignore_columns = \
                     [\"main.{name}.*\"]; the tables in which it keeps its data are looked at as tables"
                ),
                path: format!("main.{name}"),
            }),
            Err(e) => listed.unreadable.push(failed(&name, &e)),
        }
    }
    Ok(listed)
}

fn failed(table: &str, e: &SourceError) -> Unreadable {
    let why = format!("{e}: mend that, or leave it out with ignore_columns = [\"main.{table}.*\"]");
    Unreadable { path: format!("main.{table}"), why }
}

/// Looks at every table that `left_out` leaves. The session is inside a transaction.
pub(super) async fn strays(
    connection: &mut SqliteConnection,
    left_out: &LeftOut<'_>,
    headers: &[Header],
    patience: Option<Duration>,
) -> Result<Strays, SourceError> {
    let finder = Finder::new(headers)?;
    let Listed { tables, unreadable } = list(connection, left_out).await?;
    let mut strays = Strays { unreadable, ..Strays::default() };
    for table in tables {
        let paths = table.columns.iter().map(|c| format!("main.{}.{c}", table.name));
        match read(connection, &finder, &table, patience).await {
            Ok(Some(counts)) => {
                strays.looked_at += counts.len();
                let found = paths.zip(counts).filter(|(_, cells)| *cells > 0);
                strays.found.extend(found.map(|(path, cells)| Stray { path, cells }));
            }
            Ok(None) => strays.unfinished.extend(paths),
            Err(e) if e.is(SourceErrorKind::Transient) => return Err(e.at(&table.name)),
            Err(e) => strays.unreadable.push(failed(&table.name, &e)),
        }
    }
    Ok(strays)
}

/// Cells found per column; none: it took too long.
async fn read(
    connection: &mut SqliteConnection,
    finder: &Finder,
    table: &Table,
    patience: Option<Duration>,
) -> Result<Option<Vec<i64>>, SourceError> {
    let began = Instant::now();
    // The length of a text ends at its first zero byte.
    let long = |c: &String| {
        let c = quoted(c);
        format!(
            "CASE typeof({c}) WHEN 'blob' THEN length({c}) WHEN 'text' THEN length(CAST({c} AS BLOB)) END >= {LENGTH_MIN}"
        )
    };
    let values = table.columns.iter().map(|c| format!("CASE WHEN {} THEN {} END", long(c), quoted(c)));
    let sql = format!(
        "SELECT {} FROM main.{} WHERE {}",
        values.collect::<Vec<_>>().join(", "),
        quoted(&table.name),
        table.columns.iter().map(long).collect::<Vec<_>>().join(" OR ")
    );
    let mut counts = vec![0; table.columns.len()];
    let mut rows = query(sql).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        for (i, count) in counts.iter_mut().enumerate() {
            // Text, too, and that of a file in UTF-16 as UTF-8.
            let value: Option<&[u8]> = row.try_get_unchecked(i)?;
            *count += i64::from(value.is_some_and(|v| finder.finds(v)));
        }
        if patience.is_some_and(|p| began.elapsed() > p) {
            return Ok(None);
        }
    }
    Ok(Some(counts))
}
