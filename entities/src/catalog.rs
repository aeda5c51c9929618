//! The registered columns. A proof covers what stands here, not what one process's file says.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// The format of native cells.
pub const NATIVE: &str = "tink";
/// The fence that lets in nothing but cells under the active key.
pub const STRICT: &str = "strict";
/// The format of cells that are not encrypted yet.
pub const PLAINTEXT: &str = "plaintext";

// Of columns that were pinned by a rotation before these were recorded.
fn tink() -> String {
    NATIVE.to_owned()
}

fn bytes() -> String {
    "bytes".to_owned()
}

fn trigger() -> String {
    "trigger".to_owned()
}

/// One encrypted column of one table of one source.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "reseal_catalog")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The name of the source in every process's configuration.
    #[sea_orm(column_type = "String(StringLen::N(64))", unique_key = "column")]
    pub source: String,
    /// The schema as the database resolved it (`public`, `main`).
    #[sea_orm(column_type = "String(StringLen::N(128))", unique_key = "column")]
    pub schema_name: String,
    /// The table.
    #[sea_orm(column_type = "String(StringLen::N(128))", unique_key = "column")]
    pub table_name: String,
    /// The column.
    #[sea_orm(column_type = "String(StringLen::N(128))", unique_key = "column")]
    pub column_name: String,
    /// The keyset whose keys its cells are under.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub keyset: String,
    /// The template of the associated data.
    #[sea_orm(column_type = "Text")]
    pub associated_data: String,
    /// The primary key's columns, a JSON array.
    #[sea_orm(column_type = "Text")]
    pub primary_key: String,
    /// What its cells were when it was registered: `tink`, `raw-aes-gcm`, `plaintext`.
    #[sea_orm(column_type = "String(StringLen::N(16))", default_value = "tink")]
    #[serde(default = "tink")]
    pub format: String,
    /// How they are written: `bytes`, `base64` …
    #[sea_orm(column_type = "String(StringLen::N(32))", default_value = "bytes")]
    #[serde(default = "bytes")]
    pub encoding: String,
    /// What its fence refuses: `strict`, whatever is no cell under the active key; `trigger`, cells under retired keys.
    #[sea_orm(column_type = "String(StringLen::N(16))", default_value = "trigger")]
    #[serde(default = "trigger")]
    pub fence: String,
    /// When a proof found every cell native although they had not been; it is `tink` since.
    #[serde(default)]
    pub adopted_at: Option<i64>,
    /// Unix milliseconds, database time.
    pub registered_at: i64,
    /// Set when a person took it out; the proof then no longer covers it.
    pub forgotten_at: Option<i64>,
}

impl Model {
    /// `source:schema.table.column`, as people are shown it.
    pub fn path(&self) -> String {
        format!("{}:{}.{}.{}", self.source, self.schema_name, self.table_name, self.column_name)
    }

    /// Whether a person means this column by `source:schema.table.column` or `table.column`. Names with dots can
    /// make two columns answer to one text.
    pub fn is_called(&self, name: &str) -> bool {
        self.path() == name || format!("{}.{}", self.table_name, self.column_name) == name
    }

    /// The same column of the same table, registered or not.
    pub fn is_at(&self, other: &Self) -> bool {
        (&self.source, &self.schema_name, &self.table_name, &self.column_name)
            == (&other.source, &other.schema_name, &other.table_name, &other.column_name)
    }

    /// Cells that name no key are expected in it.
    pub fn is_to_be_adopted(&self) -> bool {
        self.format != NATIVE && self.adopted_at.is_none()
    }

    /// Its fence lets in nothing but cells under a current key: as it was asked for, or because its cells once were
    /// something else.
    pub fn takes_only_cells(&self) -> bool {
        self.fence == STRICT || self.format != NATIVE
    }

    /// What names no key in it may be a plaintext.
    pub fn was_plaintext(&self) -> bool {
        self.format == PLAINTEXT
    }

    /// The primary key's columns.
    pub fn primary_key(&self) -> Vec<String> {
        serde_json::from_str(&self.primary_key).unwrap_or_default()
    }
}

/// What it points to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// Its keyset.
    #[sea_orm(belongs_to = "super::keysets::Entity", from = "Column::Keyset", to = "super::keysets::Column::Name")]
    Keyset,
}

impl ActiveModelBehavior for ActiveModel {}
