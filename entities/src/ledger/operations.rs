//! Operations: asked for once, whatever is lost or sent twice; then followed.

mod ask;
pub mod due;
mod told;
pub mod work;

pub use ask::{Ask, Caller, find, request, retry, split};
pub use told::OperationStatus;

use super::LedgerError;
use crate::{
    operations::{self, OperationKind},
    state::OperationState,
};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

/// One operation.
pub async fn get(db: &impl ConnectionTrait, id: i64) -> Result<operations::Model, LedgerError> {
    let found = operations::Entity::find_by_id(id).one(db).await?;
    found.ok_or_else(|| {
        LedgerError::refused("unknown_operation", format!("there is no operation {id}: see `reseal operations list`"))
    })
}

/// Which operations are meant; none of a field means any.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this kind.
    pub kind: Option<OperationKind>,
    /// In this state.
    pub state: Option<OperationState>,
    /// About this keyset.
    pub keyset: Option<String>,
    /// About this rotation.
    pub rotation_id: Option<i64>,
    /// About this key.
    pub key_id: Option<i64>,
}

/// Operations, newest first, at most `limit`; only those before `before_id`, which is the last one of the page before.
pub async fn page(
    db: &impl ConnectionTrait,
    filter: &Filter,
    before_id: Option<i64>,
    limit: u64,
) -> Result<Vec<operations::Model>, LedgerError> {
    use operations::Column::{Id, KeyId, Keyset, Kind, RotationId, State};
    let conditions = [
        filter.kind.map(|kind| Kind.eq(kind)),
        filter.state.map(|state| State.eq(state)),
        filter.keyset.as_ref().map(|keyset| Keyset.eq(keyset)),
        filter.rotation_id.map(|id| RotationId.eq(id)),
        filter.key_id.map(|id| KeyId.eq(id)),
        before_id.map(|id| Id.lt(id)),
    ];
    let mut found = operations::Entity::find().order_by_desc(Id).limit(limit);
    for condition in conditions.into_iter().flatten() {
        found = found.filter(condition);
    }
    Ok(found.all(db).await?)
}

/// The last operation of a kind that succeeded, whatever exactly it was asked: its `params` say.
pub async fn latest_succeeded(
    db: &impl ConnectionTrait,
    kind: OperationKind,
) -> Result<Option<operations::Model>, LedgerError> {
    let succeeded = Filter { kind: Some(kind), state: Some(OperationState::Succeeded), ..Filter::default() };
    Ok(page(db, &succeeded, None, 1).await?.pop())
}
