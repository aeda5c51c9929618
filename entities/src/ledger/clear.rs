//! Waiting and clearing: the only statements that let key material go.

use super::{
    LedgerError, after, approve, audit, keys as ledger_keys, may, plan,
    scope::{self, Scope},
    time::now,
};
use crate::{
    keys, rotation_keys, rotations,
    state::{KeyEvent, KeyState, RotationEvent, RotationState},
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait, Query},
};
use serde_json::json;

/// Adds observed waiting time and says when it was written. `seen_at` is the database's time of the
/// last observation that the caller made itself; another observer in between, and nothing is added.
pub async fn add_waited_if_unseen(
    db: &impl ConnectionTrait,
    rotation_id: i64,
    seen_at: Option<i64>,
    observed_ms: i64,
) -> Result<Option<i64>, LedgerError> {
    let at = super::time::now_ms(db).await?;
    let mut observe = rotations::Entity::update_many()
        .col_expr(rotations::Column::WaitedAt, Expr::value(at))
        .filter(rotations::Column::Id.eq(rotation_id))
        .filter(rotations::Column::State.eq(RotationState::Waiting))
        .filter(rotations::Column::PausedAt.is_null());
    if let Some(seen_at) = seen_at {
        observe = observe
            .col_expr(
                rotations::Column::WaitedMs,
                Expr::col(rotations::Column::WaitedMs).add(std::cmp::max(observed_ms, 0)),
            )
            .filter(rotations::Column::WaitedAt.eq(seen_at));
    }
    Ok((observe.exec(db).await?.rows_affected == 1).then_some(at))
}

/// Commits the intent to destroy: only when the observed waiting time is over, nothing holds it, and somebody else
/// has approved it where that is needed. In the caller's transaction. False: not yet.
pub async fn intend_if_waited(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
) -> Result<bool, LedgerError> {
    if !may_intend(txn, rotation).await? {
        return Ok(false);
    }
    plan::advance_if_held(txn, actor, rotation, RotationEvent::Clear).await?;
    Ok(true)
}

/// Whether the observed waiting time is over, nothing holds it, and it is approved where that is needed. Changes nothing.
pub async fn may_intend(db: &impl ConnectionTrait, rotation: &rotations::Model) -> Result<bool, LedgerError> {
    let over = rotations::Entity::find_by_id(rotation.id)
        .filter(Expr::col(rotations::Column::WaitedMs).gte(Expr::col(rotations::Column::ClearAfterMs)))
        .filter(rotations::Column::HoldAt.is_null())
        .filter(rotations::Column::PausedAt.is_null())
        .filter(approve::approved_if_needed())
        .one(db)
        .await?;
    Ok(over.is_some())
}

/// Wipes the wrapped bytes of every key that the rotation retires, all or none. The key's and the
/// rotation's states stand in the `WHERE`; proofs, their scope and the waiting time are the database's own guard's
/// (`migration/src/guards.rs`), which holds against every client. `covered` is what was counted just now; refused
/// when the ledger demands more by now.
pub async fn wipe_if_held(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
    covered: &Scope,
) -> Result<(), LedgerError> {
    let held = rotations::Entity::update_many()
        .col_expr(rotations::Column::StepLeaseUntil, super::time::now_plus(txn, super::time::LEASE_MS))
        .filter(rotations::Column::Id.eq(rotation.id))
        .filter(rotations::Column::StepEpoch.eq(rotation.step_epoch))
        .filter(rotations::Column::State.eq(RotationState::Clearing))
        .filter(rotations::Column::HoldAt.is_null())
        .filter(rotations::Column::PausedAt.is_null())
        .filter(approve::approved_if_needed())
        .exec(txn)
        .await?;
    if held.rows_affected != 1 {
        return Err(LedgerError::LeaseLost);
    }
    scope::refuse_less(txn, covered).await?;
    for key in ledger_keys::retired_by(txn, rotation.id).await? {
        if key.state == KeyState::Destroyed {
            continue;
        }
        let pinned = Query::select()
            .column(rotation_keys::Column::Generation)
            .from(rotation_keys::Entity)
            .and_where(rotation_keys::Column::RotationId.eq(rotation.id))
            .and_where(rotation_keys::Column::KeyId.eq(key.key_id))
            .to_owned();
        let wiped = keys::Entity::update_many()
            .col_expr(keys::Column::WrappedDek, Expr::value(Option::<Vec<u8>>::None))
            .col_expr(keys::Column::State, Expr::value(after::<KeyState>(KeyEvent::Destroy)))
            .col_expr(keys::Column::DestroyedAt, now(txn))
            .filter(keys::Column::KeyId.eq(key.key_id))
            .filter(may::<KeyState>(keys::Column::State, KeyEvent::Destroy))
            .filter(keys::Column::Generation.in_subquery(pinned))
            .exec(txn)
            .await?;
        if wiped.rows_affected != 1 {
            return Err(LedgerError::refused(
                "key_in_use",
                format!("key {} is {} or was active again since its proof: nothing was cleared", key.key_id, key.state),
            ));
        }
        let (before, after) =
            (json!({"state": key.state}), json!({"state": KeyState::Destroyed, "rotation": rotation.id}));
        let subject = format!("key {}", key.key_id);
        audit::record(txn, audit::Entry { actor, action: "key.destroyed", subject, before, after }).await?;
    }
    Ok(())
}

/// Ends the rotation once every key that it retires is destroyed. In the caller's transaction.
pub async fn complete_if_held(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
) -> Result<(), LedgerError> {
    if let Some(left) = ledger_keys::retired_by(txn, rotation.id).await?.iter().find(|k| k.state != KeyState::Destroyed)
    {
        return Err(LedgerError::refused("key_in_use", format!("key {} is still {}", left.key_id, left.state)));
    }
    plan::advance_if_held(txn, actor, rotation, RotationEvent::Complete).await?;
    rotations::Entity::update_many()
        .col_expr(rotations::Column::OpenKeyset, Expr::value(Option::<String>::None))
        .col_expr(rotations::Column::CompletedAt, now(txn))
        .filter(rotations::Column::Id.eq(rotation.id))
        .exec(txn)
        .await?;
    Ok(())
}
