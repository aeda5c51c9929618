//! Asking for an operation, as often as one likes.

use crate::{
    keysets,
    ledger::{
        Ledger, LedgerError, audit, catalog, read,
        retry::{self, Retried, RetryFilter},
        split,
        time::now_ms,
    },
    operations::{self, OperationKind},
    state::OperationState,
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, TryInsertResult, sea_query::Expr,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a worker is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "params", rename_all = "snake_case")]
pub enum Ask {
    /// Try a rotation in small and take it back.
    DryRun {
        /// The keyset.
        keyset: String,
        /// A key that is there already; none: one of its own.
        to_key_id: Option<i64>,
    },
    /// Count cells by key.
    Census {
        /// `table.column` or `source:schema.table.column`; none: every registered column.
        column: Option<String>,
        /// Only those under this key.
        key_id: Option<i64>,
    },
    /// Ring for the clearing of a key and follow it.
    Clear {
        /// The key.
        key_id: i64,
    },
}

/// Who asks.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The person or service, as the audit calls it.
    pub actor: String,
    /// The HTTP request.
    pub request_id: Option<String>,
    /// The same key again returns the first answer; 1 to 128 characters.
    pub idempotency_key: Option<String>,
}

/// What is written down of a request.
struct Row {
    kind: OperationKind,
    keyset: Option<String>,
    rotation_id: Option<i64>,
    key_id: Option<i64>,
    params: Value,
}

impl Ask {
    /// What an operation asks for; none of a kind that no worker does, or when it is of a newer version.
    pub fn of(operation: &operations::Model) -> Option<Self> {
        let params: Value = serde_json::from_str(&operation.params).ok()?;
        serde_json::from_value(json!({"kind": operation.kind, "params": params})).ok()
    }

    /// The same as a row. Refused when what it is about is not there.
    async fn row(&self, db: &impl ConnectionTrait) -> Result<Row, LedgerError> {
        let params = json!(self)["params"].take();
        let row = |kind| Row { kind, keyset: None, rotation_id: None, key_id: None, params };
        match self {
            Self::DryRun { keyset, to_key_id } => {
                if keysets::Entity::find_by_id(keyset).one(db).await?.is_none() {
                    let message = format!("keyset `{keyset}` does not exist: see `reseal keys list`");
                    return Err(LedgerError::refused("unknown_keyset", message));
                }
                if let Some(to) = to_key_id {
                    read::key(db, *to).await?;
                }
                Ok(Row { keyset: Some(keyset.clone()), key_id: *to_key_id, ..row(OperationKind::DryRun) })
            }
            Self::Census { column, key_id } => {
                if let Some(column) = column {
                    catalog::named(db, column).await?;
                }
                if let Some(key) = key_id {
                    read::key(db, *key).await?;
                }
                Ok(Row { key_id: *key_id, ..row(OperationKind::Census) })
            }
            Self::Clear { key_id } => {
                let key = read::key(db, *key_id).await?;
                let rotation_id = read::retiring(db, &key).await?;
                Ok(Row { keyset: Some(key.keyset), rotation_id, key_id: Some(*key_id), ..row(OperationKind::Clear) })
            }
        }
    }
}

/// Writes down that `ask` is to be done, in the caller's transaction; a worker does it within seconds of the
/// commit. The same idempotency key with the same request gives the first operation and false, also when
/// fifty of these run at once or the process died before it could answer; with another request it is refused
/// (`idempotency_key_reused`).
pub async fn request(
    txn: &impl ConnectionTrait,
    ask: &Ask,
    caller: &Caller,
) -> Result<(operations::Model, bool), LedgerError> {
    let row = ask.row(txn).await?;
    let asked = insert_or_find(txn, &row, caller, OperationState::Requested).await?;
    if asked.1 {
        audit::record(txn, requested(caller, &asked.0, &row.params)).await?;
    }
    Ok(asked)
}

/// The operation that answers `ask` already, by its idempotency key.
pub async fn find(
    db: &impl ConnectionTrait,
    ask: &Ask,
    caller: &Caller,
) -> Result<Option<operations::Model>, LedgerError> {
    first_of(db, &ask.row(db).await?, caller).await
}

/// Does failed batches and quarantined rows again, in one transaction with its audit and an operation that says
/// how many: a process that dies anywhere has done all of it or nothing, and the same idempotency key again gives
/// the first answer and does nothing.
pub async fn retry(
    ledger: &Ledger,
    caller: &Caller,
    rotation_id: i64,
    filter: &RetryFilter,
) -> Result<(operations::Model, bool), LedgerError> {
    at_once(ledger, caller, OperationKind::Retry, rotation_id, filter).await
}

/// Asks for failed batches to be split, in the same way.
pub async fn split(
    ledger: &Ledger,
    caller: &Caller,
    rotation_id: i64,
    filter: &RetryFilter,
) -> Result<(operations::Model, bool), LedgerError> {
    at_once(ledger, caller, OperationKind::Split, rotation_id, filter).await
}

async fn at_once(
    ledger: &Ledger,
    caller: &Caller,
    kind: OperationKind,
    rotation_id: i64,
    filter: &RetryFilter,
) -> Result<(operations::Model, bool), LedgerError> {
    let txn = ledger.begin().await?;
    let rotation = read::rotation(&txn, rotation_id).await?;
    let row = Row {
        kind,
        keyset: Some(rotation.keyset),
        rotation_id: Some(rotation_id),
        key_id: None,
        params: json!(filter),
    };
    // First, so that of two at once the second waits here for the first one's answer; the audit last, as always.
    let (asked, created) = insert_or_find(&txn, &row, caller, OperationState::Succeeded).await?;
    if !created {
        txn.rollback().await?;
        return Ok((asked, false));
    }
    let retried = match kind {
        OperationKind::Split => split::ask_matching(&txn, &caller.actor, rotation_id, filter).await?,
        _ => retry::retry_matching(&txn, &caller.actor, rotation_id, filter).await?,
    };
    note_retried(&txn, asked.id, &retried).await?;
    audit::record(&txn, requested(caller, &asked, &filter.told())).await?;
    audit::record(&txn, ended(&caller.actor, asked.id, asked.kind, None, json!({"state": asked.state}))).await?;
    let done = super::get(&txn, asked.id).await?;
    txn.commit().await?;
    Ok((done, true))
}

async fn note_retried(txn: &impl ConnectionTrait, id: i64, retried: &Retried) -> Result<(), LedgerError> {
    let counted = |n: u64| Expr::value(i64::try_from(n).unwrap_or(i64::MAX));
    operations::Entity::update_many()
        .col_expr(operations::Column::Matched, counted(retried.matched))
        .col_expr(operations::Column::Applied, counted(retried.applied))
        .col_expr(operations::Column::Skipped, counted(retried.skipped))
        .col_expr(operations::Column::Result, Expr::value(json!(retried).to_string()))
        .filter(operations::Column::Id.eq(id))
        .exec(txn)
        .await?;
    Ok(())
}

/// A retry is done by whoever is asked, so that its row begins where it ends.
async fn insert_or_find(
    txn: &impl ConnectionTrait,
    row: &Row,
    caller: &Caller,
    state: OperationState,
) -> Result<(operations::Model, bool), LedgerError> {
    if caller.idempotency_key.as_ref().is_some_and(|key| key.is_empty() || key.chars().count() > 128) {
        return Err(LedgerError::refused("idempotency_key_length", "an idempotency key has 1 to 128 characters"));
    }
    if let Some(first) = first_of(txn, row, caller).await? {
        return Ok((first, false));
    }
    let now = now_ms(txn).await?;
    let ended_at = (state == OperationState::Succeeded).then_some(now);
    let insert = operations::ActiveModel {
        kind: Set(row.kind),
        state: Set(state),
        keyset: Set(row.keyset.clone()),
        rotation_id: Set(row.rotation_id),
        key_id: Set(row.key_id),
        params: Set(row.params.to_string()),
        requested_by: Set(caller.actor.chars().take(128).collect()),
        request_id: Set(caller.request_id.as_ref().map(|id| id.chars().take(64).collect())),
        idempotency_key: Set(caller.idempotency_key.clone()),
        requested_at: Set(now),
        started_at: Set(ended_at),
        ended_at: Set(ended_at),
        epoch: Set(0),
        attempts: Set(0),
        due_at: Set(0),
        next_ring_at: Set(0),
        rings: Set(0),
        ..Default::default()
    };
    // Where another transaction is about to write the same key this waits until it has.
    let inserted = operations::Entity::insert(insert).on_conflict_do_nothing_on([operations::Column::IdempotencyKey]);
    let TryInsertResult::Inserted(inserted) = inserted.exec(txn).await? else {
        let first = first_of(txn, row, caller).await?;
        return Ok((first.ok_or(LedgerError::LeaseLost)?, false));
    };
    Ok((super::get(txn, inserted.last_insert_id).await?, true))
}

/// The operation that the same idempotency key made before.
async fn first_of(
    db: &impl ConnectionTrait,
    row: &Row,
    caller: &Caller,
) -> Result<Option<operations::Model>, LedgerError> {
    let Some(key) = &caller.idempotency_key else { return Ok(None) };
    let found = operations::Entity::find().filter(operations::Column::IdempotencyKey.eq(key)).one(db).await?;
    let Some(first) = found else { return Ok(None) };
    let params: Option<Value> = serde_json::from_str(&first.params).ok();
    let of_a_rotation = matches!(first.kind, OperationKind::Retry | OperationKind::Split);
    let about_the_same = !of_a_rotation || first.rotation_id == row.rotation_id;
    if first.kind != row.kind || params.as_ref() != Some(&row.params) || !about_the_same {
        return Err(LedgerError::refused(
            "idempotency_key_reused",
            format!("this idempotency key belongs to operation {} with another request: use a new one", first.id),
        ));
    }
    Ok(Some(first))
}

fn requested<'a>(caller: &'a Caller, operation: &operations::Model, params: &Value) -> audit::Entry<'a> {
    audit::Entry {
        actor: &caller.actor,
        action: "operation.requested",
        subject: format!("operation {}", operation.id),
        before: json!(null),
        after: json!({"kind": operation.kind, "params": params}),
    }
}

pub(super) fn ended(
    actor: &str,
    id: i64,
    kind: OperationKind,
    before: Option<OperationState>,
    mut after: Value,
) -> audit::Entry<'_> {
    after["kind"] = json!(kind);
    audit::Entry {
        actor,
        action: "operation.ended",
        subject: format!("operation {id}"),
        before: before.map_or(Value::Null, |state| json!({"state": state})),
        after,
    }
}
