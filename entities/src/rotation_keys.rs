//! The keys that a rotation retires, pinned when it promotes its own.

use sea_orm::entity::prelude::*;

/// One key that one rotation retires.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_rotation_keys")]
pub struct Model {
    /// The rotation.
    #[sea_orm(primary_key, auto_increment = false)]
    pub rotation_id: i64,
    /// The key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_id: i64,
    /// The key's generation then. A key that was active again since is not this rotation's to clear.
    pub generation: i64,
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
    /// The key.
    #[sea_orm(belongs_to = "super::keys::Entity", from = "Column::KeyId", to = "super::keys::Column::KeyId")]
    Key,
}

impl ActiveModelBehavior for ActiveModel {}
