//! How each try at a batch ended, for people who ask why it is not done yet.
//!
//! A try is written down in the transaction that ends it: one row for each that did not do its batch, and for each that
//! did after others had not. A batch that is done at the first try, as nearly all are, costs none. A worker that dies
//! writes nothing; its epoch is missing.

pub use crate::attempts::{AttemptOutcome, Model as Attempt};

use super::{LedgerError, time::now};
use crate::{
    attempts::{self, Column},
    batches,
    state::BatchState,
};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, Func, OnConflict, Query, SimpleExpr},
};

/// So many of a batch's last tries are told.
pub const TOLD_MAX: u64 = 100;

/// A batch's last tries that have ended, oldest first, at most [`TOLD_MAX`].
pub async fn of_batch(db: &impl ConnectionTrait, batch_id: i64) -> Result<Vec<Attempt>, LedgerError> {
    let found = attempts::Entity::find().filter(Column::BatchId.eq(batch_id)).order_by_desc(Column::Epoch);
    let mut found = found.limit(TOLD_MAX).all(db).await?;
    found.reverse();
    Ok(found)
}

/// Epochs of a batch, among its last [`TOLD_MAX`], of which no try tells: their worker died or lost its lease. A claim
/// that holds it now is not among them, nor one whose first try did it. Tries at a ledger of before this was written
/// down are, too.
pub fn lost(batch: &batches::Model, told: &[Attempt]) -> Vec<i64> {
    let speaks_for_itself = matches!(batch.state, BatchState::Leased | BatchState::Done);
    let last = batch.epoch - i64::from(speaks_for_itself);
    let first = std::cmp::max(last - TOLD_MAX as i64 + 1, 1);
    (first..=last).filter(|epoch| !told.iter().any(|attempt| attempt.epoch == *epoch)).collect()
}

const COLUMNS: [Column; 9] = [
    Column::BatchId,
    Column::Epoch,
    Column::Worker,
    Column::BeganAt,
    Column::EndedAt,
    Column::Outcome,
    Column::Code,
    Column::Detail,
    Column::RowsDone,
];

/// Writes down how the try ended for which `batch` was claimed, after the statement that ended it and in its
/// transaction. Whoever calls this has found that the batch was still its own.
pub(super) async fn note_end(
    txn: &impl ConnectionTrait,
    batch: &batches::Model,
    outcome: AttemptOutcome,
    failure: Option<(&str, &str)>,
) -> Result<(), LedgerError> {
    // The model is the one of the claim, and only the claim and this worker write the lease.
    let began_at = batch.lease_until.map(|until| until - super::time::LEASE_MS);
    let (code, detail) = failure.unzip();
    let this = Condition::all().add(batches::Column::Id.eq(batch.id)).add(batches::Column::Epoch.eq(batch.epoch));
    let rest = [
        Expr::value(began_at),
        now(txn),
        Expr::value(outcome),
        Expr::value(code),
        Expr::value(detail),
        Expr::col(batches::Column::RowsCounted).sub(batch.rows_counted),
    ];
    write(txn, rest, this).await
}

/// Writes down the first tries that did batches which are about to be done again, as those with more tries have it
/// already. When they began is not known any more.
pub(super) async fn note_done_at_once(txn: &impl ConnectionTrait, again: Condition) -> Result<(), LedgerError> {
    let at_once = again.add(batches::Column::State.eq(BatchState::Done)).add(batches::Column::Epoch.eq(1));
    let rest = [
        Expr::value(Option::<i64>::None),
        Func::coalesce([Expr::col(batches::Column::DoneAt), now(txn)]).into(),
        Expr::value(AttemptOutcome::Done),
        Expr::value(Option::<String>::None),
        Expr::value(Option::<String>::None),
        Expr::col(batches::Column::RowsCounted),
    ];
    write(txn, rest, at_once).await
}

/// One row for each batch that `of` names: its id, epoch and worker, and the `rest` of the columns.
async fn write(txn: &impl ConnectionTrait, rest: [SimpleExpr; 6], of: Condition) -> Result<(), LedgerError> {
    let mut rows = Query::select();
    rows.columns([batches::Column::Id, batches::Column::Epoch, batches::Column::Worker]).exprs(rest);
    rows.from(batches::Entity).cond_where(of);
    let mut insert = Query::insert();
    insert.into_table(attempts::Entity).columns(COLUMNS);
    insert.select_from(rows).map_err(|e| sea_orm::DbErr::Custom(e.to_string()))?;
    insert.on_conflict(OnConflict::columns([Column::BatchId, Column::Epoch]).do_nothing().to_owned());
    txn.execute(&insert).await?;
    Ok(())
}
