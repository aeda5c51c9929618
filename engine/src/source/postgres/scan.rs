//! Looking for copies in what is not registered: every table as it was at one moment, each read once.
//!
//! A job that moves rows from a table that is not looked at yet to one that already was would hide them from looks at
//! different moments. One transaction for all tables would keep each from being altered until the last one is read, and
//! every reader behind the one who alters. So one session keeps the snapshot, without a lock, and each table is read in a
//! transaction of its own that takes it over.
//!
//! Tables that are dropped or emptied before they are read can have been moved, too: then what is newer than that snapshot
//! is looked at once more, everywhere.

use super::{
    super::needles::{LENGTH_MIN, OVERLAP},
    listing::{Listed, Now, Table, list},
    *,
};
use futures::TryStreamExt;
use sqlx::{Connection, ValueRef};
use std::collections::{HashSet, VecDeque};
use watch::Backend;

/// So much of a value is held at once.
const WINDOW: usize = 4 << 20;

/// Tables that come and go are looked for so often; what moves from one to the next each time is not found.
const LOOKS: usize = 4;

/// A table that is locked is tried so often in one look.
const TRIES: usize = 5;

/// A snapshot, and the session that keeps it for others.
pub(super) struct Moment {
    keeper: PgConnection,
    name: String,
    /// Whatever was committed since has this transaction's number or a later one.
    since: String,
}

impl Moment {
    pub(super) async fn now(options: &PgConnectOptions) -> Result<Self, SourceError> {
        let mut keeper = endless(options).await?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog, pg_temp";
        sqlx::raw_sql(begin).execute(&mut keeper).await?;
        let sql = "SELECT pg_catalog.pg_export_snapshot(), \
                   pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::pg_catalog.xid::pg_catalog.text";
        let row = sqlx::query(sql).persistent(false).fetch_one(&mut keeper).await?;
        Ok(Self { name: row.try_get(0)?, since: row.try_get(1)?, keeper })
    }

    /// Begins a transaction that sees this moment. The name comes from the server and is digits and hyphens.
    pub(super) async fn enter(&self, connection: &mut PgConnection, more: &str) -> Result<(), SourceError> {
        let sql = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{}'; {more}",
            self.name
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
        Ok(())
    }

    pub(super) async fn end(self) -> Result<(), SourceError> {
        Ok(self.keeper.close().await?)
    }
}

/// A session without the everyday limits.
pub(super) async fn endless(options: &PgConnectOptions) -> Result<PgConnection, SourceError> {
    fresh(options, Kind::Counting).await
}

/// What became of the look at one table.
enum Look {
    Done,
    /// It is gone.
    Gone,
    /// It was emptied or written anew since the moment, which sees nothing of it.
    Rewritten,
    /// It is called otherwise now, or its columns are.
    Renamed,
    Locked,
    TooLong,
    Failed(SourceError),
}

struct Scan<'a> {
    connection: PgConnection,
    finder: Finder,
    patience: Option<Duration>,
    strays: Strays,
    /// What the last look missed although it is there.
    renamed: Vec<Unreadable>,
    /// Columns that were read to the end: table and number.
    done: HashSet<(i64, i16)>,
    left_out: &'a LeftOut<'a>,
}

/// Looks at every table that `left_out` leaves, at `moment` or now.
pub(super) async fn strays(
    watch: &Watch,
    moment: Option<Moment>,
    left_out: &LeftOut<'_>,
    headers: &[Header],
    patience: Option<Duration>,
) -> Result<Strays, SourceError> {
    let mut connection = watch.within(endless(&watch.options)).await?;
    let backend = Backend::of(&mut connection).await?;
    watch.over(&backend, all(connection, watch, moment, left_out, (headers, patience))).await
}

async fn all(
    connection: PgConnection,
    watch: &Watch,
    moment: Option<Moment>,
    left_out: &LeftOut<'_>,
    (headers, patience): (&[Header], Option<Duration>),
) -> Result<Strays, SourceError> {
    let finder = Finder::new(headers)?;
    let mut scan = Scan {
        connection,
        finder,
        patience,
        strays: Strays::default(),
        renamed: Vec::new(),
        done: HashSet::new(),
        left_out,
    };
    let mut moment = match moment {
        Some(moment) => moment,
        None => Moment::now(&watch.options).await?,
    };
    let mut since = None;
    for look in 1..=LOOKS {
        let missed = scan.look(&mut moment, since.as_deref()).await?;
        // A stray blocks whatever else there is; a dry run promises nothing.
        if !missed || !scan.strays.found.is_empty() || patience.is_some() {
            break;
        }
        if look < LOOKS {
            let next = Moment::now(&watch.options).await?;
            let before = std::mem::replace(&mut moment, next);
            since = Some(before.since.clone());
            before.end().await?;
        }
    }
    moment.end().await?;
    scan.connection.close().await?;
    scan.strays.unreadable.extend(scan.renamed);
    Ok(scan.strays)
}

impl Scan<'_> {
    /// Looks at every table; of columns that were read before, only at rows that are newer than `since`. True: some table
    /// was missed.
    async fn look(&mut self, moment: &mut Moment, since: Option<&str>) -> Result<bool, SourceError> {
        let Listed { tables, unreadable } = list(&mut moment.keeper, self.left_out).await?;
        self.strays.unreadable = unreadable;
        let (mut missed, mut renamed) = (false, Vec::new());
        let mut queue: VecDeque<(Table, usize)> = tables.into_iter().map(|t| (t, 1)).collect();
        while let Some((table, tries)) = queue.pop_front() {
            let (before, new): (Vec<_>, Vec<_>) = (0..table.columns.len())
                .partition(|i| since.is_some() && self.done.contains(&(table.oid, table.columns[*i].number)));
            let mut look = Look::Done;
            for (columns, since) in [(new, None), (before, since)] {
                if !columns.is_empty() && matches!(look, Look::Done) {
                    look = self.table(Some(moment), &table, &columns, since).await?;
                }
            }
            if matches!(look, Look::Rewritten) {
                // What it holds now was perhaps never elsewhere; what it held is newer where it is now.
                let all: Vec<usize> = (0..table.columns.len()).collect();
                look = self.table(None, &table, &all, None).await?;
                missed = true;
            }
            match look {
                Look::Done | Look::Rewritten => {}
                Look::Gone => missed = true,
                Look::Renamed => renamed.push(table.path()),
                Look::Locked if tries < TRIES => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    queue.push_back((table, tries + 1));
                }
                Look::Locked => {
                    let why = "it was locked all the time by an ALTER TABLE or the like: wait for its end".to_owned();
                    self.strays.unreadable.push(Unreadable { path: table.path(), why });
                }
                Look::TooLong => {
                    self.strays.unfinished.extend(table.columns.iter().map(|c| table.path_of(c)));
                }
                Look::Failed(e) => {
                    let why = format!("{e}: mend that, or leave it out with ignore_columns");
                    self.strays.unreadable.push(Unreadable { path: table.path(), why });
                }
            }
        }
        let why = "it was renamed or altered each time it was looked at: wait for the end of that";
        self.renamed = renamed.into_iter().map(|path| Unreadable { path, why: why.to_owned() }).collect();
        Ok(missed || !self.renamed.is_empty())
    }

    /// Without a moment: as it is now.
    async fn table(
        &mut self,
        moment: Option<&Moment>,
        table: &Table,
        columns: &[usize],
        since: Option<&str>,
    ) -> Result<Look, SourceError> {
        let limit = self.patience.map_or(0, |p| p.as_millis());
        // As escapes, the texts that stand in arrays and rows of bytes can be read.
        let more = format!(
            "SET LOCAL statement_timeout = {limit}; SET LOCAL bytea_output = 'escape'; \
             SET LOCAL search_path = pg_catalog, pg_temp"
        );
        match moment {
            Some(moment) => moment.enter(&mut self.connection, &more).await?,
            // Its statement takes its snapshot when it has the table's lock.
            None => {
                let begin = format!("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; {more}");
                sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut self.connection).await?;
            }
        }
        let found = read(&mut self.connection, &self.finder, table, columns, since).await;
        let file = match &found {
            Ok(_) => file_of(&mut self.connection, table).await,
            Err(_) => Ok(None),
        };
        sqlx::raw_sql("ROLLBACK")
            .execute(&mut self.connection)
            .await
            .map_err(|e| SourceError::from(e).at(&table.path()))?;
        use SourceErrorKind::{Size, Transient};
        let counts = match (found, file?) {
            (Ok(counts), file) if moment.is_none() || file == Some(table.file) => counts,
            (Ok(_), _) => return Ok(Look::Rewritten),
            (Err(e), _) if e.code == "source_lock_timeout" => return Ok(Look::Locked),
            (Err(e), _) if e.is(Size) && self.patience.is_some() => return Ok(Look::TooLong),
            (Err(e), _) if e.is(Transient) || e.code == "source_statement_timeout" => return Err(e.at(&table.path())),
            (Err(e), _) => {
                return Ok(match table.now(&mut self.connection).await? {
                    Now::Same => Look::Failed(e),
                    Now::Renamed => Look::Renamed,
                    Now::Gone => Look::Gone,
                });
            }
        };
        for (column, cells) in columns.iter().map(|i| &table.columns[*i]).zip(counts) {
            if self.done.insert((table.oid, column.number)) {
                self.strays.looked_at += 1;
            }
            if cells > 0 {
                self.strays.found.push(Stray { path: table.path_of(column), cells });
            }
        }
        Ok(Look::Done)
    }
}

/// Another one than at the moment: a snapshot from before sees an empty table. Asked while the table is locked by having
/// been read.
async fn file_of(connection: &mut PgConnection, table: &Table) -> Result<Option<i64>, SourceError> {
    let sql = "SELECT pg_catalog.pg_relation_filenode($1::pg_catalog.int8::pg_catalog.oid)::pg_catalog.int8";
    Ok(sqlx::query_scalar(sql).persistent(false).bind(table.oid).fetch_one(connection).await?)
}

/// Cells found per column, in one statement over the table; what is longer than a window is read to its end afterwards.
async fn read(
    connection: &mut PgConnection,
    finder: &Finder,
    table: &Table,
    columns: &[usize],
    since: Option<&str>,
) -> Result<Vec<i64>, SourceError> {
    let long = |i: &usize| {
        let name = quoted(&table.columns[*i].name);
        format!("pg_catalog.pg_column_size({name}) OPERATOR(pg_catalog.>=) {LENGTH_MIN}")
    };
    let values = columns.iter().map(|i| {
        let bytes = table.columns[*i].bytes();
        format!("CASE WHEN {} THEN pg_catalog.substring({bytes}, 1, {}) END", long(i), WINDOW + OVERLAP)
    });
    let newer = since.map_or(String::new(), |xid| {
        format!(" AND pg_catalog.age(xmin) OPERATOR(pg_catalog.<=) pg_catalog.age('{xid}'::pg_catalog.xid)")
    });
    let sql = format!(
        "SELECT ctid::pg_catalog.text, {} FROM ONLY {} WHERE ({}){newer}",
        values.collect::<Vec<_>>().join(", "),
        table.quoted(),
        columns.iter().map(long).collect::<Vec<_>>().join(" OR ")
    );
    let (mut counts, mut longer) = (vec![0; columns.len()], Vec::new());
    let mut rows = query(sql).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        for (n, count) in counts.iter_mut().enumerate() {
            let value = row.try_get_raw(n + 1)?;
            if value.is_null() {
                continue;
            }
            let bytes = value.as_bytes().map_err(sqlx::Error::Decode)?;
            if finder.finds(bytes) {
                *count += 1;
            } else if bytes.len() == WINDOW + OVERLAP {
                longer.push((row.try_get::<String, _>(0)?, n));
            }
        }
    }
    drop(rows);
    for (place, n) in longer {
        let bytes = table.columns[columns[n]].bytes();
        let sql = format!(
            "SELECT pg_catalog.substring({bytes}, $2::pg_catalog.int4, {}) FROM ONLY {} \
             WHERE ctid OPERATOR(pg_catalog.=) $1::pg_catalog.text::pg_catalog.tid",
            WINDOW + OVERLAP,
            table.quoted()
        );
        for from in (WINDOW..).step_by(WINDOW) {
            let from = i32::try_from(from + 1).unwrap_or(i32::MAX);
            let part = query(sql.clone()).bind(&place).bind(from).fetch_optional(&mut *connection).await?;
            let Some(part) = part else { break }; // only where it is looked at as it is now
            let part: Vec<u8> = part.try_get(0)?;
            if finder.finds(&part) {
                counts[n] += 1;
                break;
            }
            if part.len() < WINDOW + OVERLAP {
                break;
            }
        }
    }
    Ok(counts)
}
