//! An application that knows nothing of the rotation: it reads, updates, inserts and deletes, with the
//! keyset that it loaded last.

use super::{
    book::Book,
    noise::Noise,
    tables::{KEYSET, Key, TABLES},
    world::{World, failed},
};
use crate::failure::Failure;
use reseal_engine::keys::Keyring;
use reseal_keyring::CellError;
use serde::Serialize;
use sqlx::{AssertSqlSafe, SqlitePool};
use std::time::Duration;
use tokio::{sync::oneshot, task::JoinHandle};

/// Between two operations.
const PAUSE: Duration = Duration::from_millis(2);

/// What it did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Tally {
    pub reads: u64,
    pub updates: u64,
    pub inserts: u64,
    pub deletes: u64,
    /// Writes with a retired key that the fence refused; each was done again with the new one.
    pub refused_by_the_fence: u64,
}

/// What it left.
pub(super) struct Written {
    pub tally: Tally,
    pub book: Book,
}

/// It, running.
pub(super) struct Application {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Written, Failure>>,
}

impl Application {
    pub(super) async fn start(world: &World, book: Book) -> Result<Self, Failure> {
        let [reader, writer] = [world.keyring()?, world.keyring()?];
        writer.keyset(KEYSET).await?;
        let mut client =
            Client { app: world.app.clone(), reader, writer, noise: Noise::new()?, book, tally: Tally::default() };
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                client.operation().await?;
                tokio::time::sleep(PAUSE).await;
            }
            Ok(Written { tally: client.tally, book: client.book })
        });
        Ok(Self { stop, task })
    }

    pub(super) async fn stop(self) -> Result<Written, Failure> {
        let _ = self.stop.send(());
        self.task.await.map_err(|e| Failure::new("demo_application", format!("the application died: {e}")))?
    }
}

struct Client {
    app: SqlitePool,
    /// Loads its keyset again at an unknown key id.
    reader: Keyring,
    /// Another process: it never reads, so it keeps what it has for ten seconds or until it is refused.
    writer: Keyring,
    noise: Noise,
    book: Book,
    tally: Tally,
}

impl Client {
    async fn operation(&mut self) -> Result<(), Failure> {
        let shares: usize = self.book.rows();
        let table = match self.noise.below(shares.max(1)) {
            at if at < self.book.tables[0].len() => 0,
            at if at < self.book.tables[0].len() + self.book.tables[1].len() => 1,
            _ => 2,
        };
        let rows = self.book.tables[table].len();
        let at = self.noise.below(rows.max(1));
        match self.noise.below(10) {
            _ if rows < 2 => self.insert(table).await,
            0..3 => self.read(table, at).await,
            3..7 => self.update(table, at).await,
            7..9 => self.insert(table).await,
            _ => self.delete(table, at).await,
        }
    }

    async fn read(&mut self, table: usize, at: usize) -> Result<(), Failure> {
        let (t, key) = (&TABLES[table], self.book.tables[table].key(at));
        let sql = format!("SELECT {} FROM {} WHERE id = ?", t.column, t.name);
        let found = sqlx::query_scalar::<_, Vec<u8>>(AssertSqlSafe(sql)).bind(key);
        let cell = found.fetch_one(&self.app).await.map_err(failed)?;
        let mut opened = self.reader.keyset(KEYSET).await?.decrypt(&cell, &t.associated_data(&key));
        if let Err(CellError::UnknownKey { .. }) = opened {
            self.reader.forget();
            opened = self.reader.keyset(KEYSET).await?.decrypt(&cell, &t.associated_data(&key));
        }
        let opened = opened.map_err(|e| differs(t.name, &key, &e.to_string()))?;
        if Some(self.book.print(&opened)) != self.book.tables[table].get(&key) {
            return Err(differs(t.name, &key, "it holds another value than the one written last"));
        }
        self.tally.reads += 1;
        Ok(())
    }

    async fn update(&mut self, table: usize, at: usize) -> Result<(), Failure> {
        let (t, key) = (&TABLES[table], self.book.tables[table].key(at));
        let sql = format!("UPDATE {} SET {} = ? WHERE id = ?", t.name, t.column);
        self.write(table, key, &sql).await?;
        self.tally.updates += 1;
        Ok(())
    }

    async fn insert(&mut self, table: usize) -> Result<(), Failure> {
        let t = &TABLES[table];
        let rows = &mut self.book.tables[table];
        rows.last += 1;
        let key = t.key(rows.last);
        let sql = format!("INSERT INTO {} ({}, id) VALUES (?, ?)", t.name, t.column);
        self.write(table, key, &sql).await?;
        self.tally.inserts += 1;
        Ok(())
    }

    async fn delete(&mut self, table: usize, at: usize) -> Result<(), Failure> {
        let sql = format!("DELETE FROM {} WHERE id = ?", TABLES[table].name);
        let delete = sqlx::query(AssertSqlSafe(sql)).bind(self.book.tables[table].key(at));
        delete.execute(&self.app).await.map_err(failed)?;
        self.book.tables[table].remove(at);
        self.tally.deletes += 1;
        Ok(())
    }

    /// Encrypts a new value and writes it; refused by the fence, with the keyset loaded again.
    async fn write(&mut self, table: usize, key: Key, sql: &str) -> Result<(), Failure> {
        let (associated_data, plaintext) = (TABLES[table].associated_data(&key), self.noise.plaintext());
        let print = self.book.print(plaintext);
        loop {
            let cell = self.writer.keyset(KEYSET).await?.encrypt(plaintext, &associated_data);
            match sqlx::query(AssertSqlSafe(sql)).bind(cell).bind(key).execute(&self.app).await {
                Ok(_) => break,
                Err(e) if refused_by_the_fence(&e) => {
                    self.tally.refused_by_the_fence += 1;
                    self.writer.forget();
                }
                Err(e) => return Err(failed(e)),
            }
        }
        self.book.tables[table].put(key, print);
        Ok(())
    }
}

fn refused_by_the_fence(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|e| e.message().starts_with("reseal:"))
}

fn differs(table: &str, key: &Key, why: &str) -> Failure {
    Failure::new("demo_differs", format!("the application read row {key} of {table} and {why}"))
}
