//! The rotation's own steps (plan, prove, clear): one worker at a time, by lease and epoch.

use super::{
    LedgerError, audit, dispatch, read,
    time::{CLOCK_SLACK_MS, LEASE_MS, STEP_PAUSE_MAX_MS, has_come, is_over, now, now_plus, pause_until},
};
use crate::{rotations, state::RotationState};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait},
};
use serde_json::json;

/// Codes of refusals that are one worker's, whose configuration lacks something or says something else: another
/// worker may do the step, so they cost no growing pause. A person looks all the same: perhaps no worker can.
pub const OF_ONE_WORKER: [&str; 3] = ["source_not_configured", "source_is_another", "source_is_older"];

/// Takes a rotation's step if it is due, not paused, in one of `states` and nobody holds it.
pub async fn claim_if_due(
    db: &impl ConnectionTrait,
    rotation_id: i64,
    worker: &str,
    states: &[RotationState],
) -> Result<Option<rotations::Model>, LedgerError> {
    // As with a batch, the epoch is named.
    let Some(seen) = rotations::Entity::find_by_id(rotation_id).one(db).await? else { return Ok(None) };
    let lease_over = Condition::any().add(rotations::Column::StepLeaseUntil.is_null()).add(is_over(
        db,
        rotations::Column::StepLeaseUntil,
        LEASE_MS,
    ));
    let claimed = rotations::Entity::update_many()
        .col_expr(rotations::Column::StepEpoch, Expr::value(seen.step_epoch + 1))
        .col_expr(rotations::Column::StepLeaseUntil, now_plus(db, LEASE_MS))
        .col_expr(rotations::Column::StepWorker, Expr::value(worker))
        .filter(rotations::Column::Id.eq(rotation_id))
        .filter(rotations::Column::StepEpoch.eq(seen.step_epoch))
        .filter(rotations::Column::State.is_in(states.iter().copied()))
        .filter(rotations::Column::PausedAt.is_null())
        .filter(has_come(db, rotations::Column::StepDueAt, STEP_PAUSE_MAX_MS))
        .filter(lease_over)
        .exec(db)
        .await?;
    if claimed.rows_affected == 0 {
        return Ok(None);
    }
    let held = rotations::Entity::find_by_id(rotation_id).filter(rotations::Column::StepEpoch.eq(seen.step_epoch + 1));
    Ok(held.one(db).await?)
}

/// Holds on to a claimed step. False: somebody else has it, or it was paused.
pub async fn renew_if_held(db: &impl ConnectionTrait, rotation_id: i64, epoch: i64) -> Result<bool, LedgerError> {
    let renewed = rotations::Entity::update_many()
        .col_expr(rotations::Column::StepLeaseUntil, now_plus(db, LEASE_MS))
        .filter(rotations::Column::Id.eq(rotation_id))
        .filter(rotations::Column::StepEpoch.eq(epoch))
        .filter(rotations::Column::PausedAt.is_null())
        .exec(db)
        .await?;
    Ok(renewed.rows_affected == 1)
}

/// Says what a step that is held waits for, or with none that it waits no more. Changes nothing when somebody else
/// holds it by now.
pub async fn note_if_held(
    db: &impl ConnectionTrait,
    rotation_id: i64,
    epoch: i64,
    waits_for: Option<(&str, &str)>,
) -> Result<(), LedgerError> {
    rotations::Entity::update_many()
        .col_expr(rotations::Column::StepCode, Expr::value(waits_for.map(|(code, _)| code.to_owned())))
        .col_expr(rotations::Column::StepDetail, Expr::value(waits_for.map(|(_, detail)| detail.to_owned())))
        .filter(rotations::Column::Id.eq(rotation_id))
        .filter(rotations::Column::StepEpoch.eq(epoch))
        .exec(db)
        .await?;
    Ok(())
}

/// Until when an ended rotation of this keyset may still have somebody at one of its steps: whoever held
/// it when it was cancelled or turned round finds out when it renews, and its lease says when at the latest. A lease that
/// lies further ahead than any is by a clock that was wrong: a whole one is waited for instead, from now.
pub async fn left_over_until(db: &impl ConnectionTrait, keyset: &str) -> Result<Option<i64>, LedgerError> {
    rotations::Entity::update_many()
        .col_expr(rotations::Column::StepLeaseUntil, now_plus(db, LEASE_MS))
        .filter(rotations::Column::Keyset.eq(keyset))
        .filter(rotations::Column::OpenKeyset.is_null())
        .filter(Expr::col(rotations::Column::StepLeaseUntil).gt(now_plus(db, LEASE_MS + CLOCK_SLACK_MS)))
        .exec(db)
        .await?;
    let ended = rotations::Entity::find()
        .filter(rotations::Column::Keyset.eq(keyset))
        .filter(rotations::Column::OpenKeyset.is_null())
        .filter(Expr::col(rotations::Column::StepLeaseUntil).gte(now(db)));
    Ok(ended.all(db).await?.iter().filter_map(|r| r.step_lease_until).max())
}

/// How a step was left.
#[derive(Clone, Debug)]
pub struct Left {
    /// When it is due again, from now.
    pub again_in_ms: i64,
    /// What it waits for or what stops it; none when all is well.
    pub code: Option<String>,
    /// The same for people.
    pub detail: Option<String>,
    /// It failed, so the failures in a row rise; otherwise they start again at none.
    pub failed: bool,
}

/// Gives a step back. Changes nothing when somebody else holds it by now.
pub async fn leave_if_held(
    db: &impl ConnectionTrait,
    rotation_id: i64,
    epoch: i64,
    left: Left,
) -> Result<(), LedgerError> {
    let failures = Expr::col(rotations::Column::StepFailures);
    let since = match &left.code {
        None => Expr::value(Option::<i64>::None),
        Some(code) => {
            let same = Expr::col(rotations::Column::StepCode).eq(code).and(rotations::Column::StepSince.is_not_null());
            Expr::case(same, Expr::col(rotations::Column::StepSince)).finally(now(db)).into()
        }
    };
    rotations::Entity::update_many()
        .col_expr(rotations::Column::StepLeaseUntil, Expr::value(Option::<i64>::None))
        .col_expr(rotations::Column::StepDueAt, pause_until(db, left.again_in_ms, STEP_PAUSE_MAX_MS))
        .col_expr(rotations::Column::NextRingAt, Expr::value(0))
        .col_expr(rotations::Column::StepFailures, if left.failed { failures.add(1) } else { Expr::value(0) })
        .col_expr(rotations::Column::StepSince, since)
        .col_expr(rotations::Column::StepCode, Expr::value(left.code))
        .col_expr(rotations::Column::StepDetail, Expr::value(left.detail))
        .filter(rotations::Column::Id.eq(rotation_id))
        .filter(rotations::Column::StepEpoch.eq(epoch))
        .exec(db)
        .await?;
    Ok(())
}

/// Ends the lease of a step that was paused under its worker, and leaves the rest as it was. Changes nothing when another
/// worker holds it by now.
pub async fn let_go_if_held(db: &impl ConnectionTrait, rotation_id: i64, epoch: i64) -> Result<(), LedgerError> {
    rotations::Entity::update_many()
        .col_expr(rotations::Column::StepLeaseUntil, Expr::value(Option::<i64>::None))
        .filter(rotations::Column::Id.eq(rotation_id))
        .filter(rotations::Column::StepEpoch.eq(epoch))
        .exec(db)
        .await?;
    Ok(())
}

/// Keeps what a held step remembers for its next try.
pub async fn remember_if_held(
    db: &impl ConnectionTrait,
    rotation: &rotations::Model,
    memo: Option<String>,
) -> Result<(), LedgerError> {
    rotations::Entity::update_many()
        .col_expr(rotations::Column::StepMemo, Expr::value(memo))
        .filter(rotations::Column::Id.eq(rotation.id))
        .filter(rotations::Column::StepEpoch.eq(rotation.step_epoch))
        .exec(db)
        .await?;
    Ok(())
}

/// Pauses a rotation. Its workers stop at the next chunk. In the caller's transaction; refused once it has ended.
/// False: it was paused before, and nothing changed, also not who paused it and why.
pub async fn pause(
    txn: &impl ConnectionTrait,
    rotation_id: i64,
    actor: &str,
    reason: Option<&str>,
) -> Result<bool, LedgerError> {
    refuse_ended(&read::locked(txn, rotation_id).await?, "paused")?;
    let paused = rotations::Entity::update_many()
        .col_expr(rotations::Column::PausedAt, now(txn))
        .col_expr(rotations::Column::PausedBy, Expr::value(actor))
        .col_expr(rotations::Column::PausedReason, Expr::value(reason.map(str::to_owned)))
        .filter(rotations::Column::Id.eq(rotation_id))
        .filter(rotations::Column::OpenKeyset.is_not_null())
        .filter(rotations::Column::PausedAt.is_null())
        .exec(txn)
        .await?;
    note(txn, paused.rows_affected, rotation_id, actor, "rotation.paused", (json!(null), json!({"reason": reason})))
        .await
}

/// Lets a paused rotation resume where it was; everything open of it is due for a ring at once. In the caller's transaction; refused once it has ended. False: it was
/// not paused, and nothing changed.
pub async fn resume(txn: &impl ConnectionTrait, rotation_id: i64, actor: &str) -> Result<bool, LedgerError> {
    let rotation = read::locked(txn, rotation_id).await?;
    refuse_ended(&rotation, "resumed")?;
    let resumed = rotations::Entity::update_many()
        .col_expr(rotations::Column::PausedAt, Expr::value(Option::<i64>::None))
        .col_expr(rotations::Column::PausedBy, Expr::value(Option::<String>::None))
        .col_expr(rotations::Column::PausedReason, Expr::value(Option::<String>::None))
        .col_expr(rotations::Column::StepMemo, Expr::value(Option::<String>::None))
        .col_expr(rotations::Column::StepDueAt, Expr::value(0))
        .filter(rotations::Column::Id.eq(rotation_id))
        .filter(rotations::Column::OpenKeyset.is_not_null())
        .filter(rotations::Column::PausedAt.is_not_null())
        .exec(txn)
        .await?;
    if resumed.rows_affected == 1 {
        dispatch::ring_again(txn, rotation_id).await?;
    }
    let before = json!({"paused_by": rotation.paused_by, "reason": rotation.paused_reason});
    note(txn, resumed.rows_affected, rotation_id, actor, "rotation.resumed", (before, json!({}))).await
}

/// The same of the pause that began at `seen`: another one, which came since, stays (`paused_anew`).
pub async fn resume_if_seen(
    txn: &impl ConnectionTrait,
    rotation_id: i64,
    actor: &str,
    seen: i64,
) -> Result<bool, LedgerError> {
    let paused_at = read::locked(txn, rotation_id).await?.paused_at;
    if paused_at.is_some_and(|at| at != seen) {
        let message = format!("rotation {rotation_id} was paused anew since: look who did it, and why");
        return Err(LedgerError::refused("paused_anew", message));
    }
    resume(txn, rotation_id, actor).await
}

fn refuse_ended(rotation: &rotations::Model, what: &str) -> Result<(), LedgerError> {
    if rotation.open_keyset.is_some() {
        return Ok(());
    }
    let message = format!("rotation {} is {}: there is nothing to be {what}", rotation.id, rotation.state);
    Err(LedgerError::refused("rotation_ended", message))
}

async fn note(
    txn: &impl ConnectionTrait,
    rows: u64,
    rotation_id: i64,
    actor: &str,
    action: &'static str,
    (before, after): (serde_json::Value, serde_json::Value),
) -> Result<bool, LedgerError> {
    if rows == 1 {
        let subject = format!("rotation {rotation_id}");
        audit::record(txn, audit::Entry { actor, action, subject, before, after }).await?;
    }
    Ok(rows == 1)
}
