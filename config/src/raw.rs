//! The file's shape, before any option is checked against another one.

use std::{fmt, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Deserializer, de};

use crate::{ChunkRows, OpenedCells};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    #[serde(default)]
    pub(crate) ledger: Ledger,
    #[serde(default)]
    pub(crate) queue: Queue,
    #[serde(default)]
    pub(crate) kek: Kek,
    #[serde(default)]
    pub(crate) server: Server,
    #[serde(default)]
    pub(crate) worker: Worker,
    #[serde(default)]
    pub(crate) source: Vec<Source>,
    #[serde(default)]
    pub(crate) table: Vec<Table>,
    #[serde(default)]
    pub(crate) rotation: Rotation,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ledger {
    pub(crate) url: Option<String>,
    pub(crate) url_file: Option<PathBuf>,
    pub(crate) key_backup: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Queue {
    pub(crate) url: Option<String>,
    pub(crate) url_file: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kek {
    pub(crate) uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Server {
    pub(crate) bind: SocketAddr,
    pub(crate) tls_certificate: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) requests_per_second: u32,
    pub(crate) keyset_refresh: String,
}

impl Default for Server {
    fn default() -> Self {
        let bind = SocketAddr::from(([127, 0, 0, 1], 7373));
        Self { bind, tls_certificate: None, tls_key: None, requests_per_second: 50, keyset_refresh: "5s".to_owned() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Worker {
    pub(crate) lanes: u16,
}

impl Default for Worker {
    fn default() -> Self {
        Self { lanes: 2 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) url: Option<String>,
    pub(crate) url_file: Option<PathBuf>,
    pub(crate) ddl_url: Option<String>,
    pub(crate) ddl_url_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) ignore_columns: Vec<String>,
    pub(crate) replica_lag_max: Option<String>,
    #[serde(default = "a_minute")]
    pub(crate) silence_max: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    pub(crate) source: String,
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) primary_key: Vec<String>,
    #[serde(default = "strict")]
    pub(crate) fence: String,
    #[serde(default)]
    pub(crate) columns: Vec<Column>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    pub(crate) name: String,
    #[serde(default = "default_keyset")]
    pub(crate) keyset: String,
    #[serde(default = "tink")]
    pub(crate) format: String,
    #[serde(default = "bytes")]
    pub(crate) encoding: String,
    #[serde(default)]
    pub(crate) associated_data: String,
}

fn a_minute() -> String {
    "60s".to_owned()
}

fn strict() -> String {
    "strict".to_owned()
}

fn default_keyset() -> String {
    "default".to_owned()
}

fn tink() -> String {
    "tink".to_owned()
}

fn bytes() -> String {
    "bytes".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rotation {
    pub(crate) batch_rows: u32,
    #[serde(deserialize_with = "number_or_auto")]
    pub(crate) chunk_rows: ChunkRows,
    pub(crate) outstanding_batches_max: u32,
    pub(crate) writer_ttl: String,
    pub(crate) two_person: bool,
    pub(crate) clear_after: Option<String>,
    #[serde(deserialize_with = "number_or_all")]
    pub(crate) opened_cells: OpenedCells,
    pub(crate) cryptoperiod: Option<String>,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            batch_rows: 10_000,
            chunk_rows: ChunkRows::Auto,
            outstanding_batches_max: 1_000,
            writer_ttl: "60s".to_owned(),
            two_person: false,
            clear_after: None,
            opened_cells: OpenedCells::Sample(1_000),
            cryptoperiod: None,
        }
    }
}

// A visitor, because an untagged enum would lose the option's path and the reason.
fn number_or_auto<'de, D: Deserializer<'de>>(from: D) -> Result<ChunkRows, D::Error> {
    struct Words;
    impl de::Visitor<'_> for Words {
        type Value = ChunkRows;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number of rows, or \"auto\"")
        }
        fn visit_u64<E: de::Error>(self, rows: u64) -> Result<ChunkRows, E> {
            u32::try_from(rows)
                .map(ChunkRows::Fixed)
                .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(rows), &self))
        }
        fn visit_str<E: de::Error>(self, word: &str) -> Result<ChunkRows, E> {
            if word == "auto" { Ok(ChunkRows::Auto) } else { Err(E::invalid_value(de::Unexpected::Str(word), &self)) }
        }
    }
    from.deserialize_any(Words)
}

fn number_or_all<'de, D: Deserializer<'de>>(from: D) -> Result<OpenedCells, D::Error> {
    struct Words;
    impl de::Visitor<'_> for Words {
        type Value = OpenedCells;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number of rows, or \"all\"")
        }
        fn visit_u64<E: de::Error>(self, rows: u64) -> Result<OpenedCells, E> {
            u32::try_from(rows)
                .map(OpenedCells::Sample)
                .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(rows), &self))
        }
        fn visit_str<E: de::Error>(self, word: &str) -> Result<OpenedCells, E> {
            if word == "all" { Ok(OpenedCells::All) } else { Err(E::invalid_value(de::Unexpected::Str(word), &self)) }
        }
    }
    from.deserialize_any(Words)
}
