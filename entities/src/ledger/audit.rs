//! Writing and verifying the audit chain.
//!
//! `hash = SHA-256(previous hash ‖ seq ‖ at ‖ each text as u64 BE length ‖ bytes)`; with a request's id
//! `SHA-256("request_id" ‖ that id as u64 BE length ‖ bytes ‖ the same)`. No entry of one kind hashes like one of
//! the other: the first begins with a hexadecimal digit, the second with an `r`.
//!
//! An entry is written in the transaction of the change it records, and last in it: the head's row lock is the
//! one thing that all writers share.

use super::{LedgerError, time::now_ms};
use crate::{audit, audit_head};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// One thing that was done, before it has its place in the chain.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The person or worker.
    pub actor: &'a str,
    /// E.g. `key.promoted`.
    pub action: &'static str,
    /// E.g. `rotation 3`.
    pub subject: String,
    /// How it was.
    pub before: Value,
    /// How it is.
    pub after: Value,
}

tokio::task_local! {
    static REQUEST: String;
}

/// Runs `future`; what is recorded while it runs bears this request's id, its first 64 characters. The price: a
/// task that `future` spawns is not under it.
pub fn under_request<F: Future>(id: String, future: F) -> impl Future<Output = F::Output> {
    REQUEST.scope(id, Box::pin(future)) // a whole request is large
}

fn request_id() -> Option<String> {
    REQUEST.try_with(|id| id.chars().take(64).collect()).ok()
}

/// Appends `entry`. Call it last in the transaction of the change.
pub async fn record(txn: &impl ConnectionTrait, entry: Entry<'_>) -> Result<(), LedgerError> {
    audit_head::Entity::update_many() // takes the row's lock: from here on writers queue
        .col_expr(audit_head::Column::Seq, Expr::col(audit_head::Column::Seq).add(1))
        .filter(audit_head::Column::Id.eq(1))
        .exec(txn)
        .await?;
    let head = audit_head::Entity::find_by_id(1).one(txn).await?;
    let head = head.ok_or_else(without_head)?;
    let mut row = audit::Model {
        seq: head.seq,
        at: now_ms(txn).await?,
        actor: entry.actor.chars().take(128).collect(),
        action: entry.action.to_owned(),
        subject: entry.subject.chars().take(255).collect(),
        before: entry.before.to_string(),
        after: entry.after.to_string(),
        request_id: request_id(),
        hash: String::new(),
    };
    row.hash = chained(&head.hash, &row);
    let hash = row.hash.clone();
    audit::Entity::insert(audit::ActiveModel {
        seq: Set(row.seq),
        at: Set(row.at),
        actor: Set(row.actor),
        action: Set(row.action),
        subject: Set(row.subject),
        before: Set(row.before),
        after: Set(row.after),
        request_id: Set(row.request_id),
        hash: Set(row.hash),
    })
    .exec_without_returning(txn)
    .await?;
    audit_head::Entity::update_many()
        .col_expr(audit_head::Column::Hash, Expr::value(hash))
        .filter(audit_head::Column::Id.eq(1))
        .exec(txn)
        .await?;
    Ok(())
}

fn without_head() -> LedgerError {
    LedgerError::refused("audit_without_head", "the audit has lost its head: restore the ledger")
}

fn chained(previous: &str, row: &audit::Model) -> String {
    let mut hash = Sha256::new();
    let text = |hash: &mut Sha256, text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    if let Some(id) = &row.request_id {
        hash.update(b"request_id"); // no previous hash begins so
        text(&mut hash, id);
    }
    hash.update(previous.as_bytes());
    hash.update(row.seq.to_be_bytes());
    hash.update(row.at.to_be_bytes());
    for field in [&row.actor, &row.action, &row.subject, &row.before, &row.after] {
        text(&mut hash, field);
    }
    hex::encode(hash.finalize())
}

/// What verifying found.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// Entries read.
    pub entries: i64,
    /// The first thing that is wrong; none when the chain holds.
    pub broken: Option<String>,
}

/// Where a chain ended when somebody wrote it down, outside the ledger. Whoever can write the ledger can also cut
/// its chain and set its head back, or write all of it anew: only what is kept elsewhere shows that.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Checkpoint {
    /// The last entry.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
    /// Entries in the export that it ends.
    pub entries: i64,
}

/// The chain from some entry to where it ended when the walk began, page by page.
#[derive(Debug)]
pub struct Walk {
    seq: i64,
    hash: String,
    /// Where it ends.
    pub end: Checkpoint,
}

impl Walk {
    /// From entry `from` on.
    pub async fn begin(db: &impl ConnectionTrait, from: i64) -> Result<Self, LedgerError> {
        let head = head(db).await?.ok_or_else(without_head)?;
        let (seq, mut hash) = (from - 1, "0".repeat(64));
        if seq > head.seq {
            let message = format!("there is no entry {from} yet: the last one is {}", head.seq);
            return Err(LedgerError::refused("unknown_audit_entry", message));
        }
        if seq > 0 {
            let before = audit::Entity::find_by_id(seq).one(db).await?;
            hash = before.ok_or_else(|| broken(format!("entry {seq} is missing")))?.hash;
        }
        Ok(Self { seq, hash, end: Checkpoint { entries: head.seq - seq, seq: head.seq, hash: head.hash } })
    }

    /// The next entries; none at the end. An error where the chain breaks: what came before it held.
    pub async fn next(&mut self, db: &impl ConnectionTrait) -> Result<Vec<audit::Model>, LedgerError> {
        let mut rows = page(db, self.seq).await?;
        rows.retain(|row| row.seq <= self.end.seq);
        for row in &rows {
            follow(row, &mut self.seq, &mut self.hash).map_err(broken)?;
        }
        if rows.is_empty() && self.seq < self.end.seq {
            return Err(broken(format!("entries {} to {} are missing", self.seq + 1, self.end.seq)));
        }
        if self.seq == self.end.seq && self.hash != self.end.hash {
            return Err(broken("the head does not fit the last entry".to_owned()));
        }
        Ok(rows)
    }
}

fn broken(why: String) -> LedgerError {
    LedgerError::refused("audit_broken", format!("the chain is broken: {why}; see `reseal audit verify`"))
}

/// Reads the whole chain, oldest first, and says where it breaks: an edited, deleted or reordered
/// entry, or a tail that was cut off.
pub async fn verify(db: &impl ConnectionTrait) -> Result<Verdict, LedgerError> {
    verify_with(db, None).await
}

/// The same; and the entry that `checkpoint` names must still be there, and what it was.
pub async fn verify_with(db: &impl ConnectionTrait, checkpoint: Option<&Checkpoint>) -> Result<Verdict, LedgerError> {
    let mut verdict = verify_chain(db).await?;
    if let (None, Some(checkpoint)) = (&verdict.broken, checkpoint) {
        let at = audit::Entity::find_by_id(checkpoint.seq).one(db).await?;
        verdict.broken = match at {
            Some(row) if row.hash == checkpoint.hash => None,
            Some(_) => {
                Some(format!("entry {} is not the one of the checkpoint: the chain was written anew", checkpoint.seq))
            }
            None if checkpoint.seq == 0 => None,
            None => Some(format!(
                "entries {} to {} were cut off: the checkpoint has them",
                verdict.entries + 1,
                checkpoint.seq
            )),
        };
    }
    Ok(verdict)
}

async fn verify_chain(db: &impl ConnectionTrait) -> Result<Verdict, LedgerError> {
    let (mut seq, mut hash) = (0, "0".repeat(64));
    loop {
        // An entry and its head are written together, so the entries up to a head that was read are
        // there, and a head that is read later is never older.
        let before = head(db).await?;
        if let Some(broken) = read_on(db, &mut seq, &mut hash).await? {
            return Ok(Verdict { entries: seq, broken: Some(broken) });
        }
        let after = head(db).await?;
        let broken = match (before, after) {
            (Some(before), _) if before.seq > seq => Some(format!("entries {} to {} are missing", seq + 1, before.seq)),
            (Some(_), Some(after)) if after.seq > seq => continue, // appended meanwhile
            (Some(_), Some(after)) if after.seq < seq => Some("the head was set back".to_owned()),
            (Some(_), Some(after)) if after.hash != hash => Some("the head does not fit the last entry".to_owned()),
            (Some(_), Some(_)) => None,
            _ => Some("the head is missing".to_owned()),
        };
        return Ok(Verdict { entries: seq, broken });
    }
}

async fn head(db: &impl ConnectionTrait) -> Result<Option<audit_head::Model>, LedgerError> {
    Ok(audit_head::Entity::find_by_id(1).one(db).await?)
}

/// Follows the chain from `seq` to the last entry there is. Some: where it breaks.
async fn read_on(db: &impl ConnectionTrait, seq: &mut i64, hash: &mut String) -> Result<Option<String>, LedgerError> {
    loop {
        let rows = page(db, *seq).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        for row in rows {
            if let Err(broken) = follow(&row, seq, hash) {
                return Ok(Some(broken));
            }
        }
    }
}

/// The next thousand entries.
async fn page(db: &impl ConnectionTrait, after: i64) -> Result<Vec<audit::Model>, LedgerError> {
    let rows = audit::Entity::find().filter(audit::Column::Seq.gt(after)).order_by_asc(audit::Column::Seq);
    Ok(rows.limit(1_000).all(db).await?)
}

/// One entry on. An error: the chain breaks there.
fn follow(row: &audit::Model, seq: &mut i64, hash: &mut String) -> Result<(), String> {
    if row.seq != *seq + 1 {
        return Err(format!("entry {} is missing", *seq + 1));
    }
    if chained(hash, row) != row.hash {
        return Err(format!("entry {} is not what was written", row.seq));
    }
    (*seq, *hash) = (row.seq, row.hash.clone());
    Ok(())
}
