//! What a person does to fences: look at, print or remove one. What a person does to a quarantined row is in
//! `resolve.rs`.

pub use crate::resolve::{DeleteRow, GiveUp, Resolved, resolve};

use crate::{
    engine::{Engine, by_table},
    error::EngineError,
    fences::fence_of,
    source::{FenceState, Rule},
};
use reseal_entities::{
    catalog as catalog_row,
    ledger::{audit, catalog, keys as ledger_keys, read},
    state::RotationState,
};
use serde::Serialize;
use serde_json::json;

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
