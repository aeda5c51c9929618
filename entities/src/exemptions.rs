//! Whom an operator no longer lets hold a rotation's clearing, and why.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// What holds a clearing until it has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A standby, or a replication slot, that has not replayed what the last count saw: `source:name`.
    Replica,
    /// An application that writes with another key than the promoted one.
    Writer,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "reseal_exemptions")]
pub struct Model {
    /// The rotation.
    #[sea_orm(primary_key, auto_increment = false)]
    pub rotation_id: i64,
    /// What it is.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: Kind,
    /// Its name, as the rotation's status writes it.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(255))")]
    pub name: String,
    /// Why the operator excluded it.
    #[sea_orm(column_type = "Text")]
    pub note: String,
    /// Who did.
    #[sea_orm(column_type = "String(StringLen::N(128))")]
    pub actor: String,
    /// Unix milliseconds, database time.
    pub excluded_at: i64,
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
