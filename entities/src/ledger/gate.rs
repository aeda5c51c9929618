//! The gate before a clearing, condition by condition, for people. What decides is the database's own guard and
//! [`super::clear`].

use super::{LedgerError, prove, summary::length, writers};
use crate::{catalog, rotations, state::RotationState};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use serde::Serialize;

/// One condition of the gate before clearing.
#[derive(Clone, Debug, Serialize)]
pub struct Condition {
    /// What is demanded.
    pub what: &'static str,
    /// Whether it is so.
    pub met: bool,
    /// What is in the way.
    pub detail: String,
}

/// What must hold before a rotation's old keys are cleared, and what is in the way of it.
pub(super) async fn gate(
    db: &impl ConnectionTrait,
    r: &rotations::Model,
    open: i64,
    quarantined: i64,
) -> Result<Vec<Condition>, LedgerError> {
    use RotationState::{Clearing, Completed, Waiting};
    let past = |states: &[RotationState]| states.contains(&r.state);
    let proofs = prove::current(db, r.id).await?;
    let proved: Vec<i64> = proofs.iter().map(|p| p.catalog_id).collect();
    let opened: i64 = proofs.iter().map(|p| p.opened).sum();
    let registered = catalog::Entity::find().filter(catalog::Column::ForgottenAt.is_null()).all(db).await?;
    let unproved: Vec<String> =
        registered.iter().filter(|c| !proved.contains(&c.id)).map(catalog::Model::path).collect();
    let ended = r.state == Completed; // by then every condition held
    let left = (r.clear_after_ms - r.waited_ms).max(0);
    let lagging = writers::lagging(db, r).await?;
    let mut gate = vec![
        Condition {
            what: "every batch is done",
            met: r.planning_done && open == 0,
            detail: if r.planning_done { format!("{open} open") } else { "planning goes on".to_owned() },
        },
        Condition {
            what: "no row is quarantined",
            met: quarantined == 0,
            detail: format!("{quarantined} quarantined"),
        },
        Condition {
            what: "every registered column is proved under the fence",
            met: ended || (!proved.is_empty() && unproved.is_empty()),
            detail: if !proved.is_empty() && unproved.is_empty() {
                format!("{opened} cells were opened under the keys that remain")
            } else {
                r.step_detail.clone().unwrap_or_else(|| format!("not proved: {}", unproved.join(", ")))
            },
        },
        Condition {
            what: "the waiting time is over",
            met: ended || (past(&[Waiting, Clearing]) && left == 0),
            detail: if past(&[Waiting, Clearing]) {
                format!("{} left", length(left))
            } else {
                "it begins with the proof".to_owned()
            },
        },
        Condition {
            what: "nothing holds it",
            met: r.hold_at.is_none() && r.paused_at.is_none(),
            detail: match (&r.paused_by, r.hold_at) {
                (Some(who), _) => format!("paused by {who}"),
                (None, Some(_)) => r.hold_detail.clone().unwrap_or_else(|| "a suspended key was used".to_owned()),
                (None, None) => "nothing does".to_owned(),
            },
        },
    ];
    gate.insert(
        3,
        Condition {
            what: "no live application writes with another key than the new one",
            met: ended || lagging.is_empty(),
            detail: writers::told(&lagging).unwrap_or_else(|| "none does".to_owned()),
        },
    );
    if r.needs_approval {
        gate.push(Condition {
            what: "somebody other than who asked for it has approved it",
            met: r.approved_at.is_some(),
            detail: match (&r.approved_by, r.state) {
                (Some(who), _) => format!("{who} has"),
                (None, Waiting) => format!("{} asked for it; `reseal approve {}`", r.requested_by, r.id),
                (None, _) => "there is a proof to approve once it is waiting".to_owned(),
            },
        });
    }
    Ok(gate)
}
