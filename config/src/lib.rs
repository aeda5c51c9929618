//! What may be set, and its defaults.
//!
//! [`Config::load`] returns a configuration in which every option has been checked against every
//! other one; nothing here has asked a database or a KEK. Its price: words that the design knows
//! and this binary cannot do yet are refused here, with the reason.

mod check;
mod columns;
mod error;
mod load;
mod raw;
mod secret_url;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub use columns::ColumnPattern;
pub use error::ConfigError;
pub use load::{Loaded, Origin};
pub use secret_url::SecretUrl;

/// Everything that may be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the durable truth is.
    pub ledger: Ledger,
    /// Where the doorbell is.
    pub queue: Queue,
    /// What wraps the keys.
    pub kek: Kek,
    /// Where the API and the dashboard listen.
    pub server: Server,
    /// What one worker process does at once.
    pub worker: Worker,
    /// Databases that hold encrypted columns; names are unique. `[[source]]` in the file.
    pub sources: Vec<Source>,
    /// Tables that hold encrypted columns; `(source, schema, name)` is unique. `[[table]]`.
    pub tables: Vec<Table>,
    /// Sizes, limits and waiting times of a rotation.
    pub rotation: Rotation,
}

/// The database of keys, rotations, batches, proofs and audit.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// `sqlite:`, `postgres:` or `postgresql:`; `url_file` names a file that holds it instead.
    pub url: SecretUrl,
    /// The folder, outside the ledger, that every wrapped key is also written to.
    pub key_backup: PathBuf,
}

/// The queue that carries ids.
#[derive(Clone, Debug)]
pub struct Queue {
    /// `redis://…`, or `memory:` (in process); `url_file` names a file that holds it instead.
    pub url: SecretUrl,
}

/// The key-encryption key.
#[derive(Clone, Debug)]
pub struct Kek {
    /// Its scheme picks the provider, e.g. `file:/etc/reseal/kek`.
    pub uri: SecretUrl,
}

/// The HTTP side.
#[derive(Clone, Debug)]
pub struct Server {
    /// Default `127.0.0.1:7373`.
    pub bind: SocketAddr,
    /// None: plain HTTP.
    pub tls: Option<Tls>,
    /// Requests a second of one token that has no limit of its own: 1 to 100,000, default 50.
    pub requests_per_second: u32,
    /// How old a keyset of the encryption service may become before it asks the ledger: up to 20 s, default 5 s.
    pub keyset_refresh: Duration,
}

/// What the server shows to its clients, as PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate and those between it and its authority. `server.tls_certificate`.
    pub certificate: PathBuf,
    /// Its private key. `server.tls_key`.
    pub key: PathBuf,
}

/// One worker process.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Batches at once in one process: 1 to 64, default 2.
    pub lanes: u16,
}

/// A database that holds encrypted columns.
#[derive(Clone, Debug)]
pub struct Source {
    /// What tables call it.
    pub name: String,
    /// `sqlite:`, `postgres:` or `postgresql:`; or `url_file`.
    pub url: SecretUrl,
    /// The role that may create triggers, used only for fencing; or `ddl_url_file`. Same scheme
    /// as `url`, which is used when this is missing.
    pub ddl_url: Option<SecretUrl>,
    /// `schema.table.column` or `table.column`, left out of the scan of unregistered columns; see
    /// [`ColumnPattern`]. The price: the proof names each of them as not looked at.
    pub ignore_columns: Vec<String>,
    /// A rotation stands still while a replica is further behind than this.
    pub replica_lag_max: ReplicaLagMax,
    /// So long a PostgreSQL server may say nothing before a connection to it is given up: at least 1 s, default 60 s.
    pub silence_max: Duration,
}

/// How far a replica may fall behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaLagMax {
    /// Nothing was said: [`ReplicaLagMax::DEFAULT`], and a lag that cannot be seen stops nothing.
    #[default]
    Default,
    /// So far; somebody relies on it, so that a lag that cannot be seen stops a rotation.
    At(Duration),
    /// However far.
    Off,
}

impl ReplicaLagMax {
    /// How far, unless something else is said.
    pub const DEFAULT: Duration = Duration::from_millis(1_500);
}

/// A table that holds encrypted columns.
#[derive(Clone, Debug)]
pub struct Table {
    /// The name of its [`Source`].
    pub source: String,
    /// The schema; the source's search path decides when it is missing.
    pub schema: Option<String>,
    /// The table's name, without its schema.
    pub name: String,
    /// At least one column, each once, in the key's order.
    pub primary_key: Vec<String>,
    /// What its encrypted columns refuse.
    pub fence: Fence,
    /// At least one, each name once.
    pub columns: Vec<Column>,
}

/// What the source database refuses to store in encrypted columns, by a trigger and a constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Whatever is no cell under the active key; the default.
    Strict,
    /// Cells under a retired key. A plaintext that an application stores by mistake is found by the next proof, which it
    /// then blocks.
    Trigger,
}

impl Fence {
    /// The word in the file and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Trigger => "trigger",
        }
    }
}

/// An encrypted column.
#[derive(Clone, Debug)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// Default `default`.
    pub keyset: String,
    /// The byte layout of its cells.
    pub format: Format,
    /// How those bytes stand in the column.
    pub encoding: Encoding,
    /// A template: text with primary key columns in braces; empty means none.
    pub associated_data: String,
}

/// The byte layout of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// `0x01`, the key id in four bytes, nonce, ciphertext, tag.
    Tink,
    /// Nonce, ciphertext, tag without a key id, or native cells: a rotation makes all of them native.
    RawAesGcm,
    /// Values that nobody encrypted, or native cells: a rotation makes all of them native.
    Plaintext,
}

impl Format {
    /// The word in the file and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tink => "tink",
            Self::RawAesGcm => "raw-aes-gcm",
            Self::Plaintext => "plaintext",
        }
    }
}

/// How a cell's bytes stand in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// As they are, in a bytes column.
    Bytes,
    /// Standard base64 with padding, in a text column.
    Base64,
    /// URL-safe base64 with padding.
    Base64Url,
    /// Standard base64 without padding.
    Base64Unpadded,
    /// URL-safe base64 without padding.
    Base64UrlUnpadded,
}

impl Encoding {
    /// The word in the file and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Base64 => "base64",
            Self::Base64Url => "base64url",
            Self::Base64Unpadded => "base64-unpadded",
            Self::Base64UrlUnpadded => "base64url-unpadded",
        }
    }
}

/// Sizes, limits and waiting times of a rotation.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Unit of delivery, lease and retry: 10 to 1,000,000, default 10,000.
    pub batch_rows: u32,
    /// Rows per transaction, default [`ChunkRows::Auto`].
    pub chunk_rows: ChunkRows,
    /// In the queue at once, over all rotations: 1 to 2,000, default 1,000.
    pub outstanding_batches_max: u32,
    /// How long applications may go on writing with an old keyset before the fence; default 60 s.
    pub writer_ttl: Duration,
    /// A clearing waits until somebody other than who asked for the rotation has approved it; default false.
    pub two_person: bool,
    /// The wait between proof and clearing. A file has no default for it, because zero makes
    /// older backups unreadable at once: see [`Rotation::require_clear_after`].
    pub clear_after: Option<Duration>,
    /// How many cells of each column a proof opens under the keys that remain; default 1,000.
    pub opened_cells: OpenedCells,
    /// How long a key may be active, counted from its activation; none: no age is too high. It only informs: nothing
    /// rotates by itself.
    pub cryptoperiod: Option<Duration>,
}

/// How many cells a proof opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedCells {
    /// Every one.
    All,
    /// Those of about so many rows of each table, 1 to 10,000,000: at both ends, and at places between them that are drawn at
    /// random.
    Sample(u32),
}

/// Rows per transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkRows {
    /// Adapts to how long a transaction took.
    Auto,
    /// 10 to 5,000.
    Fixed(u32),
}

impl Rotation {
    /// The waiting time, or an error that says which option sets it and what its zero means.
    pub fn require_clear_after(&self) -> Result<Duration, ConfigError> {
        self.clear_after.ok_or_else(|| {
            ConfigError::option(
                "rotation.clear_after",
                "the configuration",
                "not set, and it has no default: set the waiting time between proof and clearing, \
                 e.g. \"7d\"; \"0s\" clears the old key at once, and then older backups become \
                 unreadable",
            )
        })
    }
}
