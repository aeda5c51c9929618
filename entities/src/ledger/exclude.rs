//! Excluding a replica or an application that holds a clearing.

use super::{LedgerError, audit, read};
use crate::{
    exemptions::{self, Kind},
    rotations, writers,
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter,
    sea_query::{Expr, OnConflict},
};
use serde_json::json;

/// The most characters of a name.
pub const NAME_MAX: usize = 255;

/// Excludes a replica or an application from what a rotation's clearing waits for. The rotation's step is due at
/// once. In the caller's transaction. False: it was excluded before, and nothing changed.
pub async fn exclude(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation_id: i64,
    (kind, name): (Kind, &str),
    note: &str,
) -> Result<bool, LedgerError> {
    let rotation = read::locked(txn, rotation_id).await?;
    if rotation.open_keyset.is_none() {
        let message = format!("rotation {rotation_id} is {}: nothing holds its clearing", rotation.state);
        return Err(LedgerError::refused("rotation_ended", message));
    }
    if kind == Kind::Writer {
        refuse_unknown_writer(txn, &rotation, name).await?;
    }
    if kind == Kind::Replica && !name.contains(':') {
        let message = format!("`{name}` names no source: write it as the status does, e.g. `app:standby1`");
        return Err(LedgerError::refused("unknown_replica", message));
    }
    let row = exemptions::ActiveModel {
        rotation_id: Set(rotation_id),
        kind: Set(kind),
        name: Set(name.to_owned()),
        note: Set(note.to_owned()),
        actor: Set(actor.chars().take(128).collect()),
        excluded_at: Set(super::now_ms(txn).await?),
    };
    let key = [exemptions::Column::RotationId, exemptions::Column::Kind, exemptions::Column::Name];
    let written = exemptions::Entity::insert(row)
        .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
        .exec_without_returning(txn)
        .await?;
    if written == 0 {
        return Ok(false);
    }
    rotations::Entity::update_many()
        .col_expr(rotations::Column::StepDueAt, Expr::value(0))
        .col_expr(rotations::Column::NextRingAt, Expr::value(0))
        .filter(rotations::Column::Id.eq(rotation_id))
        .exec(txn)
        .await?;
    let entry = audit::Entry {
        actor,
        action: "clearing.excluded",
        subject: format!("rotation {rotation_id}"),
        before: json!(null),
        after: json!({"kind": kind, "name": name, "note": note}),
    };
    audit::record(txn, entry).await?;
    Ok(true)
}

/// A mistyped name would exclude nobody, and the operator would not know.
async fn refuse_unknown_writer(
    db: &impl ConnectionTrait,
    rotation: &rotations::Model,
    name: &str,
) -> Result<(), LedgerError> {
    let known = writers::Entity::find()
        .filter(writers::Column::Keyset.eq(&rotation.keyset))
        .filter(writers::Column::Name.eq(name));
    if known.count(db).await? > 0 {
        return Ok(());
    }
    let message = format!(
        "no application `{name}` has reported that it writes with keyset `{}`: see `reseal status {}` for those that do",
        rotation.keyset, rotation.id
    );
    Err(LedgerError::refused("unknown_writer", message))
}

/// The names of one kind that a rotation's clearing does not wait for.
pub async fn names(db: &impl ConnectionTrait, rotation_id: i64, kind: Kind) -> Result<Vec<String>, LedgerError> {
    let found = exemptions::Entity::find()
        .filter(exemptions::Column::RotationId.eq(rotation_id))
        .filter(exemptions::Column::Kind.eq(kind));
    Ok(found.all(db).await?.into_iter().map(|row| row.name).collect())
}
