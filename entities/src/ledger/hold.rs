//! Holding a clearing because a suspended key was used, and letting it go on.

use super::{LedgerError, audit, time::now};
use crate::{
    keys, rotation_keys, rotations,
    state::{KeyState, RotationState},
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, Query},
};
use serde_json::json;

/// Records that a cell authenticated under a suspended key, and holds its clearing until a person has looked.
/// False: the key is not suspended, or its clearing is held already. In the caller's transaction.
pub async fn note_use(txn: &impl ConnectionTrait, actor: &str, key_id: i64, place: &str) -> Result<bool, LedgerError> {
    // Rotation before key, as the proof and the wipe lock them: in the other order the alarm could be the victim of a
    // deadlock, and the key would be gone.
    let pins = rotation_keys::Entity::find().filter(rotation_keys::Column::KeyId.eq(key_id)).all(txn).await?;
    let mut pinning: Vec<i64> = pins.iter().map(|pin| pin.rotation_id).collect();
    pinning.sort_unstable();
    for rotation_id in pinning {
        super::read::locked(txn, rotation_id).await?;
    }
    let key = keys::Entity::find_by_id(key_id).lock_exclusive().one(txn).await?;
    let Some(key) = key.filter(|k| k.state == KeyState::Suspended) else { return Ok(false) };
    let pinned = Query::select()
        .column(rotation_keys::Column::RotationId)
        .from(rotation_keys::Entity)
        .and_where(rotation_keys::Column::KeyId.eq(key_id))
        .and_where(rotation_keys::Column::Generation.eq(key.generation))
        .to_owned();
    let detail = format!("suspended key {key_id} was used by {actor} for {place}");
    let held = rotations::Entity::update_many()
        .col_expr(rotations::Column::HoldAt, now(txn))
        .col_expr(rotations::Column::HoldDetail, Expr::value(&detail))
        .filter(rotations::Column::Id.in_subquery(pinned))
        .filter(rotations::Column::State.is_in([RotationState::Waiting, RotationState::Clearing]))
        .filter(rotations::Column::HoldAt.is_null())
        .exec(txn)
        .await?;
    if held.rows_affected == 0 {
        return Ok(false);
    }
    let entry = audit::Entry {
        actor,
        action: "key.used_while_suspended",
        subject: format!("key {key_id}"),
        before: json!({"state": key.state}),
        after: json!({"held": true, "place": place}),
    };
    audit::record(txn, entry).await?;
    Ok(true)
}

/// Lets a held clearing go on. In the caller's transaction. Says what held it. With `seen`, the time of the hold that a
/// person has looked at, a later one is not dismissed with it.
pub async fn dismiss(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation_id: i64,
    note: &str,
    seen: Option<i64>,
) -> Result<String, LedgerError> {
    let rotation = super::read::locked(txn, rotation_id).await?;
    if seen.is_some() && rotation.hold_at.is_some() && rotation.hold_at != seen {
        let message =
            format!("rotation {rotation_id} is held anew, by a use that came after the one that was seen: look again");
        return Err(LedgerError::refused("held_anew", message));
    }
    let dismissed = rotations::Entity::update_many()
        .col_expr(rotations::Column::HoldAt, Expr::value(Option::<i64>::None))
        .col_expr(rotations::Column::HoldDetail, Expr::value(Option::<String>::None))
        .col_expr(rotations::Column::StepDueAt, Expr::value(0))
        .col_expr(rotations::Column::NextRingAt, Expr::value(0))
        .filter(rotations::Column::Id.eq(rotation_id))
        .filter(rotations::Column::HoldAt.is_not_null())
        .exec(txn)
        .await?;
    if dismissed.rows_affected == 0 {
        return Err(LedgerError::refused("nothing_held", format!("nothing holds rotation {rotation_id}")));
    }
    let detail = rotation.hold_detail.unwrap_or_else(|| "a suspended key was used".to_owned());
    let entry = audit::Entry {
        actor,
        action: "hold.dismissed",
        subject: format!("rotation {rotation_id}"),
        before: json!({"held": detail}),
        after: json!({"note": note}),
    };
    audit::record(txn, entry).await?;
    Ok(detail)
}
