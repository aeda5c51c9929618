//! Every row, under the new key alone, against what was written.

use super::{
    book::Book,
    tables::{Key, TABLES, Table},
    world::{World, failed},
};
use crate::failure::Failure;
use futures::TryStreamExt;
use reseal_keyring::{KeyId, Keyset, cell};
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Rows that are what was written.
    pub equal: u64,
    /// What is not, in words: at most a few.
    pub wrong: Vec<String>,
    /// How much is not.
    pub wrong_rows: u64,
}

const WORDS_MAX: usize = 10;

impl Found {
    fn add_wrong(&mut self, what: String) {
        self.wrong_rows += 1;
        if self.wrong.len() < WORDS_MAX {
            self.wrong.push(what);
        }
    }
}

/// Reads everything. A keyset from the ledger now holds the new key and a tombstone.
pub(super) async fn read_back(world: &World, old_key: KeyId, book: &Book) -> Result<Found, Failure> {
    let (keyset, mut found) = (world.keyset().await?, Found::default());
    if keyset.active() == old_key || keyset.keys().any(|k| k.key_id == old_key && k.state.decrypts()) {
        found.add_wrong(format!("key {old_key} can still be used"));
    }
    for (table, rows) in TABLES.iter().zip(&book.tables) {
        let mut seen = 0;
        let sql = format!("SELECT id, {} FROM {}", table.column, table.name);
        let mut cells = sqlx::query(AssertSqlSafe(sql)).fetch(&world.app);
        while let Some(row) = cells.try_next().await.map_err(failed)? {
            let key = key_of(table, &row)?;
            let written = rows.get(&key);
            seen += usize::from(written.is_some());
            match open(table, &key, &keyset, &row)? {
                Err(why) => found.add_wrong(format!("{} {key}: {why}", table.name)),
                Ok(_) if written.is_none() => found.add_wrong(format!("{} {key} was deleted and is back", table.name)),
                Ok(plaintext) if Some(book.print(&plaintext)) == written => found.equal += 1,
                Ok(_) => found.add_wrong(format!("{} {key} is not what was written last", table.name)),
            }
        }
        if seen < rows.len() {
            found.add_wrong(format!("{} has lost {} of its rows", table.name, rows.len() - seen));
        }
    }
    Ok(found)
}

type Opened = Result<zeroize::Zeroizing<Vec<u8>>, String>;

fn open(table: &Table, key: &Key, keyset: &Keyset, row: &SqliteRow) -> Result<Opened, Failure> {
    let bytes: Option<Vec<u8>> = row.try_get(1).map_err(failed)?;
    let Some(bytes) = bytes else { return Ok(Err("it is NULL".to_owned())) };
    Ok(match cell::parse(&bytes) {
        Ok(cell) if cell.key_id != keyset.active() => Err(format!("it is under key {}", cell.key_id)),
        _ => keyset.decrypt(&bytes, &table.associated_data(key)).map_err(|e| e.to_string()),
    })
}

fn key_of(table: &Table, row: &SqliteRow) -> Result<Key, Failure> {
    if !table.uuids {
        return row.try_get(0).map(Key::Integer).map_err(failed);
    }
    let bytes: Vec<u8> = row.try_get(0).map_err(failed)?;
    let id =
        uuid::Uuid::from_slice(&bytes).map_err(|e| Failure::new("demo_database", format!("a uuid is none: {e}")))?;
    Ok(Key::Uuid(id))
}
