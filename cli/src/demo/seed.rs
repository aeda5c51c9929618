//! The rows that are there before the rotation.

use super::{
    book::Book,
    noise::Noise,
    tables::{TABLES, Table, shares},
    world::failed,
};
use crate::failure::Failure;
use reseal_keyring::Keyset;
use sqlx::{QueryBuilder, Sqlite, SqlitePool};

const ROWS_PER_STATEMENT: u64 = 500;
const STATEMENTS_PER_TRANSACTION: u64 = 20;

/// Encrypts and inserts `rows` rows, and remembers what was written.
pub(super) async fn seed(app: &SqlitePool, keyset: &Keyset, mut noise: Noise, rows: u64) -> Result<Book, Failure> {
    let mut book = Book::default();
    for (at, (table, rows)) in TABLES.iter().zip(shares(rows)).enumerate() {
        let mut left = rows;
        while left > 0 {
            let mut txn = app.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
            for _ in 0..STATEMENTS_PER_TRANSACTION {
                let some = left.min(ROWS_PER_STATEMENT);
                if some == 0 {
                    break;
                }
                let mut insert = statement(table, at, keyset, &mut noise, &mut book, some);
                insert.build().execute(&mut *txn).await.map_err(failed)?;
                left -= some;
            }
            txn.commit().await.map_err(failed)?;
        }
    }
    Ok(book)
}

fn statement(
    table: &Table,
    at: usize,
    keyset: &Keyset,
    noise: &mut Noise,
    book: &mut Book,
    rows: u64,
) -> QueryBuilder<Sqlite> {
    let mut insert = QueryBuilder::new(format!("INSERT INTO {} (id, {}, created_at) ", table.name, table.column));
    insert.push_values(0..rows, |mut row, _| {
        let plaintext = noise.plaintext();
        let print = book.print(plaintext);
        let rows = &mut book.tables[at];
        rows.last += 1;
        let key = table.key(rows.last);
        row.push_bind(key).push_bind(keyset.encrypt(plaintext, &table.associated_data(&key))).push_bind(rows.last);
        rows.put(key, print);
    });
    insert
}
