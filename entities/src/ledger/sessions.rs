//! Sessions: opened with a token, recognised by the cookie that was given for it, closed.
//!
//! A session lasts as long as it is used, at most half an hour between two uses ([`IDLE_MS`]) and half a day in all
//! ([`ABSOLUTE_MS`]), and no longer than its token. The price: a use is noted once a minute, so that the half hour may
//! be a minute short; and whoever works for longer than half a day signs in again.

use super::{
    LedgerError, audit,
    secrets::{fits, hash_of, parts, random},
    time::{CLOCK_SLACK_MS, has_come, now, now_ms, seen_within},
    tokens,
};
use crate::{sessions, tokens::Model as Token};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter,
    sea_query::ExprTrait,
};
use serde_json::json;

/// Longest time between two uses.
pub const IDLE_MS: i64 = 30 * 60_000;
/// Longest time in all.
pub const ABSOLUTE_MS: i64 = 12 * 3_600_000;
/// A use is noted at most once in so long.
const USE_NOTED_MS: i64 = 60_000;

/// Why a session is not accepted. All but the first are told only to who has its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no session of this ledger, or no longer: also what is said of a wrong secret.
    Unknown,
    /// Somebody has signed out.
    Closed,
    /// It was not used for [`IDLE_MS`].
    Idle,
    /// It was opened [`ABSOLUTE_MS`] ago.
    Old,
    /// Its token would be refused for this.
    Token(tokens::Refusal),
}

/// Opens a session for who has presented `token`, and forgets those that are long over. In the caller's transaction. The text is
/// what the browser presents from now on: there is no other copy.
pub async fn open(txn: &impl ConnectionTrait, token: &Token) -> Result<(sessions::Model, String), LedgerError> {
    open_instead(txn, token, None).await
}

/// The same, and closes the session that the browser had before, unless it is closed. In the caller's transaction.
pub async fn open_instead(
    txn: &impl ConnectionTrait,
    token: &Token,
    before: Option<i64>,
) -> Result<(sessions::Model, String), LedgerError> {
    let (secret, opened_at) = (random::<32>()?, now_ms(txn).await?);
    let over = has_come(txn, sessions::Column::ExpiresAt, ABSOLUTE_MS);
    sessions::Entity::delete_many().filter(over).exec(txn).await?;
    let row = sessions::ActiveModel {
        token_id: Set(token.id),
        secret_hash: Set(hash_of(&secret)),
        opened_at: Set(opened_at),
        seen_at: Set(opened_at),
        expires_at: Set(opened_at.saturating_add(ABSOLUTE_MS)),
        ..Default::default()
    };
    let id = sessions::Entity::insert(row).exec(txn).await?.last_insert_id;
    let session = one(txn, id).await?;
    // The audit comes last: whoever had its head and waited for a token would wait for who revokes it, and they for the head.
    let closed = match before {
        Some(before) => set_closed(txn, before).await?,
        None => None,
    };
    if let Some((before, its_token)) = closed {
        record(txn, "session.closed", &its_token, json!({"session": before}), json!(null)).await?;
    }
    record(txn, "session.opened", token, json!(null), json!({"session": id, "expires_at": session.expires_at})).await?;
    let presented = format!("{id}_{secret}");
    Ok((session, presented))
}

/// Closes a session for good: whoever presents it from the commit on is refused. In the caller's transaction.
/// False: it was closed before or is gone, and nothing changed.
pub async fn close_if_open(txn: &impl ConnectionTrait, id: i64) -> Result<bool, LedgerError> {
    let Some((id, token)) = set_closed(txn, id).await? else { return Ok(false) };
    record(txn, "session.closed", &token, json!({"session": id}), json!(null)).await?;
    Ok(true)
}

/// With whose session it was; none: it was not open.
async fn set_closed(txn: &impl ConnectionTrait, id: i64) -> Result<Option<(i64, Token)>, LedgerError> {
    let closed = sessions::Entity::update_many()
        .col_expr(sessions::Column::ClosedAt, now(txn))
        .filter(sessions::Column::Id.eq(id))
        .filter(sessions::Column::ClosedAt.is_null())
        .exec(txn)
        .await?;
    if closed.rows_affected == 0 {
        return Ok(None);
    }
    let session = one(txn, id).await?;
    Ok(Some((id, tokens::one(txn, session.token_id).await?)))
}

async fn record(
    txn: &impl ConnectionTrait,
    action: &'static str,
    token: &Token,
    before: serde_json::Value,
    after: serde_json::Value,
) -> Result<(), LedgerError> {
    let (actor, subject) = (format!("token {}", token.name), format!("token {}", token.id));
    audit::record(txn, audit::Entry { actor: &actor, action, subject, before, after }).await
}

async fn one(db: &impl ConnectionTrait, id: i64) -> Result<sessions::Model, LedgerError> {
    let found = sessions::Entity::find_by_id(id).one(db).await?;
    found.ok_or_else(|| DbErr::RecordNotFound("the session".into()).into())
}

/// Whose session this is. How nearly right a secret is takes no other time.
pub async fn authenticate(
    db: &impl ConnectionTrait,
    presented: &str,
) -> Result<Result<(sessions::Model, Token), Refusal>, LedgerError> {
    let (id, secret) = parts("", presented).unwrap_or((0, ""));
    let found = sessions::Entity::find_by_id(id).find_also_related(crate::tokens::Entity).one(db).await?;
    let fits = fits(secret, found.as_ref().map(|(session, _)| &*session.secret_hash));
    let Some((session, Some(token))) = found.filter(|_| fits) else { return Ok(Err(Refusal::Unknown)) };
    let refusal = refusal(&session, &token, now_ms(db).await?);
    Ok(refusal.map_or(Ok((session, token)), Err))
}

/// Whether it would still be accepted, for what goes on after it was.
pub async fn is_usable(db: &impl ConnectionTrait, id: i64) -> Result<bool, LedgerError> {
    let found = sessions::Entity::find_by_id(id).find_also_related(crate::tokens::Entity).one(db).await?;
    let Some((session, Some(token))) = found else { return Ok(false) };
    Ok(refusal(&session, &token, now_ms(db).await?).is_none())
}

fn refusal(session: &sessions::Model, token: &Token, now: i64) -> Option<Refusal> {
    // A time further ahead than any session's was written by a clock that was wrong: the session would outlive its limits.
    let old = session.expires_at <= now || session.expires_at > now.saturating_add(ABSOLUTE_MS + CLOCK_SLACK_MS);
    let idle = now.abs_diff(session.seen_at) >= IDLE_MS.unsigned_abs();
    match (session, token) {
        _ if session.closed_at.is_some() => Some(Refusal::Closed),
        _ if old => Some(Refusal::Old),
        _ if idle => Some(Refusal::Idle),
        _ if token.revoked_at.is_some() => Some(Refusal::Token(tokens::Refusal::Revoked)),
        _ if token.expires_at.is_some_and(|until| until <= now) => Some(Refusal::Token(tokens::Refusal::Expired)),
        _ => None,
    }
}

/// Notes that a session was used, unless that was noted within the last minute.
pub async fn note_use_if_stale(db: &impl ConnectionTrait, id: i64) -> Result<(), LedgerError> {
    let stale = || seen_within(db, sessions::Column::SeenAt, USE_NOTED_MS).not();
    // Asked first: a statement that may write waits on SQLite for whoever writes, and nearly always there is nothing to write.
    if sessions::Entity::find_by_id(id).filter(stale()).count(db).await? == 0 {
        return Ok(());
    }
    sessions::Entity::update_many()
        .col_expr(sessions::Column::SeenAt, now(db))
        .filter(sessions::Column::Id.eq(id))
        .filter(stale())
        .exec(db)
        .await?;
    Ok(())
}
