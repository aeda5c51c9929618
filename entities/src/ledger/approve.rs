//! The two-person rule: a clearing that somebody else than who asked for it must approve.
//!
//! Who somebody is, is a name: the price is that one person with two names, by two tokens or two accounts, is two
//! to this rule.

use super::{LedgerError, audit, read, time::now};
use crate::{rotations, state::RotationState};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait},
};
use serde_json::json;

/// What came of approving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    /// By whom it is approved.
    pub by: String,
    /// This call did it; false: it was approved before, and nothing changed.
    pub changed: bool,
}

/// Approves the clearing of a rotation, which goes on at once if its waiting time is over. In the caller's
/// transaction. Refused to who asked for the rotation, and while there is no proof to approve. An approval is of
/// that proof: when it is void, so is the approval. With `seen`, the time of the proof that a person has looked at
/// (`proved_at`), a later one is not approved with it; without, it is the proof that stands.
pub async fn approve(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation_id: i64,
    seen: Option<i64>,
) -> Result<Approved, LedgerError> {
    let actor: String = actor.chars().take(128).collect(); // as the requester's name is kept
    let rotation = read::locked(txn, rotation_id).await?;
    if let Some(refused) = refusal(&rotation, &actor) {
        return Err(refused);
    }
    if let (Some(_), Some(by)) = (rotation.approved_at, rotation.approved_by) {
        return Ok(Approved { by, changed: false });
    }
    if seen.is_some() && rotation.state == RotationState::Waiting && rotation.proved_at != seen {
        let message =
            format!("rotation {rotation_id} was proved anew after the proof that was seen: look at this one first");
        return Err(LedgerError::refused("proved_anew", message));
    }
    let approved = rotations::Entity::update_many()
        .col_expr(rotations::Column::ApprovedAt, now(txn))
        .col_expr(rotations::Column::ApprovedBy, Expr::value(&actor))
        .col_expr(rotations::Column::StepDueAt, Expr::value(0))
        .col_expr(rotations::Column::NextRingAt, Expr::value(0))
        .filter(rotations::Column::Id.eq(rotation_id))
        .filter(rotations::Column::State.eq(RotationState::Waiting))
        .filter(rotations::Column::NeedsApproval.eq(true))
        .filter(rotations::Column::ApprovedAt.is_null())
        .filter(rotations::Column::RequestedBy.ne(&actor))
        .exec(txn)
        .await?;
    if approved.rows_affected != 1 {
        let message = format!(
            "rotation {rotation_id} is {}: there is a proof to approve once it is waiting, see `reseal status {rotation_id}`",
            rotation.state
        );
        return Err(LedgerError::refused("not_waiting", message));
    }
    let entry = audit::Entry {
        actor: &actor,
        action: "rotation.approved",
        subject: format!("rotation {rotation_id}"),
        before: json!({"requested_by": rotation.requested_by, "proved_at": rotation.proved_at}),
        after: json!({"approved_by": actor}),
    };
    audit::record(txn, entry).await?;
    Ok(Approved { by: actor, changed: true })
}

/// Whatever its state.
fn refusal(rotation: &rotations::Model, actor: &str) -> Option<LedgerError> {
    let id = rotation.id;
    if !rotation.needs_approval {
        let message = format!("rotation {id} needs no approval: see `reseal status {id}` for what it waits for");
        return Some(LedgerError::refused("approval_not_needed", message));
    }
    (rotation.requested_by == actor).then(|| {
        let message = format!(
            "{actor} asked for rotation {id}, so somebody else has to approve it: `reseal approve {id}` as another"
        );
        LedgerError::refused("same_person", message)
    })
}

/// True of a rotation whose clearing needs no approval, or has one. The database's own guard asks the same
/// (`migration/src/guards.rs`).
pub(super) fn approved_if_needed() -> Condition {
    let by_another = rotations::Column::ApprovedAt
        .is_not_null()
        .and(Expr::col(rotations::Column::ApprovedBy).ne(Expr::col(rotations::Column::RequestedBy)));
    Condition::any().add(rotations::Column::NeedsApproval.eq(false)).add(by_another)
}

/// Makes a rotation need an approval, because a worker's configuration says so: one way only. In the caller's
/// transaction. Changes nothing where that is so already.
pub async fn demand_if_held(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
) -> Result<(), LedgerError> {
    if rotation.needs_approval {
        return Ok(());
    }
    let demanded = rotations::Entity::update_many()
        .col_expr(rotations::Column::NeedsApproval, Expr::value(true))
        .filter(rotations::Column::Id.eq(rotation.id))
        .filter(rotations::Column::StepEpoch.eq(rotation.step_epoch))
        .filter(rotations::Column::NeedsApproval.eq(false))
        .exec(txn)
        .await?;
    if demanded.rows_affected != 1 {
        return Err(LedgerError::LeaseLost);
    }
    let entry = audit::Entry {
        actor,
        action: "rotation.approval_demanded",
        subject: format!("rotation {}", rotation.id),
        before: json!({"needs_approval": false}),
        after: json!({"needs_approval": true}),
    };
    audit::record(txn, entry).await
}
