//! Stopping a rotation, and turning it round. Both leave every value readable.

use super::{LedgerError, after, audit, keys as ledger_keys, may, prove, read, time::now};
use crate::{
    rotations,
    state::{KeyState, RotationEvent, RotationState},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait},
};
use serde_json::json;

/// Stops a rotation wherever it stands: its workers leave at their next chunk, its proofs are void, a
/// suspended key decrypts again. In the caller's transaction; refused once a key is destroyed. False: it was
/// cancelled before, and nothing changed.
pub async fn cancel(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation_id: i64,
    reason: Option<&str>,
) -> Result<bool, LedgerError> {
    let rotation = read::locked(txn, rotation_id).await?;
    if rotation.state == RotationState::Cancelled {
        return Ok(false);
    }
    if rotation.state.has_ended() {
        return Err(ended(&rotation, "cancelled"));
    }
    end(txn, &rotation, RotationEvent::Cancel).await?;
    tell(txn, actor, &rotation, RotationEvent::Cancel, reason).await?;
    Ok(true)
}

/// What came of turning a rotation round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnedRound {
    /// The rotation the other way.
    pub reverse: i64,
    /// This call opened it; false: it was there before, and nothing changed.
    pub changed: bool,
}

/// Opens the rotation the other way and ends this one: the key that gave way becomes active again, and
/// the one that took over is retired. In the caller's transaction.
pub async fn roll_back(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation_id: i64,
    reason: Option<&str>,
) -> Result<TurnedRound, LedgerError> {
    let rotation = read::locked(txn, rotation_id).await?;
    if rotation.state == RotationState::RolledBack
        && let Some(reverse) = reverse_of(txn, rotation_id).await?
    {
        return Ok(TurnedRound { reverse, changed: false });
    }
    if rotation.state.has_ended() && rotation.state != RotationState::Cancelled {
        return Err(ended(&rotation, "rolled back"));
    }
    let (Some(from), Some(to)) = (rotation.from_key_id, rotation.to_key_id) else {
        return Err(LedgerError::refused(
            "nothing_to_roll_back",
            format!("rotation {rotation_id} has promoted no key yet: `reseal cancel {rotation_id}` ends it"),
        ));
    };
    let keys = ledger_keys::locked(txn, &rotation.keyset).await?;
    let state = |id: i64| keys.iter().find(|k| k.key_id == id).map(|k| k.state);
    let back = matches!(state(from), Some(KeyState::Deactivated | KeyState::Suspended));
    if !back || state(to) != Some(KeyState::Active) {
        return Err(LedgerError::refused(
            "too_late_to_roll_back",
            format!(
                "keyset `{}` is past it: key {from} is {}, key {to} is {}",
                rotation.keyset,
                state(from).map_or("gone".to_owned(), |s| s.to_string()),
                state(to).map_or("gone".to_owned(), |s| s.to_string()),
            ),
        ));
    }
    if keys.iter().any(|k| k.key_id == from && !k.names_its_cells()) {
        return Err(LedgerError::refused(
            "raw_key",
            format!(
                "key {from} writes cells that do not name it, and nothing is re-encrypted to such a key: \
                 `reseal cancel {rotation_id}` stops the rotation and leaves every value readable"
            ),
        ));
    }
    end(txn, &rotation, RotationEvent::RollBack).await?;
    let requested_at = super::time::now_ms(txn).await?;
    let reverse = rotations::ActiveModel {
        keyset: Set(rotation.keyset.clone()),
        open_keyset: Set(Some(rotation.keyset.clone())),
        state: Set(RotationState::Requested),
        to_key_id: Set(Some(from)),
        reverses: Set(Some(rotation.id)),
        requested_by: Set(actor.chars().take(128).collect()),
        reason: Set(reason.map(str::to_owned)),
        clear_after_ms: Set(rotation.clear_after_ms),
        writer_ttl_ms: Set(rotation.writer_ttl_ms),
        batch_rows: Set(rotation.batch_rows),
        needs_approval: Set(rotation.needs_approval),
        // What the database bears is the same in both directions.
        limit_rows_per_second: Set(rotation.limit_rows_per_second),
        limit_lanes: Set(rotation.limit_lanes),
        limit_batches: Set(rotation.limit_batches),
        requested_at: Set(requested_at),
        ..rotations::not_begun()
    };
    let inserted = rotations::Entity::insert(reverse).exec(txn).await;
    let id = inserted.map_err(|e| another_is_open(e, &rotation.keyset))?.last_insert_id;
    tell(txn, actor, &rotation, RotationEvent::RollBack, reason).await?;
    let after = json!({"keyset": rotation.keyset, "to_key_id": from, "reverses": rotation.id, "reason": reason, "needs_approval": rotation.needs_approval, "limits": rotation.limits()});
    let subject = format!("rotation {id}");
    audit::record(txn, audit::Entry { actor, action: "rotation.requested", subject, before: json!(null), after })
        .await?;
    Ok(TurnedRound { reverse: id, changed: true })
}

/// The rotation that turned this one round.
pub(super) async fn reverse_of(txn: &impl ConnectionTrait, rotation_id: i64) -> Result<Option<i64>, LedgerError> {
    let found = rotations::Entity::find().filter(rotations::Column::Reverses.eq(rotation_id));
    Ok(found.one(txn).await?.map(|reverse| reverse.id))
}

fn another_is_open(error: sea_orm::DbErr, keyset: &str) -> LedgerError {
    let error = LedgerError::from(error);
    if super::open::lost_the_race(&error) {
        return LedgerError::refused(
            "rotation_open",
            format!("another rotation of keyset `{keyset}` is open: roll that one back, or let it end"),
        );
    }
    error
}

fn ended(rotation: &rotations::Model, what: &str) -> LedgerError {
    LedgerError::refused(
        "rotation_ended",
        format!("rotation {} is {}: there is nothing to be {what}", rotation.id, rotation.state),
    )
}

/// Ends a rotation that is not completed. Whoever holds its step loses it: the epoch rises. The lease
/// stays, so that the next rotation's planning can wait for whoever may still be at a fence. [`tell`] belongs to it, last.
async fn end(txn: &impl ConnectionTrait, rotation: &rotations::Model, event: RotationEvent) -> Result<(), LedgerError> {
    let retired = ledger_keys::retired_by(txn, rotation.id).await?;
    if let Some(gone) = retired.iter().find(|k| k.state == KeyState::Destroyed) {
        return Err(LedgerError::refused(
            "key_destroyed",
            format!("key {} is destroyed already: rotation {} can only be completed", gone.key_id, rotation.id),
        ));
    }
    let to = after::<RotationState>(event);
    let moved = rotations::Entity::update_many()
        .col_expr(rotations::Column::State, Expr::value(to))
        .col_expr(rotations::Column::OpenKeyset, Expr::value(Option::<String>::None))
        .col_expr(rotations::Column::CompletedAt, now(txn))
        .col_expr(rotations::Column::ProvedAt, Expr::value(Option::<i64>::None))
        .col_expr(rotations::Column::ApprovedAt, Expr::value(Option::<i64>::None))
        .col_expr(rotations::Column::ApprovedBy, Expr::value(Option::<String>::None))
        .col_expr(rotations::Column::StepEpoch, Expr::col(rotations::Column::StepEpoch).add(1))
        .filter(rotations::Column::Id.eq(rotation.id))
        .filter(may::<RotationState>(rotations::Column::State, event))
        .exec(txn)
        .await?;
    if moved.rows_affected != 1 {
        return Err(LedgerError::refused(
            "rotation_moved",
            format!("rotation {} is {} and cannot become {to}", rotation.id, rotation.state),
        ));
    }
    prove::void(txn, rotation.id).await
}

/// Lets its suspended keys decrypt again, and records the end. The audit's head is what all writers share: whoever took it
/// before a row that another one holds would wait in a circle.
async fn tell(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
    event: RotationEvent,
    reason: Option<&str>,
) -> Result<(), LedgerError> {
    prove::restore_suspended(txn, actor, rotation.id).await?;
    let to = after::<RotationState>(event);
    let (before, after) = (json!({"state": rotation.state}), json!({"state": to, "reason": reason}));
    let subject = format!("rotation {}", rotation.id);
    audit::record(txn, audit::Entry { actor, action: "rotation.moved", subject, before, after }).await
}
