//! Lists that may be long, a page at a time. A page begins beside an id, so that what is added meanwhile neither
//! repeats nor skips a row.

use super::LedgerError;
use crate::{
    audit, batches, planned_tables,
    quarantine::{self, QuarantineState},
    rotations,
    state::{BatchState, RotationState},
};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

/// Which rotations.
#[derive(Clone, Debug, Default)]
pub struct Rotations {
    /// Of this keyset.
    pub keyset: Option<String>,
    /// In this state.
    pub state: Option<RotationState>,
    /// Only those that have not ended, or only those that have.
    pub open: Option<bool>,
}

/// Rotations older than `before`, newest first.
pub async fn rotations(
    db: &impl ConnectionTrait,
    which: &Rotations,
    before: Option<i64>,
    limit: u64,
) -> Result<Vec<rotations::Model>, LedgerError> {
    let mut found = rotations::Entity::find().order_by_desc(rotations::Column::Id).limit(limit);
    if let Some(keyset) = &which.keyset {
        found = found.filter(rotations::Column::Keyset.eq(keyset));
    }
    if let Some(state) = which.state {
        found = found.filter(rotations::Column::State.eq(state));
    }
    match which.open {
        Some(true) => found = found.filter(rotations::Column::OpenKeyset.is_not_null()),
        Some(false) => found = found.filter(rotations::Column::OpenKeyset.is_null()),
        None => {}
    }
    if let Some(before) = before {
        found = found.filter(rotations::Column::Id.lt(before));
    }
    Ok(found.all(db).await?)
}

/// Batches of a rotation after `after`, in the order of their ids, each with its table.
pub async fn batches(
    db: &impl ConnectionTrait,
    rotation_id: i64,
    state: Option<BatchState>,
    after: Option<i64>,
    limit: u64,
) -> Result<Vec<(batches::Model, String)>, LedgerError> {
    let mut found = batches::Entity::find()
        .filter(batches::Column::RotationId.eq(rotation_id))
        .order_by_asc(batches::Column::Id)
        .limit(limit);
    if let Some(state) = state {
        found = found.filter(batches::Column::State.eq(state));
    }
    if let Some(after) = after {
        found = found.filter(batches::Column::Id.gt(after));
    }
    let found = found.all(db).await?;
    let paths = super::plan::every_table(db, rotation_id).await?;
    let with_path = |b: batches::Model| {
        let path = path_of(&paths, b.planned_table_id);
        (b, path)
    };
    Ok(found.into_iter().map(with_path).collect())
}

/// One batch and its table.
pub async fn batch(db: &impl ConnectionTrait, id: i64) -> Result<(batches::Model, String), LedgerError> {
    let found = batches::Entity::find_by_id(id).one(db).await?;
    let found = found.ok_or_else(|| unknown_batch(id))?;
    let paths = super::plan::every_table(db, found.rotation_id).await?;
    let path = path_of(&paths, found.planned_table_id);
    Ok((found, path))
}

pub(super) fn unknown_batch(id: i64) -> LedgerError {
    LedgerError::refused("unknown_batch", format!("there is no batch {id}"))
}

/// Quarantined rows of a rotation older than `before`, newest first, each with its table.
pub async fn quarantine(
    db: &impl ConnectionTrait,
    rotation_id: i64,
    state: Option<QuarantineState>,
    batch_id: Option<i64>,
    before: Option<i64>,
    limit: u64,
) -> Result<Vec<(quarantine::Model, String)>, LedgerError> {
    let mut found = quarantine::Entity::find()
        .filter(quarantine::Column::RotationId.eq(rotation_id))
        .order_by_desc(quarantine::Column::Id)
        .limit(limit);
    if let Some(state) = state {
        found = found.filter(quarantine::Column::State.eq(state));
    }
    if let Some(batch_id) = batch_id {
        found = found.filter(quarantine::Column::BatchId.eq(batch_id));
    }
    if let Some(before) = before {
        found = found.filter(quarantine::Column::Id.lt(before));
    }
    let found = found.all(db).await?;
    let paths = super::plan::every_table(db, rotation_id).await?;
    let with_path = |q: quarantine::Model| {
        let path = path_of(&paths, q.planned_table_id);
        (q, path)
    };
    Ok(found.into_iter().map(with_path).collect())
}

/// How many rows of a batch were quarantined, resolved ones too.
pub async fn quarantined_of(db: &impl ConnectionTrait, batch_id: i64) -> Result<i64, LedgerError> {
    let found = quarantine::Entity::find().filter(quarantine::Column::BatchId.eq(batch_id)).count(db).await?;
    Ok(i64::try_from(found).unwrap_or(i64::MAX))
}

/// Which entries of the audit.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// By this actor.
    pub actor: Option<String>,
    /// Of this kind.
    pub action: Option<String>,
    /// Of this thing, e.g. `rotation 3`.
    pub subject: Option<String>,
}

/// Entries of the audit before `before`, newest first.
pub async fn audit(
    db: &impl ConnectionTrait,
    which: &Audit,
    before: Option<i64>,
    limit: u64,
) -> Result<Vec<audit::Model>, LedgerError> {
    let mut found = audit::Entity::find().order_by_desc(audit::Column::Seq).limit(limit);
    let filters = [
        (audit::Column::Actor, &which.actor),
        (audit::Column::Action, &which.action),
        (audit::Column::Subject, &which.subject),
    ];
    for (column, value) in filters {
        if let Some(value) = value {
            found = found.filter(column.eq(value));
        }
    }
    if let Some(before) = before {
        found = found.filter(audit::Column::Seq.lt(before));
    }
    Ok(found.all(db).await?)
}

/// Entries of the audit after `after`, oldest first.
pub async fn audit_after(db: &impl ConnectionTrait, after: i64, limit: u64) -> Result<Vec<audit::Model>, LedgerError> {
    let found = audit::Entity::find().filter(audit::Column::Seq.gt(after)).order_by_asc(audit::Column::Seq);
    Ok(found.limit(limit).all(db).await?)
}

fn path_of(tables: &[planned_tables::Model], id: i64) -> String {
    tables.iter().find(|t| t.id == id).map(planned_tables::Model::path).unwrap_or_default()
}
