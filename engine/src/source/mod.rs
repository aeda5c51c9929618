//! The databases that hold encrypted columns: the only dynamic SQL there is.
//!
//! Identifiers reach SQL only after they were found in the database's own catalogue, and quoted.
//! Primary keys travel as canonical text (integers in decimal, uuids in lower case with hyphens), so
//! that there is one code path for every key type.

mod count;
mod error;
mod postgres;
mod sqlite;

pub use count::{Answer, KeyCount, Question};
pub use error::{SourceError, SourceErrorKind};

use async_trait::async_trait;
use reseal_config::Source as SourceConfig;
use reseal_entities::ledger::plan::Bound;
use reseal_keyring::cell::HEADER_LEN;
use sha2::{Digest, Sha256};

/// The header of every cell of one key.
pub type Header = [u8; HEADER_LEN];

/// How a table's primary key is written as text and read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// Any integer type, in decimal.
    Integer,
    /// PostgreSQL's `uuid`, or the canonical text in SQLite.
    Uuid,
    /// Sixteen bytes in SQLite.
    UuidBytes,
}

/// A table as the live schema has it: what was asked for exists and can be rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The schema as the database resolved it.
    pub schema: String,
    /// The table.
    pub table: String,
    /// Its primary key column.
    pub key: String,
    /// Of this type.
    pub key_type: KeyType,
    /// The encrypted columns, as asked for.
    pub columns: Vec<String>,
    /// SHA-256 over the definition, hexadecimal: another one is another table.
    pub fingerprint: String,
}

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
    /// Its primary key.
    pub key: String,
    /// Its cells, in the shape's order; NULL is none.
    pub cells: Vec<Option<Vec<u8>>>,
}

/// A row's new cells; a column that stays as it is is none.
#[derive(Debug)]
pub struct Swap {
    /// The row's primary key.
    pub key: String,
    /// Per column: the first bytes of the cell as it was read, and the new cell.
    pub cells: Vec<Option<(Vec<u8>, Vec<u8>)>>,
}

/// The rule that the source itself enforces on one column.
#[derive(Clone, Debug)]
pub struct Fence {
    /// The keyset, for the message.
    pub keyset: String,
    /// The column.
    pub column: String,
    /// Headers that new cells must not have.
    pub denied: Vec<Header>,
}

/// A fence as it stands in the source.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FenceState {
    /// It refuses what it should, and nobody switched it off.
    pub complete: bool,
    /// What is missing.
    pub detail: String,
    /// SHA-256 over its definition, hexadecimal.
    pub fingerprint: String,
}

/// A column that is not registered and holds cells under a retired key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// `schema.table.column`.
    pub path: String,
    /// So many cells.
    pub cells: i64,
}

/// A database that holds encrypted columns.
#[async_trait]
pub trait Source: Send + Sync {
    /// Finds a table and checks that it can be rotated; the error says why it cannot.
    async fn shape(
        &self,
        schema: Option<&str>,
        table: &str,
        key: &[String],
        columns: &[String],
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

    /// Writes new cells where the old ones still stand, in one statement that is one transaction, and
    /// says which rows the database changed. A process that dies here has changed all or nothing.
    async fn swap(&self, shape: &Shape, swaps: &[Swap]) -> Result<Vec<String>, SourceError>;

    /// One cell of one row, whatever it is. The outer option: is there such a row?
    async fn cell(&self, shape: &Shape, key: &str, column: &str) -> Result<Option<Option<Vec<u8>>>, SourceError>;

    /// Sets a cell to NULL if it still is `old`, or deletes its row where the column takes no NULL.
    async fn abandon(&self, shape: &Shape, key: &str, column: &str, old: &[u8]) -> Result<bool, SourceError>;

    /// Some cells of a column, for `check` to open: those with the largest keys, or the smallest.
    async fn sample(
        &self,
        shape: &Shape,
        column: &str,
        largest: bool,
        rows: u32,
    ) -> Result<Vec<(String, Vec<u8>)>, SourceError>;

    /// Cells per key id in one column.
    async fn census(&self, shape: &Shape, column: &str) -> Result<Vec<KeyCount>, SourceError>;

    /// Puts a column's fence up, or replaces it. Until [`Self::seal`] it lets rows that are not
    /// rotated yet be updated in their other columns.
    async fn fence(&self, shape: &Shape, fence: &Fence) -> Result<(), SourceError>;

    /// Makes the fence final where the database has more than a trigger for it; fails while a denied
    /// cell is left.
    async fn seal(&self, shape: &Shape, fence: &Fence) -> Result<(), SourceError>;

    /// The statements of [`Self::fence`] and [`Self::seal`].
    fn fence_sql(&self, shape: &Shape, fence: &Fence) -> Vec<String>;

    /// Takes a column's fence down, whatever became of the column.
    async fn unfence(&self, schema: &str, table: &str, column: &str) -> Result<(), SourceError>;

    /// Which database this is: the same through every URL that leads to it, another one for a copy.
    async fn identity(&self) -> Result<String, SourceError>;

    /// What this role lacks for rotating or fencing the table; empty is good.
    async fn missing_rights(&self, shape: &Shape) -> Result<Vec<String>, SourceError>;

    /// A session of its own for counting, without the everyday statement limit.
    async fn prover(&self) -> Result<Box<dyn Prover>, SourceError>;

    /// True when the ledger lives in this very SQLite file.
    fn is_beside_ledger(&self) -> bool {
        false
    }

    /// The same in a transaction that keeps the tables' fences and definitions from changing until it
    /// is released. Applications go on writing, except on SQLite, where all writers wait.
    async fn hold(&self, shapes: &[Shape]) -> Result<Box<dyn Prover>, SourceError>;
}

/// One session that counts.
#[async_trait]
pub trait Prover: Send {
    /// Counts every column of a table in one statement, and so in one snapshot.
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

    /// Columns that are not in `registered` (`schema.table.column`) nor `ignored` and hold cells with
    /// one of `headers`, in bytes or as base64 text.
    async fn strays(
        &mut self,
        registered: &[String],
        ignored: &[String],
        headers: &[Header],
    ) -> Result<Vec<Stray>, SourceError>;

    /// Fails when the session, and with it every lock, is lost.
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
    Ok(Box::new(postgres::Postgres::open(url, ddl).await?))
}

/// Reseal's own columns, which may live beside the data: abandoned cells are kept, a wrapped key
/// begins like a cell, and a proof's predicate names headers.
const OWN_COLUMNS: [&str; 3] =
    ["reseal_quarantine.abandoned_cell", "reseal_keys.wrapped_dek", "reseal_proofs.predicate"];

/// Whether the scan for strays leaves a column out.
fn left_out(schema: &str, table: &str, column: &str, registered: &[String], ignored: &[String]) -> bool {
    let (short, path) = (format!("{table}.{column}"), format!("{schema}.{table}.{column}"));
    OWN_COLUMNS.contains(&short.as_str())
        || registered.contains(&path)
        || ignored.contains(&path)
        || ignored.contains(&short)
}

/// SHA-256 over parts, each with its length, hexadecimal.
fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}

/// The name of a column's fence: the same at every rotation, short enough for every database.
fn fence_name(schema: &str, table: &str, column: &str) -> String {
    format!("zz_reseal_fence_{}", &fingerprint([schema, table, column])[..16])
}

/// What an application is told whose write the fence refuses.
fn refusal(fence: &Fence) -> String {
    format!(
        "reseal: this cell is under a retired key of keyset {}: reload the keyset and encrypt it again",
        fence.keyset.replace('\'', "")
    )
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
