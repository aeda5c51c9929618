//! A census as people and programs are told it: each count beside what the ledger knows of its key.

use super::{ColumnCensus, census_of};
use crate::{engine::Engine, error::EngineError};
use reseal_entities::{
    keys,
    ledger::{catalog, keys as ledger_keys, read},
};
use serde::Serialize;

/// Encrypted values by column and key. A column without any is left out, unless one key was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Census {
    /// In the order in which they were registered, table by table.
    pub columns: Vec<CountedColumn>,
}

/// One column's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CountedColumn {
    /// `source:schema.table.column`.
    pub column: String,
    /// Its keyset.
    pub keyset: String,
    /// By key.
    pub keys: Vec<Counted>,
}

/// Values of one column under one key, or under none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// `source:schema.table.column`.
    pub column: String,
    /// The column's keyset.
    pub keyset: String,
    /// The key that their headers name; none: they name no key.
    pub key_id: Option<u32>,
    /// Its version, where the column's keyset has that key.
    pub version: Option<i32>,
    /// Its state; `unaccounted` where the column's keyset has no such key.
    pub state: String,
    /// So many.
    pub cells: i64,
}

/// Counts one registered column, by the name that people call it, or all; only values under `key_id`, with a zero
/// where there are none, or under each. Reads no plaintext; the price is a scan of each table.
pub async fn told(engine: &Engine, column: Option<&str>, key_id: Option<i64>) -> Result<Census, EngineError> {
    let db = engine.ledger.db();
    if let Some(key_id) = key_id {
        read::key(db, key_id).await?;
    }
    let columns = match column {
        Some(name) => vec![catalog::named(db, name).await?],
        None => catalog::registered(db).await?,
    };
    let keys = ledger_keys::all(db).await?;
    let found = census_of(engine, columns).await?.into_iter();
    let columns = found.map(|column| tell(&column, key_id, &keys)).filter(|column| !column.keys.is_empty());
    Ok(Census { columns: columns.collect() })
}

fn tell(found: &ColumnCensus, only: Option<i64>, keys: &[keys::Model]) -> CountedColumn {
    let line = |key_id: Option<u32>, cells| {
        let key = keys.iter().find(|k| Some(k.key_id) == key_id.map(i64::from) && k.keyset == found.keyset);
        Counted {
            column: found.column.clone(),
            keyset: found.keyset.clone(),
            key_id,
            version: key.map(|k| k.version),
            state: key.map_or_else(|| "unaccounted".to_owned(), |k| k.state.to_string()),
            cells,
        }
    };
    let lines = match only.and_then(|key| u32::try_from(key).ok()) {
        None => found.keys.iter().map(|k| line(k.key_id, k.cells)).collect(),
        Some(only) => {
            let cells = found.keys.iter().filter(|k| k.key_id == Some(only)).map(|k| k.cells).sum();
            vec![line(Some(only), cells)]
        }
    };
    CountedColumn { column: found.column.clone(), keyset: found.keyset.clone(), keys: lines }
}
