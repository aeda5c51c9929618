//! Planning again: the registered columns are not those that a rotation was planned with.

use super::{advance_if_held, tables};
use crate::{
    batches, catalog,
    ledger::{LedgerError, after, audit, catalog as catalog_rows, faults, may, quarantine as rows, steps, time::now},
    planned_tables, quarantine, rotations,
    state::{BatchEvent, BatchState, RotationEvent},
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait},
};
use serde_json::json;

/// Whether a table's pinned columns are the registered ones: the columns themselves, since a renamed one leaves their number
/// as it was, and how their cells are written. That one was adopted since only makes it stricter.
pub fn is_pinned_as(pinned: &planned_tables::Model, registered: &[catalog::Model]) -> bool {
    type What<'a> = (i64, &'a str, &'a str, &'a str, &'a str, &'a str);
    fn what(c: &catalog::Model) -> What<'_> {
        (c.id, &c.column_name, &c.associated_data, &c.primary_key, &c.format, &c.encoding)
    }
    let (pinned, mut registered) = (pinned.columns(), registered.iter().map(what).collect::<Vec<_>>());
    let mut pinned: Vec<_> = pinned.iter().map(what).collect();
    pinned.sort_unstable();
    registered.sort_unstable();
    pinned == registered
}

/// True when a column of the rotation's keyset was registered, changed or forgotten since it was planned.
pub async fn is_outdated(db: &impl ConnectionTrait, rotation: &rotations::Model) -> Result<bool, LedgerError> {
    let mut registered = catalog_rows::registered(db).await?;
    registered.retain(|c| c.keyset == rotation.keyset);
    for table in tables(db, rotation.id).await? {
        let of_table = |c: &catalog::Model| {
            (&c.source, &c.schema_name, &c.table_name) == (&table.source, &table.schema_name, &table.table_name)
        };
        let (here, others) = registered.into_iter().partition::<Vec<_>, _>(of_table);
        if !is_pinned_as(&table, &here) {
            return Ok(true);
        }
        registered = others;
    }
    Ok(!registered.is_empty())
}

/// Sends a rotation that is proving back to plan with the columns that are registered now.
pub async fn reopen_if_held(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
) -> Result<(), LedgerError> {
    advance_if_held(txn, actor, rotation, RotationEvent::Replan).await?;
    rotations::Entity::update_many()
        .col_expr(rotations::Column::PlanningDone, Expr::value(false))
        .col_expr(rotations::Column::Replans, Expr::col(rotations::Column::Replans).add(1))
        .filter(rotations::Column::Id.eq(rotation.id))
        .exec(txn)
        .await?;
    Ok(())
}

/// Pins a table with the columns that are registered now, in the caller's transaction. All of it is cut again, and what is
/// current by then is found current; the open batches of before are withdrawn, since the new ones cover their rows.
pub async fn recut_table_if_held(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
    table: &planned_tables::Model,
    columns: &[catalog::Model],
    max_key: Option<String>,
) -> Result<(), LedgerError> {
    hold(txn, rotation).await?;
    let uncounted = withdraw(txn, table, columns).await?;
    planned_tables::Entity::update_many()
        .col_expr(planned_tables::Column::Columns, Expr::value(json!(columns).to_string()))
        .col_expr(planned_tables::Column::PlannedUpTo, Expr::value(Option::<String>::None))
        .col_expr(planned_tables::Column::PlanningDone, Expr::value(max_key.is_none()))
        .col_expr(planned_tables::Column::MaxKey, Expr::value(max_key))
        .col_expr(planned_tables::Column::Rows, Expr::col(planned_tables::Column::Rows).sub(uncounted.rows))
        .col_expr(planned_tables::Column::LeftAt, Expr::value(Option::<i64>::None))
        .filter(planned_tables::Column::Id.eq(table.id))
        .exec(txn)
        .await?;
    faults::end(txn, table.id).await?; // it was perhaps a column that is no longer there
    record(txn, actor, rotation, table, columns, uncounted).await
}

/// Takes a table out of the plan none of whose columns is registered any longer, in the caller's transaction: its open
/// batches are withdrawn and its quarantined rows settled. Whatever cells it still holds, the proof looks for.
pub async fn leave_table_if_held(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
    table: &planned_tables::Model,
) -> Result<(), LedgerError> {
    hold(txn, rotation).await?;
    let uncounted = withdraw(txn, table, &[]).await?;
    planned_tables::Entity::update_many()
        .col_expr(planned_tables::Column::PlanningDone, Expr::value(true))
        .col_expr(planned_tables::Column::Rows, Expr::col(planned_tables::Column::Rows).sub(uncounted.rows))
        .col_expr(planned_tables::Column::LeftAt, now(txn))
        .filter(planned_tables::Column::Id.eq(table.id))
        .exec(txn)
        .await?;
    record(txn, actor, rotation, table, &[], uncounted).await
}

async fn hold(txn: &impl ConnectionTrait, rotation: &rotations::Model) -> Result<(), LedgerError> {
    if steps::renew_if_held(txn, rotation.id, rotation.step_epoch).await? {
        return Ok(());
    }
    Err(LedgerError::LeaseLost)
}

/// What was withdrawn from a table.
#[derive(Clone, Copy, Debug, Default)]
struct Withdrawn {
    batches: u64,
    /// Rows of theirs that nobody looked at.
    rows: i64,
    quarantined: u64,
}

#[derive(FromQueryResult)]
struct Open {
    rows: i64,
    rows_counted: i64,
}

/// Withdraws a table's open batches, and settles the quarantined rows of columns that it no longer has.
async fn withdraw(
    txn: &impl ConnectionTrait,
    table: &planned_tables::Model,
    columns: &[catalog::Model],
) -> Result<Withdrawn, LedgerError> {
    let open = batches::Column::PlannedTableId.eq(table.id).and(batches::Column::State.is_in(BatchState::OPEN));
    let counted = batches::Entity::find()
        .select_only()
        .columns([batches::Column::Rows, batches::Column::RowsCounted])
        .filter(open.clone());
    let counted: Vec<Open> = counted.into_model().all(txn).await?;
    let withdrawn = batches::Entity::update_many()
        .col_expr(batches::Column::State, Expr::value(after::<BatchState>(BatchEvent::Withdraw)))
        .col_expr(batches::Column::LeaseUntil, Expr::value(Option::<i64>::None))
        .filter(may::<BatchState>(batches::Column::State, BatchEvent::Withdraw))
        .filter(open)
        .exec(txn)
        .await?;
    // Rows of columns that stay are the sweep's, as after a split.
    quarantine::Entity::update_many()
        .col_expr(quarantine::Column::BatchId, Expr::value(Option::<i64>::None))
        .filter(quarantine::Column::PlannedTableId.eq(table.id))
        .filter(quarantine::Column::State.is_in(quarantine::QuarantineState::UNRESOLVED))
        .exec(txn)
        .await?;
    let names: Vec<&str> = columns.iter().map(|c| c.column_name.as_str()).collect();
    let quarantined = rows::settle_forgotten(txn, table.id, &names).await?;
    let rows = counted.iter().map(|b| std::cmp::max(b.rows - b.rows_counted, 0)).sum();
    Ok(Withdrawn { batches: withdrawn.rows_affected, rows, quarantined })
}

async fn record(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
    table: &planned_tables::Model,
    columns: &[catalog::Model],
    withdrawn: Withdrawn,
) -> Result<(), LedgerError> {
    let names = |columns: &[catalog::Model]| columns.iter().map(|c| c.column_name.clone()).collect::<Vec<_>>();
    let before = json!({"table": table.path(), "columns": names(&table.columns())});
    let after = json!({
        "columns": names(columns), "batches_withdrawn": withdrawn.batches, "quarantined_rows_settled": withdrawn.quarantined,
    });
    let subject = format!("rotation {}", rotation.id);
    audit::record(txn, audit::Entry { actor, action: "rotation.replanned", subject, before, after }).await
}
