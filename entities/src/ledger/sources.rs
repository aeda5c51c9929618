//! Sources: the databases that they stand for, where each was reached, and the mark in each that says whose it is.
//!
//! The mark names the ledger, the ledger's own place, and a nonce that changes at plan, prove and clear. Ledger and
//! source share no transaction, so a change has three steps: the ledger writes `next_nonce`; the source replaces the
//! mark if it is the one that the ledger knows; the ledger makes `next_nonce` the present one. Whoever dies in between
//! leaves two nonces that are both right, and the next change ends this one first.

use super::{LedgerError, audit, time::now_ms};
use crate::{source_addresses, sources};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
    sea_query::{Expr, OnConflict},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What stands in a source about whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The ledger's name.
    pub ledger: String,
    /// Where that ledger is: a copy of a ledger is elsewhere.
    pub place: String,
    /// A count and randomness, with a hyphen between.
    pub nonce: String,
}

impl Mark {
    /// How often the mark was changed.
    fn count(nonce: &str) -> i64 {
        nonce.split('-').next().and_then(|count| count.parse().ok()).unwrap_or(0)
    }
}

/// A database as a process sees it under a source's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What the database says of itself.
    pub identity: String,
    /// Where it was reached.
    pub address: String,
    /// The mark in it.
    pub mark: Option<Mark>,
}

/// Every source, by name.
pub async fn all(db: &impl ConnectionTrait) -> Result<Vec<sources::Model>, LedgerError> {
    Ok(sources::Entity::find().order_by_asc(sources::Column::Name).all(db).await?)
}

/// One source; none before its first sight.
pub async fn find(db: &impl ConnectionTrait, name: &str) -> Result<Option<sources::Model>, LedgerError> {
    Ok(sources::Entity::find_by_id(name).one(db).await?)
}

/// Where a source was reached.
pub async fn addresses(db: &impl ConnectionTrait, name: &str) -> Result<Vec<String>, LedgerError> {
    let of = source_addresses::Entity::find().filter(source_addresses::Column::Source.eq(name));
    let found = of.order_by_asc(source_addresses::Column::RegisteredAt).all(db).await?;
    Ok(found.into_iter().map(|a| a.address).collect())
}

/// Registers a source at its first sight. In the caller's transaction. False: it was registered before.
pub async fn register_if_unknown(
    txn: &impl ConnectionTrait,
    actor: &str,
    name: &str,
    seen: &Seen,
) -> Result<bool, LedgerError> {
    let row = sources::ActiveModel {
        name: Set(name.to_owned()),
        identity: Set(seen.identity.clone()),
        registered_at: Set(now_ms(txn).await?),
        ..Default::default()
    };
    let unknown = OnConflict::column(sources::Column::Name).do_nothing().to_owned();
    if sources::Entity::insert(row).on_conflict(unknown).exec_without_returning(txn).await? == 0 {
        return Ok(false);
    }
    insert_address(txn, actor, name, &seen.address).await?;
    note(txn, actor, "source.registered", name, None, seen).await?;
    Ok(true)
}

/// Adds an address of a source: seen to lead to the same database, or accepted by a person. In the caller's
/// transaction.
pub async fn add_address(txn: &impl ConnectionTrait, actor: &str, name: &str, seen: &Seen) -> Result<(), LedgerError> {
    if insert_address(txn, actor, name, &seen.address).await? {
        note(txn, actor, "source.address_added", name, None, seen).await?;
    }
    Ok(())
}

async fn insert_address(
    txn: &impl ConnectionTrait,
    actor: &str,
    name: &str,
    address: &str,
) -> Result<bool, LedgerError> {
    let row = source_addresses::ActiveModel {
        source: Set(name.to_owned()),
        address: Set(address.to_owned()),
        registered_at: Set(now_ms(txn).await?),
        registered_by: Set(actor.to_owned()),
    };
    let mut known = OnConflict::columns([source_addresses::Column::Source, source_addresses::Column::Address]);
    let insert = source_addresses::Entity::insert(row).on_conflict(known.do_nothing().to_owned());
    Ok(insert.exec_without_returning(txn).await? == 1)
}

/// Takes what a source's name leads to now for the source: a person says that the data, or the ledger, has moved. What
/// was known of addresses is forgotten. The mark is changed next, by the nonce that is returned.
pub async fn accept(txn: &impl ConnectionTrait, actor: &str, name: &str, seen: &Seen) -> Result<String, LedgerError> {
    register_if_unknown(txn, actor, name, seen).await?;
    let Some(known) = find(txn, name).await? else { return Err(LedgerError::LeaseLost) };
    let counts = [known.nonce.as_deref(), known.next_nonce.as_deref(), seen.mark.as_ref().map(|m| m.nonce.as_str())];
    let highest = counts.into_iter().flatten().max_by_key(|nonce| Mark::count(nonce)).map(str::to_owned);
    let next = nonce_after(highest.as_deref())?;
    sources::Entity::update_many()
        .col_expr(sources::Column::Identity, Expr::value(&seen.identity))
        .col_expr(sources::Column::NextNonce, Expr::value(&next))
        .filter(sources::Column::Name.eq(name))
        .exec(txn)
        .await?;
    source_addresses::Entity::delete_many().filter(source_addresses::Column::Source.eq(name)).exec(txn).await?;
    insert_address(txn, actor, name, &seen.address).await?;
    note(txn, actor, "source.accepted", name, Some(&known.identity), seen).await?;
    Ok(next)
}

/// Begins a change of the mark, or joins the one that is under way, and says what the mark is to say.
pub async fn begin_change(db: &impl ConnectionTrait, name: &str) -> Result<Option<String>, LedgerError> {
    let Some(known) = find(db, name).await? else { return Ok(None) };
    sources::Entity::update_many()
        .col_expr(sources::Column::NextNonce, Expr::value(nonce_after(known.nonce.as_deref())?))
        .filter(sources::Column::Name.eq(name))
        .filter(sources::Column::NextNonce.is_null())
        .filter(match &known.nonce {
            Some(nonce) => sources::Column::Nonce.eq(nonce),
            None => sources::Column::Nonce.is_null(),
        })
        .exec(db)
        .await?;
    Ok(find(db, name).await?.and_then(|known| known.next_nonce))
}

/// Ends a change: the mark says `nonce` now. Changes nothing where another process has ended it.
pub async fn end_change(db: &impl ConnectionTrait, name: &str, nonce: &str) -> Result<(), LedgerError> {
    sources::Entity::update_many()
        .col_expr(sources::Column::Nonce, Expr::value(nonce))
        .col_expr(sources::Column::NextNonce, Expr::value(Option::<String>::None))
        .filter(sources::Column::Name.eq(name))
        .filter(sources::Column::NextNonce.eq(nonce))
        .exec(db)
        .await?;
    Ok(())
}

fn nonce_after(nonce: Option<&str>) -> Result<String, LedgerError> {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random)
        .map_err(|e| LedgerError::refused("no_randomness", format!("the operating system gave no randomness: {e}")))?;
    Ok(format!("{}-{}", nonce.map_or(0, Mark::count) + 1, hex::encode(random)))
}

/// Refuses a database that is not the registered source, or a ledger that is not the source's. `me` is this ledger and
/// its place; its nonce is not looked at.
pub fn refuse_another(known: &sources::Model, seen: &Seen, me: &Mark) -> Result<(), LedgerError> {
    let name = &known.name;
    let accept = format!("`reseal check --accept-source {name}`");
    let refused = |code, message| Err(LedgerError::refused(code, message));
    if known.identity != seen.identity {
        return refused(
            "source_is_another",
            format!(
                "source `{name}` is registered as database {}, and this process is connected to {}: correct its url, or, if \
                 the data has really moved, run {accept}",
                known.identity, seen.identity
            ),
        );
    }
    if let Some(mark) = &seen.mark
        && mark.ledger != me.ledger
    {
        return refused(
            "source_owned",
            format!(
                "source `{name}` belongs to ledger {} at {}, and this is ledger {}: two ledgers would make each other's \
                 values unreadable; correct the url, or, if that ledger is given up and its keys are imported here, run {accept}",
                mark.ledger, mark.place, me.ledger
            ),
        );
    }
    if let Some(mark) = &seen.mark
        && mark.place != me.place
    {
        return refused(
            "ledger_moved",
            format!(
                "source `{name}` belongs to this ledger at {}, and the ledger is at {} now: if this is a copy, give it sources of \
                 its own; if the ledger has really moved, stop every process that uses the old one and run {accept}",
                mark.place, me.place
            ),
        );
    }
    let nonces: Vec<&String> = [&known.nonce, &known.next_nonce].into_iter().flatten().collect();
    match &seen.mark {
        Some(mark) if nonces.contains(&&mark.nonce) => {}
        Some(mark) if nonces.iter().all(|nonce| Mark::count(nonce) < Mark::count(&mark.nonce)) => {
            return refused(
                "ledger_is_older",
                format!(
                    "source `{name}` was last changed by a newer state of this ledger, or by a copy of it: if the ledger was \
                     restored from a backup, run `reseal keys recover`, then {accept}"
                ),
            );
        }
        // Its first mark is about to be made.
        None if known.nonce.is_none() => {}
        _ => {
            return refused(
                "source_is_older",
                format!(
                    "source `{name}` is older than what this ledger did to it: a restored backup, a clone, or a primary that was \
                     replaced; correct the url, or, if applications use this database now, run {accept}"
                ),
            );
        }
    }
    Ok(())
}

/// Refuses a database at an address that is not registered; all else about it fits.
pub fn refuse_elsewhere(known: &sources::Model, addresses: &[String], seen: &Seen) -> Result<(), LedgerError> {
    if addresses.contains(&seen.address) {
        return Ok(());
    }
    Err(LedgerError::refused(
        "source_is_another",
        format!(
            "source `{0}` is registered at {1}, and this process reaches it at {2}, perhaps a clone: correct its url, or, if \
             applications use this database, run `reseal check --accept-source {0}`",
            known.name,
            addresses.join(" and at "),
            seen.address
        ),
    ))
}

async fn note(
    txn: &impl ConnectionTrait,
    actor: &str,
    action: &'static str,
    name: &str,
    before: Option<&str>,
    seen: &Seen,
) -> Result<(), LedgerError> {
    let before = json!({"identity": before});
    let after = json!({"identity": seen.identity, "address": seen.address});
    audit::record(txn, audit::Entry { actor, action, subject: format!("source {name}"), before, after }).await
}
