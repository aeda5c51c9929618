//! What a person does to rows and fences: resolve a quarantined row, look at, print or remove a fence.

use crate::{
    engine::{Engine, by_table},
    error::EngineError,
    fences::fence_of,
    source::{FenceState, Rule},
};
use reseal_entities::{
    catalog as catalog_row,
    ledger::{
        audit, catalog, close::close_if_nothing_is_open, keys as ledger_keys, plan, quarantine as ledger_quarantine,
        read,
    },
    quarantine::{self, QuarantineState},
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
/// gone. With `abandon`, a cell that is none of these is set to NULL by compare-and-swap, or its row
/// deleted where the column takes no NULL; its bytes are kept. Dying in between, they already stand
/// in the quarantine, and resolving again finds the cell NULL or gone. Should the place hold something else
/// by then, what it holds gets a quarantined row of its own, and that one is resolved.
pub async fn resolve(
    engine: &Engine,
    actor: &str,
    id: i64,
    abandon: bool,
    note: Option<&str>,
) -> Result<Resolved, EngineError> {
    let db = engine.ledger.db();
    let Some(mut row) = quarantine::Entity::find_by_id(id).one(db).await? else {
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
    let keyset = engine.keyring.keyset(&target.columns[position].keyset).await?;
    let layout = target.shape.columns[position].layout;
    let associated_data = target.templates[position].render(&target.shape.split_key(&row.row_key)?);
    let seen = match target.source.cell(&target.shape, &row.row_key, &row.column_name).await? {
        None => Resolved::Gone,
        Some(None) => Resolved::Null,
        Some(Some(cell)) if keyset.decrypt_from(layout, &cell, &associated_data).is_ok() => {
            if !layout.is_under(keyset.active(), &cell) {
                return Err(EngineError::refused(
                    "not_current",
                    format!(
                        "row {} opens, under an old key: run `reseal retry {} --all`",
                        row.row_key, row.rotation_id
                    ),
                ));
            }
            Resolved::Current
        }
        Some(Some(cell))
            if abandon && keyset.key_named_by(layout, &cell).is_none() && target.columns[position].was_plaintext() =>
        {
            drop(cell);
            return Err(EngineError::refused(
                "plaintext_not_kept",
                format!(
                    "row {} holds what is no cell, perhaps a plaintext, and the ledger keeps none: encrypt it, or set it to \
                     NULL yourself, and run this again",
                    row.row_key
                ),
            ));
        }
        Some(Some(cell)) if abandon => {
            // Kept first, so that no line of this loses the bytes.
            let txn = engine.ledger.begin().await?;
            let keeps = ledger_quarantine::keep_bytes_if_unresolved(&txn, actor, &row, cell.clone()).await?;
            row = keeps.ok_or_else(|| resolved_already(&row))?;
            txn.commit().await?;
            if !target.source.abandon(&target.shape, &row.row_key, &row.column_name, &cell).await? {
                return Err(EngineError::refused(
                    "changed_underneath",
                    format!(
                        "row {} changed while it was abandoned and was left as it is: look again, at quarantined row {}",
                        row.row_key, row.id
                    ),
                ));
            }
            Resolved::Abandoned
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
    let state = if seen == Resolved::Abandoned { QuarantineState::Abandoned } else { QuarantineState::Resolved };
    let txn = engine.ledger.begin().await?;
    if !ledger_quarantine::resolve_if_unresolved(&txn, actor, &row, state, note).await? {
        return Err(resolved_already(&row));
    }
    txn.commit().await?;
    close_if_nothing_is_open(&engine.ledger, actor, row.rotation_id).await?;
    Ok(seen)
}

fn resolved_already(row: &quarantine::Model) -> EngineError {
    EngineError::refused("resolved_already", format!("quarantined row {} is {:?} already", row.id, row.state))
}

/// One column's fence.
#[derive(Clone, Debug, Serialize)]
pub struct ColumnFence {
    /// `source:schema.table.column`.
    pub column: String,
    /// What it should let in or keep out, for people.
    pub rule: String,
    /// As it stands in the source.
    pub state: FenceState,
}

/// The fences of every registered column, as they stand in the sources.
pub async fn fences(engine: &Engine) -> Result<Vec<ColumnFence>, EngineError> {
    let (db, mut found) = (engine.ledger.db(), Vec::new());
    let keys = ledger_keys::all(db).await?;
    for table in by_table(catalog::registered(db).await?) {
        let target = match engine.target(table.clone()).await {
            Ok(target) => target,
            Err(e) => {
                let state = FenceState { detail: e.to_string(), ..FenceState::default() };
                found.extend(table.iter().map(|c| ColumnFence {
                    column: c.path(),
                    rule: String::new(),
                    state: state.clone(),
                }));
                continue;
            }
        };
        let mut prover = target.source.prover().await?;
        for column in &target.columns {
            let fence = fence_of(column, &keys, None);
            let state = prover.fence_state(&target.shape, &fence).await?;
            let rule = match fence.rule {
                Rule::Deny(headers) => format!("refuses {} keys", headers.len()),
                Rule::Allow(_) => "lets in the active key only".to_owned(),
            };
            found.push(ColumnFence { column: column.path(), rule, state });
        }
        prover.release().await?;
    }
    Ok(found)
}

/// The statements that put a column's fence up, for a person to read or run.
pub async fn fence_sql(engine: &Engine, path: &str) -> Result<Vec<String>, EngineError> {
    let column = find(engine, path).await?;
    let target = engine.target(vec![column.clone()]).await?;
    let keys = ledger_keys::all(engine.ledger.db()).await?;
    Ok(target.source.fence_sql(&target.shape, &fence_of(&column, &keys, None)))
}

/// Takes a column's fence down, audited before and after; also of a column that was renamed or dropped since. Refused
/// while a rotation of its keyset waits or clears: its proof stands on the fence. One that proves puts
/// the fence up again.
pub async fn remove_fence(engine: &Engine, actor: &str, path: &str) -> Result<(), EngineError> {
    let column = catalog::ever_named(engine.ledger.db(), path).await?;
    for rotation in read::rotations(engine.ledger.db(), 1_000).await? {
        let needs = matches!(rotation.state, RotationState::Waiting | RotationState::Clearing);
        if needs && rotation.keyset == column.keyset {
            return Err(EngineError::refused(
                "fence_in_use",
                format!("rotation {} is {} and stands on this fence: let it end first", rotation.id, rotation.state),
            ));
        }
    }
    let source = engine.source(&column.source)?;
    // The source is another database: dying in between leaves word of what was begun, never a fence that is down
    // and nobody's doing.
    note_fence(engine, actor, &column, "fence.removing").await?;
    source.unfence(&column.schema_name, &column.table_name, &column.column_name).await?;
    note_fence(engine, actor, &column, "fence.removed").await
}

async fn note_fence(
    engine: &Engine,
    actor: &str,
    column: &catalog_row::Model,
    action: &'static str,
) -> Result<(), EngineError> {
    let txn = engine.ledger.begin().await?;
    let entry = audit::Entry { actor, action, subject: column.path(), before: json!(null), after: json!(null) };
    audit::record(&txn, entry).await?;
    txn.commit().await?;
    Ok(())
}

/// A registered column by `source:schema.table.column` or `table.column`.
async fn find(engine: &Engine, path: &str) -> Result<catalog_row::Model, EngineError> {
    Ok(catalog::named(engine.ledger.db(), path).await?)
}
