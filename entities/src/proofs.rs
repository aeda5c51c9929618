//! What was found in each registered column under the fence. Destroying a key demands a current
//! proof of every one of them.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// One column's proof in one rotation.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "reseal_proofs")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The rotation. Its pinned keys carry the generation for which the proof holds.
    #[sea_orm(indexed)]
    pub rotation_id: i64,
    /// The column.
    pub catalog_id: i64,
    /// Cells that are not NULL.
    pub cells: i64,
    /// Cells that are NULL.
    pub nulls: i64,
    /// Cells under a retired key; zero.
    pub under_retired: i64,
    /// Cells that no known key explains; zero.
    pub unaccounted: i64,
    /// The predicate that was counted.
    #[sea_orm(column_type = "Text")]
    pub predicate: String,
    /// SHA-256 over the column's definition in the live schema, hexadecimal.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub schema_fingerprint: String,
    /// SHA-256 over the fence's definition, hexadecimal; empty for a column of another keyset.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub fence_fingerprint: String,
    /// What was counted beyond the registered columns, and what was left out.
    #[sea_orm(column_type = "Text")]
    pub scope: String,
    /// The sources that were counted and scanned: a JSON array of names.
    #[sea_orm(column_type = "Text", default_value = "[]")]
    pub sources: String,
    /// The exclusions that were left out: a JSON array of `source:pattern`.
    #[sea_orm(column_type = "Text", default_value = "[]")]
    pub exclusions: String,
    /// The worker that counted.
    #[sea_orm(column_type = "String(StringLen::N(128))")]
    pub actor: String,
    /// Unix milliseconds, database time.
    pub proved_at: i64,
    /// So many cells of it were opened under the keys that remain; of the rotated keyset's columns.
    #[sea_orm(default_value = 0)]
    pub opened: i64,
    /// When it was voided; NULL while it is current.
    pub voided_at: Option<i64>,
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
    /// The column.
    #[sea_orm(belongs_to = "super::catalog::Entity", from = "Column::CatalogId", to = "super::catalog::Column::Id")]
    Catalog,
}

impl ActiveModelBehavior for ActiveModel {}
