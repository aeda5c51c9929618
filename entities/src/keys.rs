//! One version of a keyset. The database refuses to wipe, delete or truncate a row whose key is
//! still needed (`migration/src/guards.rs`).

use crate::state::KeyState;
use sea_orm::entity::prelude::*;

/// One key, wrapped. The row outlives the key as a tombstone.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_keys")]
pub struct Model {
    /// The random 32-bit id that stands in every cell; unique in the whole ledger, tombstones too.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_id: i64,
    /// The keyset it belongs to.
    #[sea_orm(column_type = "String(StringLen::N(64))", unique_key = "version")]
    pub keyset: String,
    /// 1, 2, 3 … within the keyset.
    #[sea_orm(unique_key = "version")]
    pub version: i32,
    /// Where it stands.
    pub state: KeyState,
    /// Rises at each activation; a proof made for an older generation never fits.
    pub generation: i64,
    /// The cipher by its Tink template, e.g. `AES256_GCM`.
    #[sea_orm(column_type = "String(StringLen::N(32))")]
    pub algorithm: String,
    /// `tink`: its cells begin with its id; `raw`: they do not.
    #[sea_orm(column_type = "String(StringLen::N(8))", default_value = "tink")]
    pub prefix: String,
    /// The fingerprint of the KEK that wraps it.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub kek_id: String,
    /// The DEK under the KEK; NULL once destroyed.
    #[sea_orm(column_type = "Blob", nullable)]
    pub wrapped_dek: Option<Vec<u8>>,
    /// Encryptions that workers counted under it; applications' own are not in it.
    pub encryptions: i64,
    /// Unix milliseconds, database time, here and below.
    pub created_at: i64,
    /// When it first became active.
    pub activated_at: Option<i64>,
    /// When it last gave way.
    pub deactivated_at: Option<i64>,
    /// When its wrapped bytes were wiped.
    pub destroyed_at: Option<i64>,
    /// When it last came or left in a keyset that somebody outside holds.
    pub exported_at: Option<i64>,
    /// Since when people take it for known to others. Changes how urgent things are, not what may be done.
    pub compromised_at: Option<i64>,
    /// Why they do.
    #[sea_orm(column_type = "Text", nullable)]
    pub compromised_reason: Option<String>,
}

// Not derived: the wrapped bytes have no business in a log.
impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "key {} (version {} of {}, {})", self.key_id, self.version, self.keyset, self.state)
    }
}

/// What it points to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// Its keyset.
    #[sea_orm(belongs_to = "super::keysets::Entity", from = "Column::Keyset", to = "super::keysets::Column::Name")]
    Keyset,
}

impl Model {
    /// Its cells begin with its id, so that SQL can tell them.
    pub fn names_its_cells(&self) -> bool {
        self.prefix != "raw"
    }
}

impl ActiveModelBehavior for ActiveModel {}
