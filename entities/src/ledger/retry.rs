//! A person asks for failed batches and quarantined rows to be done again.

use super::{LedgerError, after, audit, may, plan, time::now};
use crate::{
    batches,
    quarantine::{self, QuarantineState},
    rotations,
    state::{BatchEvent, BatchState, RotationState},
};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, QueryFilter,
    sea_query::{Expr, ExprTrait, Query, SelectStatement, SimpleExpr},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What to do again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// One batch, failed or with quarantined rows.
    Batch(i64),
    /// Every failed batch and every quarantined row.
    All,
}

/// Which of a rotation's batches and rows to do again: those that fit every field. Nothing set means every
/// failed batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryFilter {
    /// These batches, as many as one likes.
    pub batch_ids: Option<Vec<i64>>,
    /// Batches that failed, and rows that were quarantined, for this code.
    pub code: Option<String>,
    /// Of this table: `source:schema.table`, or its name where that is clear.
    pub table: Option<String>,
    /// Quarantined rows too, and the batches that they stand in.
    pub quarantined: bool,
}

impl RetryFilter {
    /// For the audit, which is read by people: ids by the ten thousand are told by their number.
    pub(super) fn told(&self) -> Value {
        let mut told = json!(self);
        if let Some(ids) = self.batch_ids.as_ref().filter(|ids| ids.len() > 100) {
            told["batch_ids"] = json!(format!("{} batches", ids.len()));
        }
        told
    }
}

/// What was set going. Batches are counted, but for `rows`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// Batches that the filter named. With `batch_ids` those of them that the rotation has and that fit the other
    /// fields, whatever has become of them; without, those that were failed, or had quarantined rows, just now.
    pub matched: u64,
    /// Those that are pending again.
    pub applied: u64,
    /// `matched - applied`: named by `batch_ids`, but neither failed nor with quarantined rows that were asked for any
    /// more when this was applied, or the rotation is past its batches. None without `batch_ids`.
    pub skipped: u64,
    /// Quarantined rows that will be looked at again, by their batches or by the next sweep.
    pub rows: u64,
}

/// One batch, or all there is, as [`retry_matching`] does it. A batch with nothing to retry is refused.
pub async fn retry(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation_id: i64,
    what: What,
) -> Result<Retried, LedgerError> {
    let batch_ids = match what {
        What::Batch(id) => Some(vec![id]),
        What::All => None,
    };
    let filter = RetryFilter { batch_ids, quarantined: true, ..RetryFilter::default() };
    let retried = retry_matching(txn, actor, rotation_id, &filter).await?;
    if let (What::Batch(id), 0, 0) = (what, retried.applied, retried.rows) {
        return Err(LedgerError::refused(
            "nothing_to_retry",
            format!(
                "batch {id} of rotation {rotation_id} has neither failed nor quarantined rows: see `reseal status {rotation_id}`"
            ),
        ));
    }
    Ok(retried)
}

/// Sets failed batches, and batches with quarantined rows, pending again from their start; rows that
/// the sweep found are looked at again by the next sweep. In the caller's transaction; any number of
/// batches and rows by a fixed number of statements, which hold their locks until it ends.
pub async fn retry_matching(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation_id: i64,
    filter: &RetryFilter,
) -> Result<Retried, LedgerError> {
    let rotation = open_rotation(txn, rotation_id).await?;
    let named = Named::new(txn, rotation_id, filter).await?;
    let rows = if filter.quarantined { look_again(txn, rotation_id, &named).await? } else { 0 };
    let failed = Condition::all().add(batches::Column::State.eq(BatchState::Failed)).add(named.batches_by_code());
    let mut wanted = Condition::any().add(failed);
    if filter.quarantined {
        wanted = wanted.add(batches::Column::Id.in_subquery(named.batches_of_rows(rotation_id)));
    }
    // Once a rotation is proving nobody claims its batches: the sweep looks at the rows again.
    let reopens =
        matches!(rotation.state, RotationState::Requested | RotationState::Planning | RotationState::Reencrypting);
    let by_id = if filter.batch_ids.is_some() { Some(count(txn, rotation_id, &named, filter).await?) } else { None };
    let applied = if reopens { set_pending(txn, rotation_id, &named, wanted).await? } else { 0 };
    leave_to_the_sweep(txn, rotation_id, reopens).await?;
    rotations::Entity::update_many()
        .col_expr(rotations::Column::StepDueAt, now(txn))
        .col_expr(rotations::Column::NextRingAt, Expr::value(0))
        .filter(rotations::Column::Id.eq(rotation_id))
        .exec(txn)
        .await?;
    let matched = by_id.unwrap_or(applied);
    let retried = Retried { matched, applied, skipped: matched.saturating_sub(applied), rows };
    let subject = format!("rotation {rotation_id}");
    let after = json!({"filter": filter.told(), "retried": retried});
    audit::record(txn, audit::Entry { actor, action: "rotation.retried", subject, before: json!(null), after }).await?;
    Ok(retried)
}

/// Locked, so that of two retries at once the second sees what the first did, and closing waits.
async fn open_rotation(txn: &impl ConnectionTrait, rotation_id: i64) -> Result<rotations::Model, LedgerError> {
    let rotation = super::read::locked(txn, rotation_id).await?;
    if rotation.open_keyset.is_none() {
        return Err(LedgerError::refused(
            "rotation_ended",
            format!("rotation {rotation_id} is {}: there is nothing to retry", rotation.state),
        ));
    }
    Ok(rotation)
}

/// A filter as conditions.
struct Named {
    batches: Condition,
    rows: Condition,
    code: Option<String>,
}

impl Named {
    async fn new(txn: &impl ConnectionTrait, rotation_id: i64, filter: &RetryFilter) -> Result<Self, LedgerError> {
        let mut batches = Condition::all().add(batches::Column::RotationId.eq(rotation_id));
        let mut rows = Condition::all().add(quarantine::Column::RotationId.eq(rotation_id));
        if let Some(ids) = &filter.batch_ids {
            batches = batches.add(is_one_of(txn, "reseal_batches\".\"id", ids));
            rows = rows.add(is_one_of(txn, "reseal_quarantine\".\"batch_id", ids));
        }
        if let Some(name) = &filter.table {
            let id = table_called(txn, rotation_id, name).await?;
            batches = batches.add(batches::Column::PlannedTableId.eq(id));
            rows = rows.add(quarantine::Column::PlannedTableId.eq(id));
        }
        if let Some(code) = &filter.code {
            rows = rows.add(quarantine::Column::Code.eq(code));
        }
        Ok(Self { batches, rows, code: filter.code.clone() })
    }

    fn batches_by_code(&self) -> Condition {
        Condition::all().add_option(self.code.as_ref().map(|code| batches::Column::Code.eq(code)))
    }

    /// The batches of rows that are to be looked at again.
    fn batches_of_rows(&self, rotation_id: i64) -> SelectStatement {
        Query::select()
            .column(quarantine::Column::BatchId)
            .from(quarantine::Entity)
            .cond_where(self.rows.clone())
            .and_where(quarantine::Column::RotationId.eq(rotation_id))
            .and_where(quarantine::Column::State.eq(QuarantineState::Retrying))
            .and_where(quarantine::Column::BatchId.is_not_null())
            .to_owned()
    }
}

/// `column` is one of `ids`, by one bound text: databases take only so many values in a statement.
fn is_one_of(db: &impl ConnectionTrait, column: &str, ids: &[i64]) -> SimpleExpr {
    let ids = json!(ids).to_string();
    match db.get_database_backend() {
        DbBackend::Postgres => Expr::cust_with_values(
            format!("\"{column}\" IN (SELECT value::bigint FROM json_array_elements_text($1::json))"),
            [ids],
        ),
        _ => Expr::cust_with_values(format!("\"{column}\" IN (SELECT value FROM json_each(?))"), [ids]),
    }
}

async fn table_called(txn: &impl ConnectionTrait, rotation_id: i64, name: &str) -> Result<i64, LedgerError> {
    let mut found = plan::tables(txn, rotation_id).await?;
    found.retain(|t| t.is_called(name));
    match (found.pop(), found.pop()) {
        (Some(table), None) => Ok(table.id),
        (None, _) => Err(LedgerError::refused(
            "unknown_table",
            format!("rotation {rotation_id} has no table `{name}`: see `reseal status {rotation_id}`"),
        )),
        (Some(one), Some(other)) => Err(LedgerError::refused(
            "ambiguous_table",
            format!("`{name}` can be {} and {}: write source:schema.table", other.path(), one.path()),
        )),
    }
}

/// A batch at work has passed some of its rows already: they stay open until it is done.
async fn look_again(txn: &impl ConnectionTrait, rotation_id: i64, named: &Named) -> Result<u64, LedgerError> {
    let at_work = of_rotation(rotation_id, vec![BatchState::Pending, BatchState::Leased]);
    let rows = quarantine::Entity::update_many()
        .col_expr(quarantine::Column::State, Expr::value(QuarantineState::Retrying))
        .filter(named.rows.clone())
        .filter(quarantine::Column::State.eq(QuarantineState::Open))
        .filter(quarantine::Column::BatchId.is_null().or(quarantine::Column::BatchId.not_in_subquery(at_work)));
    Ok(rows.exec(txn).await?.rows_affected)
}

/// Batches that `batch_ids` names, in whatever state.
async fn count(
    txn: &impl ConnectionTrait,
    rotation_id: i64,
    named: &Named,
    filter: &RetryFilter,
) -> Result<u64, LedgerError> {
    let mut fits = Condition::any().add(named.batches_by_code());
    if filter.quarantined {
        fits = fits.add(batches::Column::Id.in_subquery(named.batches_of_rows(rotation_id)));
    }
    Ok(batches::Entity::find().filter(named.batches.clone()).filter(fits).count(txn).await?)
}

async fn set_pending(
    txn: &impl ConnectionTrait,
    rotation_id: i64,
    named: &Named,
    wanted: Condition,
) -> Result<u64, LedgerError> {
    let again = batches::Entity::update_many()
        .col_expr(batches::Column::State, Expr::value(after::<BatchState>(BatchEvent::Retry)))
        .col_expr(batches::Column::Cursor, Expr::value(Option::<String>::None))
        .col_expr(batches::Column::Attempts, Expr::value(0))
        .col_expr(batches::Column::BarrenClaims, Expr::value(0))
        .col_expr(batches::Column::DueAt, Expr::value(0))
        .col_expr(batches::Column::NextRingAt, Expr::value(0))
        .filter(batches::Column::RotationId.eq(rotation_id))
        .filter(may::<BatchState>(batches::Column::State, BatchEvent::Retry))
        .filter(named.batches.clone())
        .filter(wanted);
    Ok(again.exec(txn).await?.rows_affected)
}

/// A row whose batch was split, or is not done again, is the sweep's.
async fn leave_to_the_sweep(txn: &impl ConnectionTrait, rotation_id: i64, reopens: bool) -> Result<(), LedgerError> {
    let left = of_rotation(
        rotation_id,
        if reopens {
            vec![BatchState::Superseded]
        } else {
            vec![BatchState::Superseded, BatchState::Done, BatchState::Failed]
        },
    );
    quarantine::Entity::update_many()
        .col_expr(quarantine::Column::BatchId, Expr::value(Option::<i64>::None))
        .filter(quarantine::Column::RotationId.eq(rotation_id))
        .filter(quarantine::Column::State.eq(QuarantineState::Retrying))
        .filter(quarantine::Column::BatchId.in_subquery(left))
        .exec(txn)
        .await?;
    Ok(())
}

fn of_rotation(rotation_id: i64, states: Vec<BatchState>) -> SelectStatement {
    Query::select()
        .column(batches::Column::Id)
        .from(batches::Entity)
        .and_where(batches::Column::RotationId.eq(rotation_id))
        .and_where(batches::Column::State.is_in(states))
        .to_owned()
}
