//! Opening a rotation: at most one a keyset, and the same request again finds the same one.

use super::{LedgerError, audit, keys as ledger_keys, throttle::Limits, time::now_ms};
use crate::{
    keysets, rotations,
    state::{KeyState, RotationState},
};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, SqlErr};
use serde_json::json;

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The keyset to rotate.
    pub keyset: String,
    /// A published pre_active key to promote; none: planning makes one.
    pub to_key_id: Option<i64>,
    /// Who asks.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// The same key again returns the first answer.
    pub idempotency_key: Option<String>,
    /// Waiting time between proof and clearing.
    pub clear_after_ms: i64,
    /// How long applications may go on writing with an old keyset before the fence.
    pub writer_ttl_ms: i64,
    /// Rows in a batch.
    pub batch_rows: i32,
    /// Its clearing waits until somebody other than `actor` has approved it.
    pub needs_approval: bool,
    /// What it is allowed, from its first row on.
    pub limits: Limits,
}

const DAY_MS: i64 = 86_400_000;

impl Request {
    /// Refuses numbers that no rotation can keep, whichever way they came: a time that overflows would be over at once.
    fn demand_in_range(&self) -> Result<(), LedgerError> {
        let given = [
            ("clear_after_ms", self.clear_after_ms, 0..=36_500 * DAY_MS),
            ("writer_ttl_ms", self.writer_ttl_ms, 0..=365 * DAY_MS),
            ("batch_rows", self.batch_rows.into(), 1..=1_000_000),
        ];
        match given.iter().find(|(_, n, range)| !range.contains(n)) {
            None => self.limits.demand_in_range(),
            Some((what, n, range)) => Err(LedgerError::refused(
                "invalid_rotation",
                format!("{what} is {n}, and a rotation takes {} to {}: ask for less", range.start(), range.end()),
            )),
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A new rotation.
    Created(i64),
    /// The rotation that the same idempotency key made before.
    Replayed(i64),
    /// Another rotation of the keyset is open; nothing was changed.
    AlreadyOpen(i64),
}

/// Opens a rotation in the caller's transaction. Fifty of these at once make one rotation: the
/// database refuses a second open one, and [`find`] then says which one won.
pub async fn open_if_none_is(txn: &impl ConnectionTrait, request: &Request) -> Result<Opened, LedgerError> {
    if let Some(found) = find(txn, request).await? {
        return Ok(found);
    }
    if keysets::Entity::find_by_id(&request.keyset).one(txn).await?.is_none() {
        return Err(LedgerError::refused(
            "unknown_keyset",
            format!(
                "keyset `{0}` does not exist: make it with `reseal keys create {0}`, or see `reseal keys list`",
                request.keyset
            ),
        ));
    }
    check_the_key(txn, request).await?;
    request.demand_in_range()?;
    let row = rotations::ActiveModel {
        keyset: Set(request.keyset.clone()),
        open_keyset: Set(Some(request.keyset.clone())),
        state: Set(RotationState::Requested),
        to_key_id: Set(request.to_key_id),
        requested_by: Set(request.actor.chars().take(128).collect()),
        reason: Set(request.reason.clone()),
        idempotency_key: Set(request.idempotency_key.clone()),
        clear_after_ms: Set(request.clear_after_ms),
        writer_ttl_ms: Set(request.writer_ttl_ms),
        batch_rows: Set(request.batch_rows),
        needs_approval: Set(request.needs_approval),
        limit_rows_per_second: Set(request.limits.rows_per_second),
        limit_lanes: Set(request.limits.lanes),
        limit_batches: Set(request.limits.batches),
        requested_at: Set(now_ms(txn).await?),
        ..rotations::not_begun()
    };
    let id = rotations::Entity::insert(row).exec(txn).await?.last_insert_id;
    let after = json!({
        "keyset": request.keyset, "to_key_id": request.to_key_id, "reason": request.reason,
        "clear_after_ms": request.clear_after_ms, "needs_approval": request.needs_approval,
        "limits": request.limits,
    });
    let subject = format!("rotation {id}");
    audit::record(
        txn,
        audit::Entry { actor: &request.actor, action: "rotation.requested", subject, before: json!(null), after },
    )
    .await?;
    Ok(Opened::Created(id))
}

/// The rotation that answers `request` already, if there is one.
pub async fn find(db: &impl ConnectionTrait, request: &Request) -> Result<Option<Opened>, LedgerError> {
    if let Some(key) = &request.idempotency_key
        && let Some(row) = rotations::Entity::find().filter(rotations::Column::IdempotencyKey.eq(key)).one(db).await?
    {
        return replayed(&row, request).map(Some);
    }
    let open = rotations::Entity::find().filter(rotations::Column::OpenKeyset.eq(&request.keyset)).one(db).await?;
    match open {
        // The same request may have been committed between the two questions.
        Some(row) if request.idempotency_key.is_some() && row.idempotency_key == request.idempotency_key => {
            replayed(&row, request).map(Some)
        }
        open => Ok(open.map(|row| Opened::AlreadyOpen(row.id))),
    }
}

fn replayed(row: &rotations::Model, request: &Request) -> Result<Opened, LedgerError> {
    // A longer wait that were silently not granted would clear a key too early for who asked; a shorter one may be an older
    // configuration's default.
    let waits_less = request.clear_after_ms > row.clear_after_ms;
    let other_key = request.to_key_id.is_some() && row.to_key_id != request.to_key_id;
    if row.keyset != request.keyset || other_key || waits_less {
        return Err(LedgerError::refused(
            "idempotency_key_reused",
            format!("this idempotency key belongs to rotation {} with another request: use a new one", row.id),
        ));
    }
    Ok(Opened::Replayed(row.id))
}

/// True when the database refused a second open rotation: roll back and [`find`] the first.
pub fn lost_the_race(error: &LedgerError) -> bool {
    matches!(error, LedgerError::Database(e) if matches!(e.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))))
}

/// A keyset that was exported has readers that learn a key only by a new export, so its next key is
/// published before it is promoted.
async fn check_the_key(txn: &impl ConnectionTrait, request: &Request) -> Result<(), LedgerError> {
    let keys = ledger_keys::of_keyset(txn, &request.keyset).await?;
    let name = &request.keyset;
    let exported = keys.iter().any(|k| k.exported_at.is_some() && k.state != KeyState::Destroyed);
    let Some(to) = request.to_key_id else {
        if exported {
            return Err(LedgerError::refused(
                "publish_before_promoting",
                format!(
                    "keyset `{name}` was exported or imported, so its readers must have the next key before it encrypts. Run instead:\n  \
                     reseal keys create {name}\n  reseal keys export {name} --format tink-json --insecure-cleartext FILE   (and deploy it)\n  \
                     reseal rotate {name} --to KEY_ID"
                ),
            ));
        }
        return Ok(());
    };
    let Some(key) = keys.iter().find(|k| k.key_id == to) else {
        return Err(LedgerError::refused(
            "unknown_key",
            format!("keyset `{name}` has no key {to}: see `reseal keys list`"),
        ));
    };
    if key.state != KeyState::PreActive {
        return Err(LedgerError::refused(
            "key_not_pre_active",
            format!(
                "key {to} is {}; only a pre_active key can be rotated to: make one with `reseal keys create {name}`",
                key.state
            ),
        ));
    }
    ledger_keys::refuse_unless_target(key)?;
    if exported && key.exported_at.is_none() {
        return Err(LedgerError::refused(
            "publish_before_promoting",
            format!(
                "key {to} is in no export yet, and keyset `{name}` has readers with exported keysets. Run instead:\n  \
                 reseal keys export {name} --format tink-json --insecure-cleartext FILE   (and deploy it)\n  \
                 reseal rotate {name} --to {to}"
            ),
        ));
    }
    Ok(())
}
