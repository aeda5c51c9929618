//! The databases that hold encrypted columns: the only dynamic SQL there is.
//!
//! Identifiers reach SQL only after they were found in the database's own catalogue, and quoted.
//! Primary keys travel as canonical text (integers in decimal, uuids in lower case with hyphens, bytes
//! in hexadecimal), so that there is one code path for every key type. Cells travel as the bytes that
//! are stored; those of a text column are its UTF-8.

mod count;
mod error;
mod fence;
mod left_out;
mod needles;
mod open;
mod postgres;
mod shape;
mod sqlite;
mod transaction;

pub use count::{Answer, KeyCount, Question};
pub use error::{SourceError, SourceErrorKind};
pub use fence::{Fence, FenceState, Rule};
pub use open::{CopyBehind, OpenTransaction};
pub use shape::{CellColumn, KeyColumn, KeyType, Shape};

use fence::{base64_prefixes, base64_starts, fence_name};
use left_out::LeftOut;
use needles::Finder;
use shape::Compare;
use transaction::begin;

use async_trait::async_trait;
use reseal_config::Source as SourceConfig;
use reseal_entities::ledger::{plan::Bound, sources::Mark};
use reseal_keyring::cell::HEADER_LEN;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The header of every cell of one key.
pub type Header = [u8; HEADER_LEN];

/// Which rows to look at: keys in `(after, up_to]`, both optional.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// Exclusive.
    pub after: Option<String>,
    /// Inclusive.
    pub up_to: Option<String>,
}

/// One row with at least one cell that is not under the active key.
#[derive(Debug)]
pub struct Row {
    /// Its primary key, as [`Shape::join_key`] writes it.
    pub key: String,
    /// What is stored, in the order of the shape's columns; NULL is none.
    pub cells: Vec<Option<Vec<u8>>>,
    /// Which version of the row this is, where the shape compares that and the database has such a thing.
    pub version: Option<String>,
}

/// A row's new cells; a column that stays as it is is none.
#[derive(Debug)]
pub struct Swap {
    /// The row's primary key.
    pub key: String,
    /// Per column: what was read, and what takes its place.
    pub cells: Vec<Option<(Vec<u8>, Vec<u8>)>>,
    /// As it was read; see [`Row::version`].
    pub version: Option<String>,
}

/// What a swap that was taken back cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    /// Rows that it changed.
    pub rows: u64,
    /// Bytes of write-ahead log, where the database has one to tell.
    pub wal_bytes: Option<i64>,
}

/// What the deletion of a row does, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The whole row, one JSON object: a value a column.
    pub row: String,
    /// What changes in other tables with it.
    pub also: Vec<Also>,
    /// It was done, and not taken back.
    pub done: bool,
}

/// What the deletion of a row does to another table, by a foreign key or a trigger.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Also {
    /// `schema.table`.
    pub table: String,
    /// So many rows are deleted.
    pub deleted: i64,
    /// So many rows are changed.
    pub changed: i64,
}

/// What must hold for a deletion to be done.
#[derive(Clone, Debug)]
pub struct OnlyIf {
    /// The row is still this one.
    pub row: String,
    /// These tables may change with it: `schema.table` or `table`.
    pub also: Vec<String>,
}

impl OnlyIf {
    fn holds(&self, row: &str, also: &[Also]) -> bool {
        self.row == row && also.iter().all(|other| other.is_named(&self.also))
    }
}

impl Also {
    /// Whether one of these names means the table.
    pub fn is_named(&self, names: &[String]) -> bool {
        names
            .iter()
            .any(|name| *name == self.table || self.table.split_once('.').is_some_and(|(_, table)| table == name))
    }
}

/// A replica of a source, as its primary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// What it calls itself.
    pub name: String,
    /// How late it shows what was committed; none when it reports no time.
    pub lag_ms: Option<i64>,
    /// So many bytes of the log it has not replayed.
    pub bytes_behind: i64,
}

/// The replicas of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// All of them; none where the database has none.
    Seen(Vec<Replica>),
    /// There are so many, and this role may not see more of them.
    Unseen(usize),
}

/// A column that is not registered and holds cells under a retired key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// `schema.table.column`.
    pub path: String,
    /// So many cells.
    pub cells: i64,
}

/// What a scan of the columns that are not registered found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strays {
    /// Those that hold cells.
    pub found: Vec<Stray>,
    /// So many columns were looked at.
    pub looked_at: usize,
    /// `schema.table.column` of those that took too long.
    pub unfinished: Vec<String>,
    /// Those that cannot be looked at: they may hold anything.
    pub unreadable: Vec<Unreadable>,
}

/// What cannot be looked at for cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// `schema.table.column`, or `schema.table` when it is all of a table.
    pub path: String,
    /// Why, and what to do.
    pub why: String,
}

/// Which database it is, and the mark that says whose.
pub type Sight = (String, Option<Mark>);

/// Whether a mark may take the place of the one that is there.
pub type Over<'a> = &'a (dyn Fn(Option<&Mark>) -> bool + Send + Sync);

/// Where a column is: schema, table, column.
pub type Place = (String, String, String);

/// A database that holds encrypted columns.
#[async_trait]
pub trait Source: Send + Sync {
    /// Finds a table and checks that it can be rotated; the error says why it cannot.
    async fn shape(
        &self,
        schema: Option<&str>,
        table: &str,
        key: &[String],
        columns: &[CellColumn],
    ) -> Result<Shape, SourceError>;

    /// The largest primary key; none in an empty table.
    async fn max_key(&self, shape: &Shape) -> Result<Option<String>, SourceError>;

    /// Up to `stretch` batch ends of `rows` rows each in `range`, by seek. Fewer than `stretch`, and
    /// the last one ends the range.
    async fn bounds(&self, shape: &Shape, range: &Range, rows: i64, stretch: i64) -> Result<Vec<Bound>, SourceError>;

    /// The next rows of `range` that have a cell without the `active` header, in key order: at most
    /// `rows` of them, and at most `bytes` bytes of cells or one row.
    async fn read(
        &self,
        shape: &Shape,
        range: &Range,
        active: &Header,
        rows: u32,
        bytes: i64,
    ) -> Result<Vec<Row>, SourceError>;

    /// Those of `keys` that have a cell without the `active` header.
    async fn read_again(&self, shape: &Shape, keys: &[String], active: &Header) -> Result<Vec<Row>, SourceError>;

    /// Up to `rows` rows on each side of `key` in key order, itself among them, whatever their cells are.
    async fn neighbours(&self, shape: &Shape, key: &str, rows: u32) -> Result<Vec<Row>, SourceError>;

    /// Writes new cells where the old ones still stand, in one transaction, and says which rows the database
    /// changed. A process that dies here has changed all or nothing. What triggers made of the new cells is looked at
    /// before the commit, after the last of them ran.
    async fn swap(&self, shape: &Shape, swaps: &[Swap]) -> Result<Vec<String>, SourceError>;

    /// Does what [`Self::swap`] does, takes it back, and says what it cost. What it leaves are dead rows for
    /// the next vacuum.
    async fn try_swap(&self, shape: &Shape, swaps: &[Swap]) -> Result<Tried, SourceError>;

    /// What the table occupies on disk: rows, values out of line, and indexes.
    async fn size(&self, shape: &Shape) -> Result<i64, SourceError>;

    /// One cell of one row, whatever it is. The outer option: is there such a row?
    async fn cell(&self, shape: &Shape, key: &str, column: &str) -> Result<Option<Option<Vec<u8>>>, SourceError>;

    /// Whether the catalogue lets the column be NULL.
    async fn takes_null(&self, shape: &Shape, column: &str) -> Result<bool, SourceError>;

    /// Sets a cell to NULL if it still is `old`. False: it is not.
    async fn set_null(&self, shape: &Shape, key: &str, column: &str, old: &[u8]) -> Result<bool, SourceError>;

    /// Deletes the row of a cell if that still is `old`, and takes the deletion back unless `only` holds: the row is
    /// as it was seen, and no other table changes but those that are named. None: there is no such row any more.
    async fn delete_row(
        &self,
        shape: &Shape,
        key: &str,
        column: &str,
        old: &[u8],
        only: Option<&OnlyIf>,
    ) -> Result<Option<Deletion>, SourceError>;

    /// Some cells of a column, for `check` to open: those with the largest keys, or the smallest.
    async fn sample(
        &self,
        shape: &Shape,
        column: &str,
        largest: bool,
        rows: u32,
    ) -> Result<Vec<(String, Vec<u8>)>, SourceError>;

    /// Cells per key id in one column. Where cells without a header are expected, only `known`
    /// headers are told apart: the rest are values.
    async fn census(&self, shape: &Shape, column: &str, known: &[Header]) -> Result<Vec<KeyCount>, SourceError>;

    /// The longest value of a column, in bytes as it is stored.
    async fn longest(&self, shape: &Shape, column: &str) -> Result<usize, SourceError>;

    /// Whether a text column of the primary key contains `separator` anywhere.
    async fn key_contains(&self, shape: &Shape, key: &str, separator: &str) -> Result<bool, SourceError>;

    /// Puts a column's fence up, or replaces it. Until [`Self::seal`] it lets rows that are not
    /// rotated yet be updated in their other columns. A constraint of an earlier fence stays until then.
    async fn fence(&self, shape: &Shape, fence: &Fence) -> Result<(), SourceError>;

    /// Makes the fence final where the database has more than a trigger for it; fails while a denied
    /// cell is left.
    async fn seal(&self, shape: &Shape, fence: &Fence) -> Result<(), SourceError>;

    /// The statements of [`Self::fence`] and [`Self::seal`].
    fn fence_sql(&self, shape: &Shape, fence: &Fence) -> Vec<String>;

    /// Takes a column's fence down, whatever became of the column.
    async fn unfence(&self, schema: &str, table: &str, column: &str) -> Result<(), SourceError>;

    /// Which database this is, the same through every URL that leads to it, and whose its mark says it is; over a
    /// fresh connection.
    async fn sight(&self) -> Result<Sight, SourceError>;

    /// The same over a connection that chunks use, which may have been open for long.
    async fn sight_in_use(&self) -> Result<Sight, SourceError>;

    /// Uses no connection again that is open now.
    fn leave_connections(&self) {}

    /// Where it is reached; no secret.
    fn address(&self) -> String;

    /// Whether this database is seen to be the one at another address.
    async fn is_at(&self, _address: &str) -> Result<bool, SourceError> {
        Ok(false)
    }

    /// Writes the mark where `over` agrees to the one that is there, in one transaction and for good. `schema`: where
    /// a first one goes. False: `over` did not agree.
    async fn mark(&self, schema: Option<&str>, to: &Mark, over: Over<'_>) -> Result<bool, SourceError>;

    /// Its replicas and how far they are behind.
    async fn replicas(&self) -> Result<Replicas, SourceError> {
        Ok(Replicas::Seen(Vec::new()))
    }

    /// What [`Prover::strays`] could not look at, by name: without a right, behind a policy, in a module that is not there.
    async fn unreadable(&self, registered: &[Place], ignored: &[String]) -> Result<Vec<Unreadable>, SourceError>;

    /// The transactions that are open in this database now, prepared ones too, but those of the server itself. Where the
    /// database tells none apart, one entry stands for them all until a moment without any was met.
    async fn open_transactions(&self) -> Result<Vec<OpenTransaction>, SourceError>;

    /// Makes everything that was committed until now survive a crash of the server, and says where its log stands.
    async fn flush(&self) -> Result<String, SourceError>;

    /// The copies that could take its place and have not replayed its log up to a position that [`Self::flush`] gave.
    /// None: the position is in another server's log.
    async fn behind(&self, _position: &str) -> Result<Option<Vec<CopyBehind>>, SourceError> {
        Ok(Some(Vec::new()))
    }

    /// A text that is another one once rows were changed or deleted, or tables made or dropped; cheap.
    async fn sign(&self) -> Result<String, SourceError>;

    /// What this role lacks for rotating or fencing the table; empty is good.
    async fn missing_rights(&self, shape: &Shape) -> Result<Vec<String>, SourceError>;

    /// What a rotation locks, how, and for how long: for people.
    fn locks(&self) -> &'static [&'static str];

    /// What fires or leaves at each row that is re-encrypted: triggers, publications.
    async fn notes(&self, shape: &Shape) -> Result<Vec<String>, SourceError>;

    /// A session of its own for counting, over a fresh connection, without the everyday statement limit.
    async fn prover(&self) -> Result<Box<dyn Prover>, SourceError>;

    /// True when the ledger lives in this very SQLite file.
    fn is_beside_ledger(&self) -> bool {
        false
    }
}

/// One session that counts.
#[async_trait]
pub trait Prover: Send {
    /// Counts every column of a table in one statement, and so in one snapshot: that of the scan for strays which
    /// follows, where the database has such a thing.
    async fn count(&mut self, shape: &Shape, questions: &[Question]) -> Result<Vec<Answer>, SourceError>;

    /// As [`Source::read`]; a long stretch of current rows may take its time.
    async fn read(
        &mut self,
        shape: &Shape,
        range: &Range,
        active: &Header,
        rows: u32,
        bytes: i64,
    ) -> Result<Vec<Row>, SourceError>;

    /// A column's fence as it stands.
    async fn fence_state(&mut self, shape: &Shape, fence: &Fence) -> Result<FenceState, SourceError>;

    /// The table's definition as it is now; see [`Shape::fingerprint`].
    async fn fingerprint(&mut self, shape: &Shape) -> Result<String, SourceError>;

    /// Columns that are not in `registered` nor named by `ignored` and hold cells with one of `headers`, in whatever a
    /// copy may wear. All tables are read as they were at one moment, each of them once. `patience`: so long for each
    /// table at most.
    async fn strays(
        &mut self,
        registered: &[Place],
        ignored: &[String],
        headers: &[Header],
        patience: Option<Duration>,
    ) -> Result<Strays, SourceError>;

    /// Lets go of the moment at which it counted; [`Self::strays`] does so by itself.
    async fn let_go_of_moment(&mut self) -> Result<(), SourceError>;

    /// A text that is another one once the fence or the definition of one of these tables was changed, even if it is as
    /// before by now. [`Self::hold`] looks for changes of rows from here on.
    async fn mark(&mut self, shapes: &[Shape]) -> Result<String, SourceError>;

    /// Begins a transaction that keeps the tables' fences and definitions from changing until the session is released.
    /// Applications go on writing, except on SQLite, where all writers wait. True: rows may have been written since
    /// [`Self::mark`] in a way that the fence does not rule out. From here on no statement may take longer than `at_most`.
    async fn hold(&mut self, shapes: &[Shape], at_most: Duration) -> Result<bool, SourceError>;

    /// As [`Source::sight`], in this very session.
    async fn sight(&mut self) -> Result<Sight, SourceError>;

    /// Fails when the session, and with it every lock, is lost, or when what it has open is no longer the source.
    async fn still_there(&mut self) -> Result<(), SourceError>;

    /// Ends the session.
    async fn release(self: Box<Self>) -> Result<(), SourceError>;
}

/// Opens a source. `ledger_url`: a SQLite source in the ledger's own file must not lock that file
/// against the ledger.
pub async fn open(config: &SourceConfig, ledger_url: &str) -> Result<Box<dyn Source>, SourceError> {
    let url = config.url.expose();
    if url.starts_with("sqlite:") {
        return Ok(Box::new(sqlite::Sqlite::open(url, sqlite::same_file(url, ledger_url)).await?));
    }
    let ddl = config.ddl_url.as_ref().unwrap_or(&config.url).expose();
    Ok(Box::new(postgres::Postgres::open(url, ddl, config.silence_max).await?))
}

/// What holds the mark that says whose a source is.
const OWNER: &str = "reseal_owner";

/// SHA-256 over parts, each with its length, hexadecimal.
fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}

/// The key id that stands in a header, when it is one.
fn key_id_of(header: &[u8]) -> Option<u32> {
    match header {
        [1, rest @ ..] => rest.try_into().ok().map(u32::from_be_bytes),
        _ => None,
    }
}

/// An identifier, quoted.
fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
