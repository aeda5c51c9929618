//! Tokens: made, listed, revoked, recognised.
//!
//! A token is `reseal_<id>_<secret>`, its secret 64 hexadecimal digits of 32 random bytes. The ledger keeps
//! SHA-256 of the secret's text: of so many random bits nothing slower is needed, and nobody who reads the ledger
//! can present one.

use super::{
    LedgerError, audit,
    secrets::{fits, hash_of, parts, random},
    time::{now, now_ms, seen_within},
};
use crate::tokens::{self, Role};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    sea_query::{Expr, ExprTrait},
};
use serde_json::json;

const EXPIRES_IN_MAX_MS: i64 = 100 * 366 * 86_400_000;
/// A use is noted at most once in so long.
const USE_NOTED_MS: i64 = 60_000;

/// A token to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct New {
    /// Who is meant; none: its role and some digits.
    pub name: Option<String>,
    /// What it may do.
    pub role: Role,
    /// For how long; none: until it is revoked.
    pub expires_in_ms: Option<i64>,
    /// At most so many requests a second.
    pub requests_per_second: Option<i32>,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no token of this ledger: also what is said of a wrong secret.
    Unknown,
    /// The secret is right, and somebody has revoked it.
    Revoked,
    /// The secret is right, and its time is over.
    Expired,
}

/// Makes a token. In the caller's transaction. The text is the token itself: there is no other copy, and it is
/// for whoever asked alone.
pub async fn create(
    txn: &impl ConnectionTrait,
    actor: &str,
    new: &New,
) -> Result<(tokens::Model, String), LedgerError> {
    check(new)?;
    let (secret, created_at) = (random::<32>()?, now_ms(txn).await?);
    let name = match &new.name {
        Some(name) => name.clone(),
        None => format!("{}-{}", new.role, random::<4>()?),
    };
    let row = tokens::ActiveModel {
        name: Set(name.clone()),
        live_name: Set(Some(name.clone())),
        role: Set(new.role),
        secret_hash: Set(hash_of(&secret)),
        requests_per_second: Set(new.requests_per_second),
        created_at: Set(created_at),
        created_by: Set(actor.chars().take(128).collect()),
        expires_at: Set(new.expires_in_ms.map(|ms| created_at.saturating_add(ms))),
        ..Default::default()
    };
    let inserted = tokens::Entity::insert(row).exec(txn).await;
    let id = inserted.map_err(|e| name_taken(e.into(), &name))?.last_insert_id;
    let token = one(txn, id).await?;
    let entry = audit::Entry {
        actor,
        action: "token.created",
        subject: format!("token {id}"),
        before: json!(null),
        after: json!({
            "name": token.name, "role": token.role, "expires_at": token.expires_at,
            "requests_per_second": token.requests_per_second,
        }),
    };
    audit::record(txn, entry).await?;
    let presented = format!("reseal_{id}_{secret}");
    Ok((token, presented))
}

fn check(new: &New) -> Result<(), LedgerError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if new.name.as_ref().is_some_and(|name| !(1..=64).contains(&name.len()) || !name.chars().all(plain)) {
        let message = "a token's name is 1 to 64 letters, digits, `-`, `_`, `.` or `@`: it stands in the audit";
        return Err(LedgerError::refused("invalid_name", message));
    }
    if new.expires_in_ms.is_some_and(|ms| ms <= 0) || new.requests_per_second.is_some_and(|n| n <= 0) {
        let message = "a token lasts some time and makes some requests: leave a limit out, or make it larger than 0";
        return Err(LedgerError::refused("invalid_limit", message));
    }
    if new.expires_in_ms.is_some_and(|ms| ms > EXPIRES_IN_MAX_MS) {
        let message = "a token lasts at most 100 years: leave --expires out for one that lasts until it is revoked";
        return Err(LedgerError::refused("invalid_limit", message));
    }
    Ok(())
}

fn name_taken(error: LedgerError, name: &str) -> LedgerError {
    if super::open::lost_the_race(&error) {
        let message = format!(
            "a token named `{name}` is there already: choose another name, or revoke that one first, see `reseal token list`"
        );
        return LedgerError::refused("name_taken", message);
    }
    error
}

/// Every token, also those that are revoked or expired, oldest first.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<tokens::Model>, LedgerError> {
    Ok(tokens::Entity::find().order_by_asc(tokens::Column::Id).all(db).await?)
}

/// How many would be let in now.
pub async fn usable(db: &impl ConnectionTrait) -> Result<u64, LedgerError> {
    Ok(let_in(db).count(db).await?)
}

/// Whether this one would be.
pub async fn is_usable(db: &impl ConnectionTrait, id: i64) -> Result<bool, LedgerError> {
    Ok(let_in(db).filter(tokens::Column::Id.eq(id)).count(db).await? == 1)
}

fn let_in(db: &impl ConnectionTrait) -> sea_orm::Select<tokens::Entity> {
    let lasts = tokens::Column::ExpiresAt.is_null().or(Expr::col(tokens::Column::ExpiresAt).gt(now(db)));
    tokens::Entity::find().filter(tokens::Column::RevokedAt.is_null()).filter(lasts)
}

/// One token.
pub async fn one(db: &impl ConnectionTrait, id: i64) -> Result<tokens::Model, LedgerError> {
    let found = tokens::Entity::find_by_id(id).one(db).await?;
    found.ok_or_else(|| {
        LedgerError::refused("unknown_token", format!("there is no token {id}: see `reseal token list`"))
    })
}

/// Revokes a token for good: whoever presents it from the commit on is refused. In the caller's transaction.
/// False: it was revoked before, and nothing changed.
pub async fn revoke(txn: &impl ConnectionTrait, actor: &str, id: i64) -> Result<bool, LedgerError> {
    let token = one(txn, id).await?;
    let revoked = tokens::Entity::update_many()
        .col_expr(tokens::Column::RevokedAt, now(txn))
        .col_expr(tokens::Column::RevokedBy, Expr::value(actor.chars().take(128).collect::<String>()))
        .col_expr(tokens::Column::LiveName, Expr::value(Option::<String>::None))
        .filter(tokens::Column::Id.eq(id))
        .filter(tokens::Column::RevokedAt.is_null())
        .exec(txn)
        .await?;
    if revoked.rows_affected == 0 {
        return Ok(false);
    }
    let entry = audit::Entry {
        actor,
        action: "token.revoked",
        subject: format!("token {id}"),
        before: json!({"name": token.name, "role": token.role}),
        after: json!(null),
    };
    audit::record(txn, entry).await?;
    Ok(true)
}

/// Whose token this is. That it is revoked or expired is told only to who has its secret, and how nearly right a secret is
/// takes no other time. An id that is not there is compared, too, and may be told by the row that is not read: ids
/// are no secret.
pub async fn authenticate(
    db: &impl ConnectionTrait,
    presented: &str,
) -> Result<Result<tokens::Model, Refusal>, LedgerError> {
    let (id, secret) = parts("reseal_", presented).unwrap_or((0, ""));
    let found = tokens::Entity::find_by_id(id).one(db).await?;
    let fits = fits(secret, found.as_ref().map(|token| &*token.secret_hash));
    let Some(token) = found.filter(|_| fits) else { return Ok(Err(Refusal::Unknown)) };
    if token.revoked_at.is_some() {
        return Ok(Err(Refusal::Revoked));
    }
    if let Some(until) = token.expires_at
        && until <= now_ms(db).await?
    {
        return Ok(Err(Refusal::Expired));
    }
    Ok(Ok(token))
}

/// Notes that a token was accepted, unless that was noted within the last minute.
pub async fn note_use_if_stale(db: &impl ConnectionTrait, id: i64) -> Result<(), LedgerError> {
    let stale =
        || tokens::Column::LastUsedAt.is_null().or(seen_within(db, tokens::Column::LastUsedAt, USE_NOTED_MS).not());
    // Asked first: a statement that may write waits on SQLite for whoever writes, and nearly always there is nothing to write.
    if tokens::Entity::find_by_id(id).filter(stale()).count(db).await? == 0 {
        return Ok(());
    }
    tokens::Entity::update_many()
        .col_expr(tokens::Column::LastUsedAt, now(db))
        .filter(tokens::Column::Id.eq(id))
        .filter(stale())
        .exec(db)
        .await?;
    Ok(())
}
