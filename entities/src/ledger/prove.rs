//! The proof: recorded, voided.

use super::{
    LedgerError, after, audit, catalog, keys as ledger_keys, may, plan,
    scope::{self, Scope},
    time::now,
};
use crate::{
    batches, keys, proofs, quarantine, rotations,
    state::{BatchState, KeyEvent, KeyState, RotationEvent},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, sea_query::Expr,
};
use serde_json::json;

/// One column's proof as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The column.
    pub catalog_id: i64,
    /// Cells that are not NULL.
    pub cells: i64,
    /// Cells that are NULL.
    pub nulls: i64,
    /// The predicate that was counted.
    pub predicate: String,
    /// Over the column's definition in the live schema.
    pub schema_fingerprint: String,
    /// Over the fence's definition; empty for a column of another keyset.
    pub fence_fingerprint: String,
    /// What was counted beyond the registered columns, and what was left out.
    pub scope: String,
    /// So many cells were opened under the keys that remain.
    pub opened: i64,
}

/// Records a proof of every column with nothing left, suspends the retired keys and lets the waiting
/// time begin, all or nothing in the caller's transaction. `covered` is what was counted; refused when the ledger
/// demands more by now.
pub async fn record_if_held(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
    found: &[Found],
    covered: &Scope,
) -> Result<(), LedgerError> {
    plan::advance_if_held(txn, actor, rotation, RotationEvent::Wait).await?;
    scope::refuse_less(txn, covered).await?;
    refuse_while_open(txn, rotation.id).await?;
    void(txn, rotation.id).await?;
    let proved_at = super::time::now_ms(txn).await?;
    let (sources, exclusions) = covered.recorded();
    for column in found {
        proofs::Entity::insert(proofs::ActiveModel {
            rotation_id: Set(rotation.id),
            catalog_id: Set(column.catalog_id),
            cells: Set(column.cells),
            nulls: Set(column.nulls),
            under_retired: Set(0),
            unaccounted: Set(0),
            predicate: Set(column.predicate.clone()),
            schema_fingerprint: Set(column.schema_fingerprint.clone()),
            fence_fingerprint: Set(column.fence_fingerprint.clone()),
            scope: Set(column.scope.clone()),
            opened: Set(column.opened),
            sources: Set(sources.clone()),
            exclusions: Set(exclusions.clone()),
            actor: Set(actor.to_owned()),
            proved_at: Set(proved_at),
            ..Default::default()
        })
        .exec_without_returning(txn)
        .await?;
    }
    rotations::Entity::update_many()
        .col_expr(rotations::Column::ProvedAt, Expr::value(proved_at))
        .col_expr(rotations::Column::WaitedMs, Expr::value(0))
        .col_expr(rotations::Column::WaitedAt, Expr::value(Option::<i64>::None))
        .col_expr(rotations::Column::Replans, Expr::value(0))
        // An approval is of one proof.
        .col_expr(rotations::Column::ApprovedAt, Expr::value(Option::<i64>::None))
        .col_expr(rotations::Column::ApprovedBy, Expr::value(Option::<String>::None))
        .filter(rotations::Column::Id.eq(rotation.id))
        .exec(txn)
        .await?;
    let proved: Vec<i64> = found.iter().map(|column| column.catalog_id).collect();
    catalog::note_adopted(txn, actor, rotation, &proved).await?;
    turn_retired_keys(txn, actor, rotation.id, KeyEvent::Suspend, "key.suspended").await
}

/// Refuses while batches are open or rows unresolved. A few rows of the ledger say so: it is asked before anything is
/// counted, and again by the guard when the keys are to be wiped.
pub async fn refuse_while_open(txn: &impl ConnectionTrait, rotation_id: i64) -> Result<(), LedgerError> {
    let open = batches::Entity::find()
        .filter(batches::Column::RotationId.eq(rotation_id))
        .filter(batches::Column::State.is_in(BatchState::OPEN));
    let unresolved = quarantine::Entity::find()
        .filter(quarantine::Column::RotationId.eq(rotation_id))
        .filter(quarantine::Column::State.is_in(quarantine::QuarantineState::UNRESOLVED));
    let (open, unresolved) = (open.count(txn).await?, unresolved.count(txn).await?);
    if open + unresolved > 0 {
        return Err(LedgerError::refused(
            "proof_blocked",
            format!("{open} batches are open and {unresolved} rows are quarantined"),
        ));
    }
    Ok(())
}

/// Voids the proof, and with it an approval: the rotation goes back to proving and the retired keys decrypt again.
pub async fn void_if_held(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
) -> Result<(), LedgerError> {
    plan::advance_if_held(txn, actor, rotation, RotationEvent::VoidProof).await?;
    voided(txn, actor, rotation).await
}

/// The same by a person, who holds no step: whoever does loses it. Refused once a key is destroyed. The rotation was read under
/// its lock, in the caller's transaction.
pub(super) async fn void_from_outside(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
) -> Result<(), LedgerError> {
    rotations::Entity::update_many()
        .col_expr(rotations::Column::StepEpoch, Expr::value(rotation.step_epoch + 1))
        .col_expr(rotations::Column::StepDueAt, Expr::value(0))
        .col_expr(rotations::Column::NextRingAt, Expr::value(0))
        .filter(rotations::Column::Id.eq(rotation.id))
        .exec(txn)
        .await?;
    let rotation = rotations::Model { step_epoch: rotation.step_epoch + 1, ..rotation.clone() };
    void_if_held(txn, actor, &rotation).await
}

async fn voided(txn: &impl ConnectionTrait, actor: &str, rotation: &rotations::Model) -> Result<(), LedgerError> {
    void(txn, rotation.id).await?;
    rotations::Entity::update_many()
        .col_expr(rotations::Column::ProvedAt, Expr::value(Option::<i64>::None))
        .col_expr(rotations::Column::ApprovedAt, Expr::value(Option::<i64>::None))
        .col_expr(rotations::Column::ApprovedBy, Expr::value(Option::<String>::None))
        .filter(rotations::Column::Id.eq(rotation.id))
        .exec(txn)
        .await?;
    turn_retired_keys(txn, actor, rotation.id, KeyEvent::Restore, "key.restored").await
}

pub(super) async fn void(txn: &impl ConnectionTrait, rotation_id: i64) -> Result<(), LedgerError> {
    proofs::Entity::update_many()
        .col_expr(proofs::Column::VoidedAt, now(txn))
        .filter(proofs::Column::RotationId.eq(rotation_id))
        .filter(proofs::Column::VoidedAt.is_null())
        .exec(txn)
        .await?;
    Ok(())
}

async fn turn_retired_keys(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation_id: i64,
    event: KeyEvent,
    action: &'static str,
) -> Result<(), LedgerError> {
    let keys = ledger_keys::retired_by(txn, rotation_id).await?;
    turn(txn, actor, rotation_id, keys, event, action).await
}

/// Lets those of a rotation's keys decrypt again that are suspended.
pub(super) async fn restore_suspended(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation_id: i64,
) -> Result<(), LedgerError> {
    let mut keys = ledger_keys::retired_by(txn, rotation_id).await?;
    keys.retain(|k| k.state == KeyState::Suspended);
    turn(txn, actor, rotation_id, keys, KeyEvent::Restore, "key.restored").await
}

async fn turn(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation_id: i64,
    keys: Vec<keys::Model>,
    event: KeyEvent,
    action: &'static str,
) -> Result<(), LedgerError> {
    for key in keys {
        let turned = keys::Entity::update_many()
            .col_expr(keys::Column::State, Expr::value(after::<KeyState>(event)))
            .filter(keys::Column::KeyId.eq(key.key_id))
            .filter(may::<KeyState>(keys::Column::State, event))
            .exec(txn)
            .await?;
        if turned.rows_affected != 1 {
            return Err(LedgerError::refused(
                "key_moved",
                format!("key {} is {} and cannot follow its rotation {rotation_id}", key.key_id, key.state),
            ));
        }
        let (before, after) =
            (json!({"state": key.state}), json!({"state": after::<KeyState>(event), "rotation": rotation_id}));
        let subject = format!("key {}", key.key_id);
        audit::record(txn, audit::Entry { actor, action, subject, before, after }).await?;
    }
    Ok(())
}

/// The current proofs of a rotation.
pub async fn current(db: &impl ConnectionTrait, rotation_id: i64) -> Result<Vec<proofs::Model>, LedgerError> {
    let found = proofs::Entity::find().filter(proofs::Column::RotationId.eq(rotation_id));
    Ok(found.filter(proofs::Column::VoidedAt.is_null()).all(db).await?)
}
