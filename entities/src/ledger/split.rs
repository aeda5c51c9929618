//! Smaller batches in the place of one: asked for by a person here, done by the batch's next owner.

use super::{LedgerError, after, audit, may};
use crate::{
    batches, rotations,
    state::{BatchEvent, BatchState, RotationState},
};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, sea_query::Expr};
use serde_json::json;

/// Asks that a batch be split: one that failed, or that waits for a worker. In the caller's transaction; a worker puts
/// two halves of what it has not looked at in its place at the next claim, seconds after the commit, or does it as it
/// is where that cannot be halved. Asked again before that, or after it, nothing changes. Says how the batch stands.
pub async fn ask(txn: &impl ConnectionTrait, actor: &str, batch_id: i64) -> Result<batches::Model, LedgerError> {
    let seen = of_id(batches::Entity::find_by_id(batch_id).one(txn).await?, batch_id)?;
    // In this order, as a retry locks them; what is decided stays so until the commit.
    let rotation = super::read::locked(txn, seen.rotation_id).await?;
    let batch = of_id(batches::Entity::find_by_id(batch_id).lock_exclusive().one(txn).await?, batch_id)?;
    if batch.split_asked && batch.state != BatchState::Failed {
        return Ok(batch);
    }
    if let Some(refused) = why_not(&rotation, &batch) {
        return Err(refused);
    }
    batches::Entity::update_many()
        .col_expr(batches::Column::State, Expr::value(after::<BatchState>(BatchEvent::AskSplit)))
        .col_expr(batches::Column::SplitAsked, Expr::value(true))
        .col_expr(batches::Column::Attempts, Expr::value(0))
        .col_expr(batches::Column::BarrenClaims, Expr::value(0))
        .col_expr(batches::Column::DueAt, Expr::value(0))
        .col_expr(batches::Column::NextRingAt, Expr::value(0))
        .filter(batches::Column::Id.eq(batch_id))
        .filter(may::<BatchState>(batches::Column::State, BatchEvent::AskSplit))
        .exec(txn)
        .await?;
    let asked = of_id(batches::Entity::find_by_id(batch_id).one(txn).await?, batch_id)?;
    let entry = audit::Entry {
        actor,
        action: "batch.split_asked",
        subject: format!("batch {batch_id}"),
        before: json!({"state": batch.state, "code": batch.code, "attempts": batch.attempts}),
        after: json!({"state": asked.state, "rotation_id": rotation.id}),
    };
    audit::record(txn, entry).await?;
    Ok(asked)
}

fn of_id(found: Option<batches::Model>, id: i64) -> Result<batches::Model, LedgerError> {
    found.ok_or_else(|| super::pages::unknown_batch(id))
}

/// Why a batch is not to be split; none: it is.
fn why_not(rotation: &rotations::Model, batch: &batches::Model) -> Option<LedgerError> {
    let (id, rotation_id) = (batch.id, rotation.id);
    if rotation.open_keyset.is_none() {
        let ended = format!("rotation {rotation_id} is {}: there is nothing to split", rotation.state);
        return Some(LedgerError::refused("rotation_ended", ended));
    }
    let why = match batch.state {
        _ if !matches!(rotation.state, RotationState::Planning | RotationState::Reencrypting) => {
            format!("rotation {rotation_id} is {}, so batch {id} is not done any more", rotation.state)
        }
        BatchState::Leased => format!("batch {id} is in hand: wait until it has failed or is given back"),
        BatchState::Done => format!("batch {id} is done"),
        BatchState::Superseded => format!("batch {id} was split already"),
        _ if batch.rows <= 1 => format!("batch {id} has one row, which cannot be split: mend the cause, then retry it"),
        BatchState::Pending | BatchState::Failed => return None,
    };
    Some(LedgerError::refused("nothing_to_split", why))
}
