//! What a person does to rows and fences: resolve a quarantined row, look at, print or remove a fence.

use crate::{
    census::fence_of,
    engine::{Engine, Target, by_table},
    error::EngineError,
    source::FenceState,
};
use reseal_entities::{
    catalog as catalog_row,
    ledger::{
        audit, catalog, close::close_if_nothing_is_open, keys as ledger_keys, plan, quarantine as ledger_quarantine,
        quarantine::Resolution, read,
    },
    quarantine,
    state::RotationState,
};
use sea_orm::EntityTrait;
use serde::Serialize;
use serde_json::json;

/// How a quarantined row was resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolved {
    /// The cell opens under the active key.
    Current,
    /// The cell is NULL.
    Null,
    /// The row is gone.
    Gone,
    /// The cell was set to NULL; its bytes are kept in the quarantine.
    Abandoned,
}

/// Reads a quarantined row again and takes it as resolved only when its cell is current, NULL or
/// gone. With `abandon`, a cell that is none of these is set to NULL by compare-and-swap; its bytes
/// are kept. Dying in between, the cell is NULL and its bytes already stand in the quarantine.
pub async fn resolve(
    engine: &Engine,
    actor: &str,
    id: i64,
    abandon: bool,
    note: Option<&str>,
) -> Result<Resolved, EngineError> {
    let db = engine.ledger.db();
    let Some(row) = quarantine::Entity::find_by_id(id).one(db).await? else {
        return Err(EngineError::refused(
            "unknown_quarantined_row",
            format!("there is no quarantined row {id}: see `reseal quarantine list`"),
        ));
    };
    let tables = plan::tables(db, row.rotation_id).await?;
    let Some(table) = tables.iter().find(|t| t.id == row.planned_table_id) else {
        return Err(EngineError::refused("unknown_table", format!("the table of quarantined row {id} is not planned")));
    };
    let target = engine.planned_target(table).await?;
    let position = target.columns.iter().position(|c| c.column_name == row.column_name).unwrap_or_default();
    let keyset = engine.keyring.keyset(&target.columns[position].keyset, None).await?;
    let associated_data = target.templates[position].render(std::slice::from_ref(&row.row_key));
    let seen = match target.source.cell(&target.shape, &row.row_key, &row.column_name).await? {
        None => Resolved::Gone,
        Some(None) => Resolved::Null,
        Some(Some(cell)) if keyset.decrypt(&cell, &associated_data).is_ok() => Resolved::Current,
        Some(Some(cell)) if abandon => {
            // Kept first, so that no line of this loses the bytes.
            close(engine, actor, &row, Resolution::Abandoned(cell.clone()), note).await?;
            if !target.source.abandon(&target.shape, &row.row_key, &row.column_name, &cell).await? {
                return Err(EngineError::refused(
                    "changed_underneath",
                    format!(
                        "row {} changed while it was abandoned and was left as it is: run `reseal retry {}`",
                        row.row_key, row.rotation_id
                    ),
                ));
            }
            close_if_nothing_is_open(&engine.ledger, actor, row.rotation_id).await?;
            return Ok(Resolved::Abandoned);
        }
        Some(Some(_)) => {
            return Err(EngineError::refused(
                "still_unreadable",
                format!(
                    "row {} still does not open ({}): restore its value and run this again, or give the value up with --abandon --note …",
                    row.row_key, row.code
                ),
            ));
        }
    };
    close(engine, actor, &row, Resolution::Seen, note).await?;
    close_if_nothing_is_open(&engine.ledger, actor, row.rotation_id).await?;
    Ok(seen)
}

async fn close(
    engine: &Engine,
    actor: &str,
    row: &quarantine::Model,
    how: Resolution,
    note: Option<&str>,
) -> Result<(), EngineError> {
    let txn = engine.ledger.begin().await?;
    if !ledger_quarantine::resolve_if_unresolved(&txn, actor, row, how, note).await? {
        return Err(EngineError::refused(
            "resolved_already",
            format!("quarantined row {} is {:?} already", row.id, row.state),
        ));
    }
    txn.commit().await?;
    Ok(())
}

/// One column's fence.
#[derive(Clone, Debug, Serialize)]
pub struct ColumnFence {
    /// `source:schema.table.column`.
    pub column: String,
    /// How many keys it refuses.
    pub denied_keys: usize,
    /// As it stands in the source.
    pub state: FenceState,
}

/// The fences of every registered column, as they stand in the sources.
pub async fn fences(engine: &Engine) -> Result<Vec<ColumnFence>, EngineError> {
    let (db, mut found) = (engine.ledger.db(), Vec::new());
    let keys = ledger_keys::all(db).await?;
    for table in by_table(catalog::registered(db).await?) {
        let target = engine.target(table).await?;
        let mut prover = target.source.prover().await?;
        for column in &target.columns {
            let fence = fence_of(column, &keys);
            let state = prover.fence_state(&target.shape, &fence).await?;
            found.push(ColumnFence { column: column.path(), denied_keys: fence.denied.len(), state });
        }
        prover.release().await?;
    }
    Ok(found)
}

/// The statements that put a column's fence up, for a person to read or run.
pub async fn fence_sql(engine: &Engine, path: &str) -> Result<Vec<String>, EngineError> {
    let (target, column) = find(engine, path).await?;
    let keys = ledger_keys::all(engine.ledger.db()).await?;
    Ok(target.source.fence_sql(&target.shape, &fence_of(&column, &keys)))
}

/// Takes a column's fence down, audited. Refused while a rotation of its keyset proves, waits or
/// clears: its proof stands on the fence.
pub async fn remove_fence(engine: &Engine, actor: &str, path: &str) -> Result<(), EngineError> {
    let (target, column) = find(engine, path).await?;
    for rotation in read::rotations(engine.ledger.db(), 1_000).await? {
        let needs = matches!(rotation.state, RotationState::Proving | RotationState::Waiting | RotationState::Clearing);
        if needs && rotation.keyset == column.keyset {
            return Err(EngineError::refused(
                "fence_in_use",
                format!("rotation {} is {} and stands on this fence: let it end first", rotation.id, rotation.state),
            ));
        }
    }
    let txn = engine.ledger.begin().await?;
    let entry = audit::Entry {
        actor,
        action: "fence.removed",
        subject: path.to_owned(),
        before: json!(null),
        after: json!(null),
    };
    audit::record(&txn, entry).await?;
    target.source.unfence(&target.shape, &column.column_name).await?;
    txn.commit().await?;
    Ok(())
}

async fn find(engine: &Engine, path: &str) -> Result<(Target, catalog_row::Model), EngineError> {
    for table in by_table(catalog::registered(engine.ledger.db()).await?) {
        if let Some(column) =
            table.iter().find(|c| c.path() == path || format!("{}.{}", c.table_name, c.column_name) == path).cloned()
        {
            return Ok((engine.target(table).await?, column));
        }
    }
    Err(EngineError::refused("unknown_column", format!("`{path}` is not registered: see `reseal fence list`")))
}
