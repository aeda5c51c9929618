//! One try at a batch that has ended, but for the many that are done at the first.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// Its worker gave the batch back: with a code to be tried again later, without one because it was drained,
    /// paused, or one too many in hand.
    Released,
    /// Its worker gave the batch up for a person to look at.
    Failed,
    /// Smaller batches took the batch's place.
    Split,
    /// Every row of the batch was looked at.
    Done,
}

/// One try. Times are Unix milliseconds, database time.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "reseal_attempts")]
pub struct Model {
    /// The batch.
    #[sea_orm(primary_key, auto_increment = false)]
    pub batch_id: i64,
    /// The claim's number.
    #[sea_orm(primary_key, auto_increment = false)]
    pub epoch: i64,
    /// Who made it.
    #[sea_orm(column_type = "String(StringLen::N(128))", nullable)]
    pub worker: Option<String>,
    /// When the batch was claimed; unknown of one that was done at the first try and then done again.
    pub began_at: Option<i64>,
    /// When it ended.
    pub ended_at: i64,
    /// How.
    pub outcome: AttemptOutcome,
    /// Why, when something failed; a stable code.
    #[sea_orm(column_type = "String(StringLen::N(64))", nullable)]
    pub code: Option<String>,
    /// The same for people; never a driver's text with data in it.
    #[sea_orm(column_type = "Text", nullable)]
    pub detail: Option<String>,
    /// Planned rows that it was the first to look at.
    pub rows_done: i64,
}

/// What it points to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The batch.
    #[sea_orm(belongs_to = "super::batches::Entity", from = "Column::BatchId", to = "super::batches::Column::Id")]
    Batch,
}

impl ActiveModelBehavior for ActiveModel {}
