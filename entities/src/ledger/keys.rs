//! Keysets and keys: made, imported, promoted, exported.

use super::{LedgerError, after, audit, may, time::now};
use crate::{
    keys, keysets, rotation_keys, rotations,
    state::{KeyEvent, KeyState, RotationState},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, OnConflict},
};
use serde_json::json;

/// A key to be stored.
#[derive(Clone)]
pub struct NewKey {
    /// Its id.
    pub key_id: i64,
    /// `pre_active`; the keys of an import besides its primary one come deactivated.
    pub state: KeyState,
    /// The cipher by its Tink template.
    pub algorithm: String,
    /// `tink` or `raw`.
    pub prefix: String,
    /// The fingerprint of the KEK.
    pub kek_id: String,
    /// The DEK under it.
    pub wrapped_dek: Vec<u8>,
}

/// The algorithms that a keyset may be rotated to.
pub const ROTATED_TO: &[&str] = &["AES256_GCM", "XCHACHA20_POLY1305"];

/// Refuses to rotate to a key under which no new cells should be written.
pub(super) fn refuse_unless_target(key: &keys::Model) -> Result<(), LedgerError> {
    let (id, keyset) = (key.key_id, &key.keyset);
    if key.prefix != "tink" {
        return Err(LedgerError::refused(
            "key_is_raw",
            format!(
                "key {id} is a raw key, whose cells do not name it: rotate to one of `reseal keys create {keyset}`"
            ),
        ));
    }
    if !ROTATED_TO.contains(&key.algorithm.as_str()) {
        return Err(LedgerError::refused(
            "key_algorithm_not_target",
            format!(
                "key {id} is for {}, which is read and rotated from only: rotate to a key for {}, made with `reseal keys create {keyset}`",
                key.algorithm,
                ROTATED_TO.join(" or ")
            ),
        ));
    }
    Ok(())
}

/// A keyset's keys, oldest version first, tombstones too.
pub async fn of_keyset(db: &impl ConnectionTrait, keyset: &str) -> Result<Vec<keys::Model>, LedgerError> {
    let found = keys::Entity::find().filter(keys::Column::Keyset.eq(keyset));
    Ok(found.order_by_asc(keys::Column::Version).all(db).await?)
}

/// The same under the keyset's lock, so that what is decided from it stays true until the commit.
pub async fn locked(txn: &impl ConnectionTrait, keyset: &str) -> Result<Vec<keys::Model>, LedgerError> {
    keysets::Entity::find_by_id(keyset).lock_exclusive().one(txn).await?;
    of_keyset(txn, keyset).await
}

/// Every key of every keyset.
pub async fn all(db: &impl ConnectionTrait) -> Result<Vec<keys::Model>, LedgerError> {
    Ok(keys::Entity::find().order_by_asc(keys::Column::Keyset).order_by_asc(keys::Column::Version).all(db).await?)
}

/// Makes a keyset. Making it again changes nothing.
pub async fn create_keyset(txn: &impl ConnectionTrait, actor: &str, name: &str) -> Result<(), LedgerError> {
    if keysets::Entity::find_by_id(name).one(txn).await?.is_some() {
        return Ok(());
    }
    let created_at = super::time::now_ms(txn).await?;
    let row = keysets::ActiveModel { name: Set(name.to_owned()), created_at: Set(created_at) };
    let written = keysets::Entity::insert(row)
        .on_conflict(OnConflict::column(keysets::Column::Name).do_nothing().to_owned())
        .exec_without_returning(txn)
        .await?;
    if written == 0 {
        // Another process made it meanwhile. The audit's lock, taken here, would be taken before the keyset's: a deadlock
        // with everybody who takes them in their order.
        return Ok(());
    }
    let subject = format!("keyset {name}");
    audit::record(txn, audit::Entry { actor, action: "keyset.created", subject, before: json!(null), after: json!({}) })
        .await
}

/// Stores a key as the keyset's next version. An id that the ledger has ever seen is refused.
pub async fn insert(txn: &impl ConnectionTrait, actor: &str, keyset: &str, key: NewKey) -> Result<i32, LedgerError> {
    insert_as(txn, actor, keyset, None, key).await
}

async fn insert_as(
    txn: &impl ConnectionTrait,
    actor: &str,
    keyset: &str,
    version: Option<i32>,
    key: NewKey,
) -> Result<i32, LedgerError> {
    if let Some(taken) = keys::Entity::find_by_id(key.key_id).one(txn).await? {
        return Err(LedgerError::refused(
            "key_id_taken",
            format!(
                "key id {} is already that of version {} of keyset `{}`: ids are unique in a ledger",
                taken.key_id, taken.version, taken.keyset
            ),
        ));
    }
    let taken = locked(txn, keyset).await?;
    if key.state == KeyState::Active && taken.iter().any(|k| k.state == KeyState::Active) {
        return Err(LedgerError::refused(
            "keyset_has_active_key",
            format!("keyset `{keyset}` has an active key already"),
        ));
    }
    let next = taken.iter().map(|k| k.version).max().unwrap_or(0) + 1;
    let version = version.filter(|v| taken.iter().all(|k| k.version != *v)).unwrap_or(next);
    let created_at = super::time::now_ms(txn).await?;
    let active = key.state == KeyState::Active;
    let after = json!({"keyset": keyset, "version": version, "state": key.state, "algorithm": key.algorithm, "prefix": key.prefix});
    keys::Entity::insert(keys::ActiveModel {
        key_id: Set(key.key_id),
        keyset: Set(keyset.to_owned()),
        version: Set(version),
        state: Set(key.state),
        generation: Set(i64::from(active)),
        algorithm: Set(key.algorithm),
        prefix: Set(key.prefix),
        kek_id: Set(key.kek_id),
        wrapped_dek: Set(Some(key.wrapped_dek)),
        encryptions: Set(0),
        created_at: Set(created_at),
        activated_at: Set(active.then_some(created_at)),
        ..Default::default()
    })
    .exec_without_returning(txn)
    .await?;
    let subject = format!("key {}", key.key_id);
    audit::record(txn, audit::Entry { actor, action: "key.stored", subject, before: json!(null), after }).await?;
    Ok(version)
}

/// Makes a keyset's first key active, which its caller has secured. Doing it again changes nothing. In the caller's
/// transaction.
pub async fn activate_first(
    txn: &impl ConnectionTrait,
    actor: &str,
    keyset: &str,
    key_id: i64,
) -> Result<(), LedgerError> {
    let keys = locked(txn, keyset).await?;
    if keys.iter().any(|k| k.key_id == key_id && k.state == KeyState::Active) {
        return Ok(()); // by another process, which finished the same key
    }
    let activated = keys::Entity::update_many()
        .col_expr(keys::Column::State, Expr::value(after::<KeyState>(KeyEvent::Activate)))
        .col_expr(keys::Column::Generation, Expr::col(keys::Column::Generation).add(1))
        .col_expr(keys::Column::ActivatedAt, now(txn))
        .filter(keys::Column::KeyId.eq(key_id))
        .filter(keys::Column::Keyset.eq(keyset))
        .filter(keys::Column::State.eq(KeyState::PreActive))
        .exec(txn)
        .await?;
    if activated.rows_affected != 1 || keys.iter().any(|k| k.state == KeyState::Active) {
        return Err(LedgerError::refused(
            "keyset_has_active_key",
            format!(
                "keyset `{keyset}` has an active key already, or key {key_id} is not pre_active: see `reseal keys list`"
            ),
        ));
    }
    let entry = audit::Entry {
        actor,
        action: "key.activated",
        subject: format!("key {key_id}"),
        before: json!({"state": KeyState::PreActive}),
        after: json!({"state": KeyState::Active, "keyset": keyset}),
    };
    audit::record(txn, entry).await
}

/// Promotes the rotation's key while the step is held: pins the keys that the rotation retires, the
/// active one gives way, the new one becomes active. One transaction of the caller's.
pub async fn promote_if_held(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
    to_key_id: i64,
) -> Result<(), LedgerError> {
    let held = rotations::Entity::update_many()
        .col_expr(rotations::Column::PromotedAt, now(txn))
        .filter(rotations::Column::Id.eq(rotation.id))
        .filter(rotations::Column::StepEpoch.eq(rotation.step_epoch))
        .filter(rotations::Column::State.eq(RotationState::Planning))
        .filter(rotations::Column::PromotedAt.is_null())
        .exec(txn)
        .await?;
    if held.rows_affected != 1 {
        return Err(LedgerError::LeaseLost);
    }
    let keys = of_keyset(txn, &rotation.keyset).await?;
    let exported = keys.iter().any(|k| k.exported_at.is_some() && k.state != KeyState::Destroyed);
    if exported && keys.iter().any(|k| k.key_id == to_key_id && k.exported_at.is_none()) {
        return Err(LedgerError::refused(
            "publish_before_promoting",
            format!(
                "keyset `{0}` was exported meanwhile, so its readers must have key {to_key_id} before it encrypts: run \
                 `reseal keys export {0} --format tink-json --insecure-cleartext FILE` and deploy it",
                rotation.keyset
            ),
        ));
    }
    let before = keys.iter().find(|k| k.state == KeyState::Active).map(|k| k.key_id);
    if rotation.reverses.is_none() {
        keys.iter().filter(|k| k.key_id == to_key_id).try_for_each(refuse_unless_target)?;
    }
    for key in keys {
        if matches!(key.state, KeyState::Active | KeyState::Deactivated) && key.key_id != to_key_id {
            let pin = rotation_keys::ActiveModel {
                rotation_id: Set(rotation.id),
                key_id: Set(key.key_id),
                generation: Set(key.generation),
            };
            rotation_keys::Entity::insert(pin).exec_without_returning(txn).await?;
        }
    }
    rotations::Entity::update_many()
        .col_expr(rotations::Column::FromKeyId, Expr::value(before))
        .filter(rotations::Column::Id.eq(rotation.id))
        .exec(txn)
        .await?;
    // A key becomes active again only by the rotation that turns its retirement round.
    let may_activate = if rotation.reverses.is_some() { KeyState::Deactivated } else { KeyState::PreActive };
    let demoted = keys::Entity::update_many()
        .col_expr(keys::Column::State, Expr::value(after::<KeyState>(KeyEvent::Deactivate)))
        .col_expr(keys::Column::DeactivatedAt, now(txn))
        .filter(keys::Column::Keyset.eq(&rotation.keyset))
        .filter(may::<KeyState>(keys::Column::State, KeyEvent::Deactivate))
        .exec(txn)
        .await?;
    let promoted = keys::Entity::update_many()
        .col_expr(keys::Column::State, Expr::value(after::<KeyState>(KeyEvent::Activate)))
        .col_expr(keys::Column::Generation, Expr::col(keys::Column::Generation).add(1))
        // It has encrypted since then: a key that is taken back is not a new one.
        .col_expr(keys::Column::ActivatedAt, Expr::col(keys::Column::ActivatedAt).if_null(now(txn)))
        .filter(keys::Column::KeyId.eq(to_key_id))
        .filter(keys::Column::Keyset.eq(&rotation.keyset))
        .filter(keys::Column::State.eq(may_activate))
        .exec(txn)
        .await?;
    if (demoted.rows_affected, promoted.rows_affected) != (1, 1) {
        return Err(LedgerError::refused(
            "key_not_promotable",
            format!(
                "key {to_key_id} cannot take over keyset `{}`: it must be {may_activate}, and exactly one other key active",
                rotation.keyset
            ),
        ));
    }
    let entry = audit::Entry {
        actor,
        action: "key.promoted",
        subject: format!("key {to_key_id}"),
        before: json!({"active": before}),
        after: json!({"active": to_key_id, "rotation": rotation.id}),
    };
    audit::record(txn, entry).await
}

/// The keys that a rotation retires.
pub async fn retired_by(db: &impl ConnectionTrait, rotation_id: i64) -> Result<Vec<keys::Model>, LedgerError> {
    let pins = rotation_keys::Entity::find().filter(rotation_keys::Column::RotationId.eq(rotation_id)).all(db).await?;
    let found = keys::Entity::find().filter(keys::Column::KeyId.is_in(pins.iter().map(|p| p.key_id)));
    Ok(found.order_by_asc(keys::Column::Version).all(db).await?)
}

/// Records that a keyset left in an export with these keys.
pub async fn record_export(
    txn: &impl ConnectionTrait,
    actor: &str,
    keyset: &str,
    key_ids: &[i64],
    format: &str,
) -> Result<(), LedgerError> {
    mark_published(txn, key_ids).await?;
    let after = json!({"keys": key_ids, "format": format});
    let subject = format!("keyset {keyset}");
    audit::record(txn, audit::Entry { actor, action: "keyset.exported", subject, before: json!(null), after }).await
}

/// Notes that these keys are in a keyset that somebody outside holds.
pub async fn mark_published(txn: &impl ConnectionTrait, key_ids: &[i64]) -> Result<(), LedgerError> {
    keys::Entity::update_many()
        .col_expr(keys::Column::ExportedAt, now(txn))
        .filter(keys::Column::KeyId.is_in(key_ids.iter().copied()))
        .exec(txn)
        .await?;
    Ok(())
}

/// Adds to the count of encryptions under a key.
pub async fn count_encryptions(db: &impl ConnectionTrait, key_id: i64, more: i64) -> Result<(), LedgerError> {
    keys::Entity::update_many()
        .col_expr(keys::Column::Encryptions, Expr::col(keys::Column::Encryptions).add(more))
        .filter(keys::Column::KeyId.eq(key_id))
        .exec(db)
        .await?;
    Ok(())
}

/// Puts a key back that the ledger has lost, as deactivated: it decrypts what is under it, and the
/// next rotation retires it. A key that the ledger knows is left as it is.
pub async fn recover(
    txn: &impl ConnectionTrait,
    actor: &str,
    keyset: &str,
    version: i32,
    key: NewKey,
) -> Result<bool, LedgerError> {
    if keys::Entity::find_by_id(key.key_id).one(txn).await?.is_some() {
        return Ok(false);
    }
    let active = of_keyset(txn, keyset).await?.iter().any(|k| k.state == KeyState::Active);
    let state = if active { KeyState::Deactivated } else { KeyState::Active };
    let key_id = key.key_id;
    let version = insert_as(txn, actor, keyset, Some(version), NewKey { state, ..key }).await?;
    let after = json!({"keyset": keyset, "version": version, "state": state});
    let subject = format!("key {key_id}");
    audit::record(txn, audit::Entry { actor, action: "key.recovered", subject, before: json!(null), after }).await?;
    Ok(true)
}
