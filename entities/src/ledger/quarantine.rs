//! Rows that could not be re-encrypted: found, settled, given up.

mod kept;

pub use kept::keep_bytes_if_unresolved;

use super::{LedgerError, audit, time::now};
use crate::quarantine::{self, QuarantineState};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, OnConflict},
};
use serde_json::json;
use sha2::{Digest, Sha256};

/// A cell that could not be re-encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The row's primary key as canonical text.
    pub row_key: String,
    /// The column.
    pub column_name: String,
    /// Why; a stable code.
    pub code: &'static str,
    /// The key id in its header, if it has one.
    pub found_key_id: Option<i64>,
    /// Its length in bytes.
    pub cell_bytes: i64,
}

/// Writes findings down. A cell that was found before is open again, with what is wrong now; a
/// caller does this before its cursor passes the row.
pub async fn found(
    db: &impl ConnectionTrait,
    rotation_id: i64,
    planned_table_id: i64,
    batch_id: Option<i64>,
    findings: &[Finding],
) -> Result<(), LedgerError> {
    let found_at = super::time::now_ms(db).await?;
    for some in findings.chunks(200) {
        let rows = some.iter().map(|f| quarantine::ActiveModel {
            rotation_id: Set(rotation_id),
            planned_table_id: Set(planned_table_id),
            batch_id: Set(batch_id),
            row_key: Set(f.row_key.clone()),
            row_hash: Set(hex::encode(Sha256::digest(&f.row_key))),
            column_name: Set(f.column_name.clone()),
            code: Set(f.code.to_owned()),
            found_key_id: Set(f.found_key_id),
            cell_bytes: Set(f.cell_bytes),
            live: Set(Some(true)),
            state: Set(QuarantineState::Open),
            found_at: Set(found_at),
            ..Default::default()
        });
        let cell = [
            quarantine::Column::PlannedTableId,
            quarantine::Column::RowHash,
            quarantine::Column::ColumnName,
            quarantine::Column::Live,
        ];
        let now_wrong = [
            quarantine::Column::BatchId,
            quarantine::Column::Code,
            quarantine::Column::FoundKeyId,
            quarantine::Column::CellBytes,
            quarantine::Column::State,
            quarantine::Column::FoundAt,
        ];
        quarantine::Entity::insert_many(rows)
            .on_conflict(OnConflict::columns(cell).update_columns(now_wrong).to_owned())
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

/// Settles the rows of a batch that were asked to be looked at again and did not turn up as bad.
pub(crate) async fn settle_batch(txn: &impl ConnectionTrait, batch_id: i64) -> Result<(), LedgerError> {
    let rows = quarantine::Entity::update_many().filter(quarantine::Column::BatchId.eq(batch_id));
    settle(txn, rows).await
}

/// Marks every open row of a table to be looked at again by the sweep that begins.
pub async fn look_again(txn: &impl ConnectionTrait, planned_table_id: i64) -> Result<(), LedgerError> {
    quarantine::Entity::update_many()
        .col_expr(quarantine::Column::State, Expr::value(QuarantineState::Retrying))
        .col_expr(quarantine::Column::BatchId, Expr::value(Option::<i64>::None))
        .filter(quarantine::Column::PlannedTableId.eq(planned_table_id))
        .filter(quarantine::Column::State.eq(QuarantineState::Open))
        .exec(txn)
        .await?;
    Ok(())
}

/// Settles the rows of a table that a whole sweep looked at again and did not find bad.
pub async fn settle_table(txn: &impl ConnectionTrait, planned_table_id: i64) -> Result<(), LedgerError> {
    let rows = quarantine::Entity::update_many().filter(quarantine::Column::PlannedTableId.eq(planned_table_id));
    settle(txn, rows).await
}

/// Settles the rows of a table that stand in columns other than these: their columns were forgotten, so that nothing of theirs
/// is re-encrypted any longer. Says how many there were.
pub(super) async fn settle_forgotten(
    txn: &impl ConnectionTrait,
    planned_table_id: i64,
    columns: &[&str],
) -> Result<u64, LedgerError> {
    let settled = quarantine::Entity::update_many()
        .col_expr(quarantine::Column::State, Expr::value(QuarantineState::Resolved))
        .col_expr(quarantine::Column::Live, kept::live_unless_kept())
        .col_expr(quarantine::Column::Note, Expr::value("its column was forgotten"))
        .col_expr(quarantine::Column::ResolvedAt, now(txn))
        .filter(quarantine::Column::PlannedTableId.eq(planned_table_id))
        .filter(quarantine::Column::ColumnName.is_not_in(columns.iter().copied()))
        .filter(quarantine::Column::State.is_in(QuarantineState::UNRESOLVED));
    Ok(settled.exec(txn).await?.rows_affected)
}

async fn settle(txn: &impl ConnectionTrait, rows: sea_orm::UpdateMany<quarantine::Entity>) -> Result<(), LedgerError> {
    rows.col_expr(quarantine::Column::State, Expr::value(QuarantineState::Resolved))
        .col_expr(quarantine::Column::Live, kept::live_unless_kept())
        .col_expr(quarantine::Column::ResolvedAt, now(txn))
        .filter(quarantine::Column::State.eq(QuarantineState::Retrying))
        .exec(txn)
        .await?;
    Ok(())
}

/// Closes an unresolved row: its cell was seen current, NULL or gone, or (`Abandoned`) was given up.
/// False: it was not unresolved any more.
pub async fn resolve_if_unresolved(
    txn: &impl ConnectionTrait,
    actor: &str,
    row: &quarantine::Model,
    state: QuarantineState,
    note: Option<&str>,
) -> Result<bool, LedgerError> {
    let live = match state {
        QuarantineState::Abandoned => Expr::value(Option::<bool>::None),
        _ => kept::live_unless_kept(),
    };
    let resolved = quarantine::Entity::update_many()
        .col_expr(quarantine::Column::State, Expr::value(state))
        .col_expr(quarantine::Column::Live, live)
        .col_expr(quarantine::Column::ResolvedBy, Expr::value(actor))
        .col_expr(quarantine::Column::Note, Expr::value(note.map(str::to_owned)))
        .col_expr(quarantine::Column::ResolvedAt, now(txn))
        .filter(quarantine::Column::Id.eq(row.id))
        .filter(quarantine::Column::State.is_in(QuarantineState::UNRESOLVED))
        .exec(txn)
        .await?;
    if resolved.rows_affected == 1 {
        let entry = audit::Entry {
            actor,
            action: "quarantine.resolved",
            subject: format!("quarantined row {}", row.id),
            before: json!({"state": row.state, "code": row.code}),
            after: json!({"state": state, "note": note}),
        };
        audit::record(txn, entry).await?;
    }
    Ok(resolved.rows_affected == 1)
}

/// Quarantined rows of one rotation or of all, newest first; only the unresolved ones unless asked.
pub async fn list(
    db: &impl ConnectionTrait,
    rotation_id: Option<i64>,
    resolved_too: bool,
    limit: u64,
) -> Result<Vec<quarantine::Model>, LedgerError> {
    let mut rows = quarantine::Entity::find().order_by_desc(quarantine::Column::Id).limit(limit);
    if let Some(id) = rotation_id {
        rows = rows.filter(quarantine::Column::RotationId.eq(id));
    }
    if !resolved_too {
        rows = rows.filter(quarantine::Column::State.is_in(QuarantineState::UNRESOLVED));
    }
    Ok(rows.all(db).await?)
}
