//! What failed in a rotation, grouped by cause: few lines for however many batches and rows.

mod causes;

pub use causes::{Nature, cause};

use super::{LedgerError, plan, read};
use crate::{
    batches,
    quarantine::{self, QuarantineState},
    state::BatchState,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait, Func},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failed {
    /// Batches, after too many tries.
    Batches,
    /// Rows that are quarantined.
    Rows,
}

/// Batches that failed, or rows that are quarantined, for one code in one table. `retry` with this code and table
/// does them again. Times are Unix milliseconds, database time.
#[derive(Clone, Debug, Serialize)]
pub struct Failures {
    /// What failed.
    pub failed: Failed,
    /// Stable.
    pub code: String,
    /// `source:schema.table`.
    pub table: String,
    /// Failed batches; of quarantined rows, batches that they stand in.
    pub batches: i64,
    /// Rows: of failed batches, those that are not looked at yet.
    pub rows: i64,
    /// When it happened first, of what is still so.
    pub first_at: Option<i64>,
    /// When it happened last.
    pub last_at: Option<i64>,
    /// One of them, for people; never a value.
    pub sample: String,
    /// What kind of thing it is.
    pub nature: Nature,
    /// What to do.
    pub advice: &'static str,
}

#[derive(FromQueryResult)]
struct Group {
    code: Option<String>,
    planned_table_id: i64,
    batches: i64,
    rows: i64,
    first_at: Option<i64>,
    last_at: Option<i64>,
    detail: Option<String>,
    sample_id: i64,
}

/// A rotation's failures by cause, the most rows first. Three statements, whatever failed.
pub async fn failures(db: &impl ConnectionTrait, rotation_id: i64) -> Result<Vec<Failures>, LedgerError> {
    read::rotation(db, rotation_id).await?;
    let tables: BTreeMap<i64, String> =
        plan::every_table(db, rotation_id).await?.into_iter().map(|t| (t.id, t.path())).collect();
    let tell = |failed, group: Group, sample: String| {
        let code = group.code.unwrap_or_else(|| "unknown".to_owned());
        let (nature, advice) = cause(&code);
        Failures {
            failed,
            table: tables.get(&group.planned_table_id).cloned().unwrap_or_default(),
            batches: group.batches,
            rows: group.rows,
            first_at: group.first_at,
            last_at: group.last_at,
            code,
            sample,
            nature,
            advice,
        }
    };
    let mut found = Vec::new();
    for mut group in failed_batches(db, rotation_id).await? {
        let said = group.detail.take().unwrap_or_else(|| "nothing more is known".to_owned());
        let sample = format!("batch {}: {said}", group.sample_id);
        found.push(tell(Failed::Batches, group, sample));
    }
    let groups = quarantined_rows(db, rotation_id).await?;
    let samples = quarantine::Entity::find().filter(quarantine::Column::Id.is_in(groups.iter().map(|g| g.sample_id)));
    let samples: BTreeMap<i64, String> = samples.all(db).await?.into_iter().map(|row| (row.id, place(&row))).collect();
    for group in groups {
        let sample = samples.get(&group.sample_id).cloned().unwrap_or_default();
        found.push(tell(Failed::Rows, group, sample));
    }
    found.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.code.cmp(&b.code)));
    Ok(found)
}

fn place(row: &quarantine::Model) -> String {
    let under = row.found_key_id.map(|key| format!(", under key {key}")).unwrap_or_default();
    format!(
        "quarantined row {}: key {}, column {}, {} bytes{under}",
        row.id, row.row_key, row.column_name, row.cell_bytes
    )
}

/// PostgreSQL's sum of integers is no integer.
fn sum(of: Expr) -> Expr {
    Expr::from(Func::sum(of)).cast_as("bigint")
}

async fn failed_batches(db: &impl ConnectionTrait, rotation_id: i64) -> Result<Vec<Group>, LedgerError> {
    use batches::Column::{Code, Detail, FailedAt, Id, PlannedTableId, RotationId, Rows, RowsCounted, State};
    let groups = batches::Entity::find()
        .select_only()
        .columns([Code, PlannedTableId])
        .column_as(Id.count(), "batches")
        .column_as(sum(Expr::col(Rows).sub(Expr::col(RowsCounted))), "rows")
        .column_as(FailedAt.min(), "first_at")
        .column_as(FailedAt.max(), "last_at")
        .column_as(Detail.max(), "detail")
        .column_as(Id.max(), "sample_id")
        .filter(RotationId.eq(rotation_id))
        .filter(State.eq(BatchState::Failed))
        .group_by(Code)
        .group_by(PlannedTableId);
    Ok(groups.into_model().all(db).await?)
}

async fn quarantined_rows(db: &impl ConnectionTrait, rotation_id: i64) -> Result<Vec<Group>, LedgerError> {
    use quarantine::Column::{BatchId, Code, FoundAt, Id, PlannedTableId, RotationId, State};
    let groups = quarantine::Entity::find()
        .select_only()
        .columns([Code, PlannedTableId])
        .column_as(Expr::col(BatchId).count_distinct(), "batches")
        .column_as(Id.count(), "rows")
        .column_as(FoundAt.min(), "first_at")
        .column_as(FoundAt.max(), "last_at")
        .column_as(Expr::value(Option::<String>::None), "detail")
        .column_as(Id.min(), "sample_id")
        .filter(RotationId.eq(rotation_id))
        .filter(State.is_in(QuarantineState::UNRESOLVED))
        .group_by(Code)
        .group_by(PlannedTableId);
    Ok(groups.into_model().all(db).await?)
}
