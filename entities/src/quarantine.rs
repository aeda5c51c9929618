//! Rows that could not be re-encrypted, by reason. Never plaintext.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// Where a quarantined row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum QuarantineState {
    /// Needs a person; keeps the rotation from being proved.
    Open,
    /// Asked to be looked at again; still keeps the rotation from being proved.
    Retrying,
    /// Looked at again and found current, NULL or gone.
    Resolved,
    /// A person gave its value up; the bytes are kept here.
    Abandoned,
}

impl QuarantineState {
    /// The states that keep a rotation from being proved.
    pub const UNRESOLVED: [Self; 2] = [Self::Open, Self::Retrying];
}

/// One cell that could not be re-encrypted.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "reseal_quarantine")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The rotation that found it.
    #[sea_orm(indexed)]
    pub rotation_id: i64,
    /// The table.
    #[sea_orm(unique_key = "cell")]
    pub planned_table_id: i64,
    /// The batch; NULL when the sweep found it.
    pub batch_id: Option<i64>,
    /// The row's primary key as canonical text, however long.
    #[sea_orm(column_type = "Text", default_value = "")]
    pub row_key: String,
    /// SHA-256 of it, hexadecimal: what fits into an index.
    #[sea_orm(column_type = "String(StringLen::N(64))", unique_key = "cell", default_value = "")]
    pub row_hash: String,
    /// The column.
    #[sea_orm(column_type = "String(StringLen::N(128))", unique_key = "cell")]
    pub column_name: String,
    /// True until the row is closed and keeps bytes, then NULL: unique with the place, so that a place that turns
    /// bad again gets a row of its own and no kept bytes are ever overwritten.
    #[sea_orm(unique_key = "cell", nullable)]
    pub live: Option<bool>,
    /// Why; a stable code.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub code: String,
    /// The key id in its header, if it has one.
    pub found_key_id: Option<i64>,
    /// Its length in bytes.
    pub cell_bytes: i64,
    /// Where it stands.
    pub state: QuarantineState,
    /// The bytes of an abandoned cell. Also of one that somebody was about to give up and died: nobody knows
    /// whether it is NULL by now.
    #[sea_orm(column_type = "Blob", nullable)]
    #[serde(skip)]
    pub abandoned_cell: Option<Vec<u8>>,
    /// Who resolved it.
    #[sea_orm(column_type = "String(StringLen::N(128))", nullable)]
    pub resolved_by: Option<String>,
    /// What they said.
    #[sea_orm(column_type = "Text", nullable)]
    pub note: Option<String>,
    /// Unix milliseconds, database time, here and below.
    pub found_at: i64,
    /// When it was resolved.
    pub resolved_at: Option<i64>,
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
    /// The table.
    #[sea_orm(
        belongs_to = "super::planned_tables::Entity",
        from = "Column::PlannedTableId",
        to = "super::planned_tables::Column::Id"
    )]
    PlannedTable,
}

impl ActiveModelBehavior for ActiveModel {}
