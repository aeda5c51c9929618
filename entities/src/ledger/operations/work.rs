//! What the worker of an operation writes: each statement names its epoch.

use super::ask::ended;
use crate::{
    ledger::{
        LedgerError, after, audit, may,
        time::{OPERATION_PAUSE_MAX_MS, has_come, is_over, now, now_plus, pause_until},
    },
    operations,
    state::{OperationEvent, OperationState},
};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, UpdateMany,
    sea_query::{Expr, ExprTrait},
};
use serde_json::{Value, json};

pub use crate::ledger::time::LEASE_MS;
/// So many claims that nobody brings to an end are enough.
pub const ATTEMPTS_MAX: i32 = 3;

/// Takes an operation that waits and is due, or whose worker's lease has run out. None: it is not ours to do.
pub async fn claim_if_due(
    db: &impl ConnectionTrait,
    id: i64,
    worker: &str,
) -> Result<Option<operations::Model>, LedgerError> {
    // As with a batch, the epoch is named.
    let Some(seen) = operations::Entity::find_by_id(id).one(db).await? else { return Ok(None) };
    let free = Condition::any().add(operations::Column::State.eq(OperationState::Requested)).add(is_over(
        db,
        operations::Column::LeaseUntil,
        LEASE_MS,
    ));
    let claimed = operations::Entity::update_many()
        .col_expr(operations::Column::State, Expr::value(after::<OperationState>(OperationEvent::Claim)))
        .col_expr(operations::Column::Epoch, Expr::value(seen.epoch + 1))
        .col_expr(operations::Column::LeaseUntil, now_plus(db, LEASE_MS))
        .col_expr(operations::Column::Worker, Expr::value(worker))
        .col_expr(operations::Column::Attempts, Expr::col(operations::Column::Attempts).add(1))
        .col_expr(operations::Column::StartedAt, Expr::col(operations::Column::StartedAt).if_null(now(db)))
        .filter(operations::Column::Id.eq(id))
        .filter(operations::Column::Epoch.eq(seen.epoch))
        .filter(may::<OperationState>(operations::Column::State, OperationEvent::Claim))
        .filter(free)
        .filter(operations::Column::Attempts.lt(ATTEMPTS_MAX))
        .filter(has_come(db, operations::Column::DueAt, OPERATION_PAUSE_MAX_MS))
        .exec(db)
        .await?;
    if claimed.rows_affected == 0 {
        return Ok(None);
    }
    let held = operations::Entity::find_by_id(id).filter(operations::Column::Epoch.eq(seen.epoch + 1));
    Ok(held.one(db).await?)
}

/// Holds on to a claimed operation. False: somebody else has it, or it has ended.
pub async fn renew_if_held(db: &impl ConnectionTrait, operation: &operations::Model) -> Result<bool, LedgerError> {
    let renewed = operations::Entity::update_many()
        .col_expr(operations::Column::LeaseUntil, now_plus(db, LEASE_MS))
        .filter(operations::Column::Id.eq(operation.id))
        .filter(operations::Column::Epoch.eq(operation.epoch))
        .filter(operations::Column::State.eq(OperationState::Running))
        .exec(db)
        .await?;
    Ok(renewed.rows_affected == 1)
}

fn held(operation: &operations::Model, event: OperationEvent) -> UpdateMany<operations::Entity> {
    operations::Entity::update_many()
        .filter(operations::Column::Id.eq(operation.id))
        .filter(operations::Column::Epoch.eq(operation.epoch))
        .filter(may::<OperationState>(operations::Column::State, event))
        .col_expr(operations::Column::State, Expr::value(after::<OperationState>(event)))
        .col_expr(operations::Column::LeaseUntil, Expr::value(Option::<i64>::None))
}

/// Why an operation was given back.
#[derive(Clone, Debug)]
pub enum Back {
    /// Its worker drains: at once for another.
    Drained,
    /// It waits for something: later.
    Waits(String, String),
    /// It failed in a way that may pass; counts as an attempt.
    Failed(String, String),
}

/// Gives an operation back. False: somebody else has it, and nothing changed.
pub async fn release_if_held(
    db: &impl ConnectionTrait,
    operation: &operations::Model,
    again_in_ms: i64,
    back: Back,
) -> Result<bool, LedgerError> {
    let mut release = held(operation, OperationEvent::Release)
        .col_expr(operations::Column::DueAt, pause_until(db, again_in_ms, OPERATION_PAUSE_MAX_MS))
        .col_expr(operations::Column::NextRingAt, Expr::value(0));
    if !matches!(back, Back::Failed(..)) {
        release = release.col_expr(operations::Column::Attempts, Expr::value(0));
    }
    if let Back::Waits(code, detail) | Back::Failed(code, detail) = back {
        release = release
            .col_expr(operations::Column::Code, Expr::value(code))
            .col_expr(operations::Column::Detail, Expr::value(detail));
    }
    Ok(release.exec(db).await?.rows_affected == 1)
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// With this result, a JSON object.
    Succeeded(Value),
    /// It was given up.
    Failed {
        /// Stable.
        code: String,
        /// For people; never a driver's text.
        detail: String,
        /// The same as data, where there is some.
        result: Option<Value>,
    },
}

/// Writes an operation's end down and audits it, in the caller's transaction. False: somebody else has it, and
/// nothing changed.
pub async fn end_if_held(
    txn: &impl ConnectionTrait,
    actor: &str,
    operation: &operations::Model,
    end: End,
) -> Result<bool, LedgerError> {
    let (event, code, detail, result) = match end {
        End::Succeeded(result) => (OperationEvent::Succeed, None, None, Some(result)),
        End::Failed { code, detail, result } => (OperationEvent::Fail, Some(code), Some(detail), result),
    };
    write_end(txn, actor, operation, held(operation, event), event, (code, detail, result)).await
}

/// Fails an operation whose workers died at it too often, in the caller's transaction. False: it is not so, and
/// nothing changed.
pub async fn fail_if_abandoned(
    txn: &impl ConnectionTrait,
    actor: &str,
    operation: &operations::Model,
) -> Result<bool, LedgerError> {
    let abandoned = held(operation, OperationEvent::Fail)
        .filter(operations::Column::Attempts.gte(ATTEMPTS_MAX))
        .filter(is_over(txn, operations::Column::LeaseUntil, LEASE_MS));
    let detail = format!(
        "its worker died or fell silent {ATTEMPTS_MAX} times in a row, the last one was {}: see the workers' logs, then ask again",
        operation.worker.as_deref().unwrap_or("unknown")
    );
    let why = (Some("kills_its_worker".to_owned()), Some(detail), None);
    write_end(txn, actor, operation, abandoned, OperationEvent::Fail, why).await
}

async fn write_end(
    txn: &impl ConnectionTrait,
    actor: &str,
    operation: &operations::Model,
    held: UpdateMany<operations::Entity>,
    event: OperationEvent,
    (code, detail, result): (Option<String>, Option<String>, Option<Value>),
) -> Result<bool, LedgerError> {
    let written = held
        .col_expr(operations::Column::EndedAt, now(txn))
        .col_expr(operations::Column::Code, Expr::value(code.clone()))
        .col_expr(operations::Column::Detail, Expr::value(detail.clone()))
        .col_expr(operations::Column::Result, Expr::value(result.map(|r| r.to_string())))
        .exec(txn)
        .await?;
    if written.rows_affected != 1 {
        return Ok(false);
    }
    let end = json!({"state": after::<OperationState>(event), "code": code, "detail": detail});
    audit::record(txn, ended(actor, operation.id, operation.kind, Some(OperationState::Running), end)).await?;
    Ok(true)
}

/// Operations whose workers died at them too often.
pub async fn abandoned(db: &impl ConnectionTrait) -> Result<Vec<operations::Model>, LedgerError> {
    let found = operations::Entity::find()
        .filter(operations::Column::State.eq(OperationState::Running))
        .filter(operations::Column::Attempts.gte(ATTEMPTS_MAX))
        .filter(is_over(db, operations::Column::LeaseUntil, LEASE_MS));
    Ok(found.limit(100).all(db).await?)
}
