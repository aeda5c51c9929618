//! One table in one rotation: what was pinned, and how far the cutting into batches has come.

use crate::catalog;
use sea_orm::entity::prelude::*;

/// One planned table.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_planned_tables")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The rotation.
    #[sea_orm(unique_key = "table")]
    pub rotation_id: i64,
    /// The source's name.
    #[sea_orm(column_type = "String(StringLen::N(64))", unique_key = "table")]
    pub source: String,
    /// The schema.
    #[sea_orm(column_type = "String(StringLen::N(128))", unique_key = "table")]
    pub schema_name: String,
    /// The table.
    #[sea_orm(column_type = "String(StringLen::N(128))", unique_key = "table")]
    pub table_name: String,
    /// The registered columns as they were when it was planned, a JSON array of catalog rows:
    /// an edited configuration does not change a rotation that runs.
    #[sea_orm(column_type = "Text")]
    pub columns: String,
    /// The largest primary key when planning began; later rows are the sweep's.
    #[sea_orm(column_type = "Text", nullable)]
    pub max_key: Option<String>,
    /// The last bound that was written; planning goes on from here.
    #[sea_orm(column_type = "Text", nullable)]
    pub planned_up_to: Option<String>,
    /// Every row up to `max_key` is in a batch.
    pub planning_done: bool,
    /// Rows in its batches.
    pub rows: i64,
    /// Rows per second of database time that workers learned, so that a new one starts from it.
    pub rows_per_second: Option<f64>,
    /// Tries in a row that ended with a fault of the source; none while it works.
    #[sea_orm(default_value = 0)]
    pub faults: i32,
    /// The last one's stable code.
    #[sea_orm(column_type = "String(StringLen::N(64))", nullable)]
    pub fault_code: Option<String>,
    /// The same for people.
    #[sea_orm(column_type = "Text", nullable)]
    pub fault_detail: Option<String>,
    /// Since when. Unix milliseconds, database time, here and below.
    pub fault_since: Option<i64>,
    /// No batch of the table is claimed before this time, and then one to try.
    pub fault_until: Option<i64>,
    /// When it left the plan, because none of its columns is registered any longer.
    pub left_at: Option<i64>,
}

impl Model {
    /// The pinned columns.
    pub fn columns(&self) -> Vec<catalog::Model> {
        serde_json::from_str(&self.columns).unwrap_or_default()
    }

    /// `source:schema.table`, as people are shown it.
    pub fn path(&self) -> String {
        format!("{}:{}.{}", self.source, self.schema_name, self.table_name)
    }

    /// Whether a person means this table by `source:schema.table` or its name alone.
    pub fn is_called(&self, name: &str) -> bool {
        self.path() == name || self.table_name == name
    }
}

/// What it points to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The rotation.
    #[sea_orm(
        belongs_to = "super::rotations::Entity",
        from = "Column::RotationId",
        to = "super::rotations::Column::Id"
    )]
    Rotation,
}

impl ActiveModelBehavior for ActiveModel {}
