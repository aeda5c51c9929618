//! Work that is asked for and then followed: dry runs, censuses, clearings, retries.

use crate::state::OperationState;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// What a rotation would do, tried in small and taken back.
    DryRun,
    /// Cells counted by key.
    Census,
    /// A rotation's clearing, rung for and followed until the key is destroyed.
    Clear,
    /// Failed batches and quarantined rows again; done in the ledger by whoever is asked.
    Retry,
    /// Failed batches in smaller parts; asked of their next owners by whoever is asked.
    Split,
}

impl std::fmt::Display for OperationKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.to_value())
    }
}

/// One operation. Times are Unix milliseconds, database time.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reseal_operations")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// What is to be done.
    pub kind: OperationKind,
    /// Where it stands.
    pub state: OperationState,
    /// The keyset that it is about.
    #[sea_orm(column_type = "String(StringLen::N(64))", nullable)]
    pub keyset: Option<String>,
    /// The rotation that it is about.
    pub rotation_id: Option<i64>,
    /// The key that it is about.
    pub key_id: Option<i64>,
    /// What exactly was asked for, a JSON object.
    #[sea_orm(column_type = "Text")]
    pub params: String,
    /// Who asked for it.
    #[sea_orm(column_type = "String(StringLen::N(128))")]
    pub requested_by: String,
    /// The HTTP request that asked for it.
    #[sea_orm(column_type = "String(StringLen::N(64))", nullable)]
    pub request_id: Option<String>,
    /// The same request again finds the same operation.
    #[sea_orm(column_type = "String(StringLen::N(128))", nullable, unique)]
    pub idempotency_key: Option<String>,
    /// When it was asked for.
    pub requested_at: i64,
    /// When a worker first took it.
    pub started_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Rises with each claim; must match to write.
    pub epoch: i64,
    /// Until when its worker holds it.
    pub lease_until: Option<i64>,
    /// Which worker holds it, or held it last.
    #[sea_orm(column_type = "String(StringLen::N(128))", nullable)]
    pub worker: Option<String>,
    /// Claims that nobody brought to an end; starts again at none when it is given back in good order.
    pub attempts: i32,
    /// Not before this time is it taken again.
    pub due_at: i64,
    /// When dispatch rings for it again.
    pub next_ring_at: i64,
    /// Rings so far: part of the message's id.
    pub rings: i64,
    /// Why it failed, or what it waits for; a stable code.
    #[sea_orm(column_type = "String(StringLen::N(64))", nullable)]
    pub code: Option<String>,
    /// The same for people; never a driver's text.
    #[sea_orm(column_type = "Text", nullable)]
    pub detail: Option<String>,
    /// Batches that a retry's filter named; none of another kind.
    pub matched: Option<i64>,
    /// Those that are pending again.
    pub applied: Option<i64>,
    /// Those that were not failed any more.
    pub skipped: Option<i64>,
    /// What it found, a JSON object.
    #[sea_orm(column_type = "Text", nullable)]
    pub result: Option<String>,
}

/// What it points to: nothing that the ledger would keep it from outliving.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
