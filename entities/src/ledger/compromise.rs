//! Noting that others may know a key. An attribute of any state: it changes what is urgent, not what may be done.

use super::{LedgerError, audit, read, time::now};
use crate::keys;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, sea_query::Expr};
use serde_json::json;

/// Marks a key as compromised, once and for good. In the caller's transaction.
pub async fn mark(txn: &impl ConnectionTrait, actor: &str, key_id: i64, reason: &str) -> Result<(), LedgerError> {
    let key = read::key(txn, key_id).await?;
    let marked = keys::Entity::update_many()
        .col_expr(keys::Column::CompromisedAt, now(txn))
        .col_expr(keys::Column::CompromisedReason, Expr::value(reason))
        .filter(keys::Column::KeyId.eq(key_id))
        .filter(keys::Column::CompromisedAt.is_null())
        .exec(txn)
        .await?;
    if marked.rows_affected == 0 {
        let said = key.compromised_reason.unwrap_or_default();
        let message =
            format!("key {key_id} is marked as compromised already ({said}): see `reseal keys show {key_id}`");
        return Err(LedgerError::refused("compromised_already", message));
    }
    let entry = audit::Entry {
        actor,
        action: "key.compromised",
        subject: format!("key {key_id}"),
        before: json!({"state": key.state}),
        after: json!({"reason": reason}),
    };
    audit::record(txn, entry).await
}
