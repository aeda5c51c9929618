//! Columns that the scan of unregistered columns leaves out, as a person registered them with `reseal check`. A
//! worker whose file leaves out more does not leave it out.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// One exclusion.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "reseal_exclusions")]
pub struct Model {
    /// The source's name.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(64))")]
    pub source: String,
    /// What it leaves out, as `ignore_columns` writes it.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub pattern: String,
    /// Unix milliseconds, database time.
    pub registered_at: i64,
    /// Who registered it.
    #[sea_orm(column_type = "String(StringLen::N(128))")]
    pub registered_by: String,
}

impl Model {
    /// `source:pattern`, as people name it.
    pub fn path(&self) -> String {
        format!("{}:{}", self.source, self.pattern)
    }
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
