//! Writing and verifying the audit chain.
//!
//! `hash = SHA-256(previous hash ‖ each field as u64 BE length ‖ bytes)`. An entry is written in the
//! transaction of the change it records, and last in it: the head's row lock is the one thing that
//! all writers share.

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

/// Appends `entry`. Call it last in the transaction of the change.
pub async fn record(txn: &impl ConnectionTrait, entry: Entry<'_>) -> Result<(), LedgerError> {
    audit_head::Entity::update_many() // takes the row's lock: from here on writers queue
        .col_expr(audit_head::Column::Seq, Expr::col(audit_head::Column::Seq).add(1))
        .filter(audit_head::Column::Id.eq(1))
        .exec(txn)
        .await?;
    let head = audit_head::Entity::find_by_id(1).one(txn).await?;
    let head = head
        .ok_or_else(|| LedgerError::refused("audit_without_head", "the audit has lost its head: restore the ledger"))?;
    let mut row = audit::Model {
        seq: head.seq,
        at: now_ms(txn).await?,
        actor: entry.actor.chars().take(128).collect(),
        action: entry.action.to_owned(),
        subject: entry.subject.chars().take(255).collect(),
        before: entry.before.to_string(),
        after: entry.after.to_string(),
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

fn chained(previous: &str, row: &audit::Model) -> String {
    let mut hash = Sha256::new();
    hash.update(previous.as_bytes());
    hash.update(row.seq.to_be_bytes());
    hash.update(row.at.to_be_bytes());
    for field in [&row.actor, &row.action, &row.subject, &row.before, &row.after] {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field.as_bytes());
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

/// Reads the whole chain, oldest first, and says where it breaks: an edited, deleted or reordered
/// entry, or a tail that was cut off.
pub async fn verify(db: &impl ConnectionTrait) -> Result<Verdict, LedgerError> {
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
        let rows = audit::Entity::find()
            .filter(audit::Column::Seq.gt(*seq))
            .order_by_asc(audit::Column::Seq)
            .limit(1_000)
            .all(db)
            .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        for row in rows {
            if row.seq != *seq + 1 {
                return Ok(Some(format!("entry {} is missing", *seq + 1)));
            }
            if chained(hash, &row) != row.hash {
                return Ok(Some(format!("entry {} is not what was written", row.seq)));
            }
            (*seq, *hash) = (row.seq, row.hash);
        }
    }
}
