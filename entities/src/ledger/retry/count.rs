//! What a retry would set going, before anybody asks for it.

use super::{
    RetryFilter,
    named::{Named, reopens},
    not_ended,
};
use crate::{
    batches,
    ledger::{LedgerError, read},
    quarantine::{self, QuarantineState},
};
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter};
use serde::{Deserialize, Serialize};

/// What a retry with the same filter would set going now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matching {
    /// Batches that would be pending again: `applied` of [`super::Retried`].
    pub batches: u64,
    /// Quarantined rows that would be looked at again: `rows` of [`super::Retried`].
    pub rows: u64,
}

/// Counts and changes nothing. Refused as [`super::retry_matching`] is. Nothing is locked either, so that a retry that is asked
/// for later may find more or fewer.
pub async fn count_matching(
    db: &impl ConnectionTrait,
    rotation_id: i64,
    filter: &RetryFilter,
) -> Result<Matching, LedgerError> {
    let rotation = not_ended(read::rotation(db, rotation_id).await?)?;
    let named = Named::new(db, rotation_id, filter).await?;
    let rows = match named.rows_to_look_at() {
        Some(rows) => quarantine::Entity::find().filter(rows).count(db).await?,
        None => 0,
    };
    // What is open now is retrying by the time at which a retry sets its batch pending.
    let to_reopen = named.batches_to_reopen(&QuarantineState::UNRESOLVED);
    let batches = if reopens(rotation.state) { batches::Entity::find().filter(to_reopen).count(db).await? } else { 0 };
    Ok(Matching { batches, rows })
}
