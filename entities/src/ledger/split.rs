//! Smaller batches in the place of one: asked for by a person here, done by the batch's next owner.

use super::{
    LedgerError, after, audit, may,
    retry::{Named, Retried, RetryFilter},
};
use crate::{
    batches, rotations,
    state::{BatchEvent, BatchState, RotationState},
};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect, sea_query::Expr,
};
use serde_json::json;

/// Asks that a batch be split: one that failed, or that waits for a worker. In the caller's transaction; a worker puts
/// two halves of what it has not looked at in its place at the next claim, seconds after the commit, or does it as it
/// is where that cannot be halved. One that fails at it is failed without the wish, so that a retry is of the whole. Asked again
/// before that, or after it, nothing changes. Says how the batch stands.
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
    note_asked(txn, Condition::all().add(batches::Column::Id.eq(batch_id))).await?;
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

/// Asks it of every failed batch that `filter` names, however many, in the caller's transaction. Skipped are those of
/// one row, and of those named by their ids those that have not failed any more. Quarantined rows are not looked at.
pub async fn ask_matching(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation_id: i64,
    filter: &RetryFilter,
) -> Result<Retried, LedgerError> {
    let rotation = super::read::locked(txn, rotation_id).await?;
    if let Some(refused) = why_not_in(&rotation) {
        return Err(refused);
    }
    let filter = RetryFilter { quarantined: false, ..filter.clone() };
    let named = Named::new(txn, rotation_id, &filter).await?;
    let failed = named.batches_to_reopen(&[]).add(batches::Column::State.eq(BatchState::Failed));
    let matched = if filter.batch_ids.is_some() { named.batches_by_id() } else { failed.clone() };
    let matched = batches::Entity::find().filter(matched).count(txn).await?;
    let applied = note_asked(txn, failed.add(batches::Column::Rows.gt(1))).await?;
    let asked = Retried { matched, applied, skipped: matched.saturating_sub(applied), rows: 0 };
    let (subject, before) = (format!("rotation {rotation_id}"), json!(null));
    let after = json!({"filter": filter.told(), "asked": asked});
    audit::record(txn, audit::Entry { actor, action: "rotation.split_asked", subject, before, after }).await?;
    Ok(asked)
}

/// How many failed batches [`ask_matching`] would ask it of now; of one that cannot be asked, none.
pub async fn count_matching(
    db: &impl ConnectionTrait,
    rotation_id: i64,
    filter: &RetryFilter,
) -> Result<u64, LedgerError> {
    if why_not_in(&super::read::rotation(db, rotation_id).await?).is_some() {
        return Ok(0);
    }
    let filter = RetryFilter { quarantined: false, ..filter.clone() };
    let named = Named::new(db, rotation_id, &filter).await?;
    let failed = named.batches_to_reopen(&[]).add(batches::Column::State.eq(BatchState::Failed));
    Ok(batches::Entity::find().filter(failed.add(batches::Column::Rows.gt(1))).count(db).await?)
}

async fn note_asked(txn: &impl ConnectionTrait, of: Condition) -> Result<u64, LedgerError> {
    let asked = batches::Entity::update_many()
        .col_expr(batches::Column::State, Expr::value(after::<BatchState>(BatchEvent::AskSplit)))
        .col_expr(batches::Column::SplitAsked, Expr::value(true))
        .col_expr(batches::Column::Attempts, Expr::value(0))
        .col_expr(batches::Column::BarrenClaims, Expr::value(0))
        .col_expr(batches::Column::DueAt, Expr::value(0))
        .col_expr(batches::Column::NextRingAt, Expr::value(0))
        .filter(of)
        .filter(may::<BatchState>(batches::Column::State, BatchEvent::AskSplit));
    Ok(asked.exec(txn).await?.rows_affected)
}

fn of_id(found: Option<batches::Model>, id: i64) -> Result<batches::Model, LedgerError> {
    found.ok_or_else(|| super::pages::unknown_batch(id))
}

/// Why a batch is not to be split; none: it is.
fn why_not(rotation: &rotations::Model, batch: &batches::Model) -> Option<LedgerError> {
    if let Some(refused) = why_not_in(rotation) {
        return Some(refused);
    }
    let id = batch.id;
    let why = match batch.state {
        BatchState::Leased => format!("batch {id} is in hand: wait until it has failed or is given back"),
        BatchState::Done => format!("batch {id} is done"),
        BatchState::Superseded => format!("batch {id} was split already"),
        _ if batch.rows <= 1 => format!("batch {id} has one row, which cannot be split: mend the cause, then retry it"),
        BatchState::Pending | BatchState::Failed => return None,
    };
    Some(LedgerError::refused("nothing_to_split", why))
}

/// Why no batch of a rotation is to be split; none: they may be.
fn why_not_in(rotation: &rotations::Model) -> Option<LedgerError> {
    let (id, state) = (rotation.id, rotation.state);
    if rotation.open_keyset.is_none() {
        let ended = format!("rotation {id} is {state}: there is nothing to split");
        return Some(LedgerError::refused("rotation_ended", ended));
    }
    let past = format!("rotation {id} is {state}, so its batches are not done any more");
    let goes_on = matches!(state, RotationState::Planning | RotationState::Reencrypting);
    (!goes_on).then(|| LedgerError::refused("nothing_to_split", past))
}
