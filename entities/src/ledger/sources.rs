//! Sources and the databases they stand for.

use super::{LedgerError, audit, time::now_ms};
use crate::sources;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, sea_query::Expr};
use serde_json::json;

/// Registers a source at its first sight; later, refuses another database under its name.
pub async fn register_or_compare(
    txn: &impl ConnectionTrait,
    actor: &str,
    name: &str,
    identity: &str,
) -> Result<(), LedgerError> {
    let Some(known) = sources::Entity::find_by_id(name).one(txn).await? else {
        let row = sources::ActiveModel {
            name: Set(name.to_owned()),
            identity: Set(identity.to_owned()),
            registered_at: Set(now_ms(txn).await?),
        };
        sources::Entity::insert(row).exec_without_returning(txn).await?;
        return note(txn, actor, "source.registered", name, None, identity).await;
    };
    compare(name, &known.identity, identity)
}

/// Refuses another database than the one that is registered under `name`.
pub async fn refuse_another(db: &impl ConnectionTrait, name: &str, identity: &str) -> Result<(), LedgerError> {
    match sources::Entity::find_by_id(name).one(db).await? {
        Some(known) => compare(name, &known.identity, identity),
        None => Ok(()),
    }
}

fn compare(name: &str, known: &str, seen: &str) -> Result<(), LedgerError> {
    if known == seen {
        return Ok(());
    }
    Err(LedgerError::refused(
        "source_is_another",
        format!(
            "source `{name}` is registered as database {known}, and this process is connected to {seen}: correct its url, or, \
             if the data has really moved, run `reseal check --accept-source {name}`"
        ),
    ))
}

/// Takes another database for `name` from now on: a person says that the data has moved.
pub async fn accept(txn: &impl ConnectionTrait, actor: &str, name: &str, identity: &str) -> Result<(), LedgerError> {
    let before = sources::Entity::find_by_id(name).one(txn).await?.map(|known| known.identity);
    if before.is_none() || before.as_deref() == Some(identity) {
        return Ok(());
    }
    sources::Entity::update_many()
        .col_expr(sources::Column::Identity, Expr::value(identity))
        .filter(sources::Column::Name.eq(name))
        .exec(txn)
        .await?;
    note(txn, actor, "source.accepted", name, before.as_deref(), identity).await
}

async fn note(
    txn: &impl ConnectionTrait,
    actor: &str,
    action: &'static str,
    name: &str,
    before: Option<&str>,
    identity: &str,
) -> Result<(), LedgerError> {
    let (before, after) = (json!({"identity": before}), json!({"identity": identity}));
    audit::record(txn, audit::Entry { actor, action, subject: format!("source {name}"), before, after }).await
}
