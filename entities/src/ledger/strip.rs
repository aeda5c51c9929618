//! How a rotation's batches stand along each table: the same few bins for ten batches or a million.

use super::{LedgerError, plan};
use crate::{
    batches,
    quarantine::{self, QuarantineState},
    state::BatchState,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, FromQueryResult,
    sea_query::{Asterisk, Expr, ExprTrait, Func, JoinType, Order, Query, WindowStatement},
};
use std::collections::BTreeMap;

/// More bins than this are not told apart by anybody.
pub const BINS_MAX: i64 = 1_000;

/// Batches that lie beside each other in a table, by state; their sum is never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bin {
    /// Wait for a worker.
    pub pending: i64,
    /// Are held by one.
    pub leased: i64,
    /// Wait for a person.
    pub failed: i64,
    /// Were looked at, all of them.
    pub done: i64,
    /// Rows in them that are quarantined.
    pub rows_quarantined: i64,
}

impl Bin {
    /// Batches in it.
    pub fn batches(&self) -> i64 {
        self.pending + self.leased + self.failed + self.done
    }
}

/// One table's bins, from its first key to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStrip {
    /// `source:schema.table`.
    pub table: String,
    /// Empty: nothing of it is cut yet, or it has no rows.
    pub bins: Vec<Bin>,
}

#[derive(FromQueryResult)]
struct Group {
    planned_table_id: i64,
    bin: i32,
    state: BatchState,
    batches: i64,
    rows_quarantined: i64,
}

/// Every table of a rotation in at most `bins` bins of equally many batches, one more or less, and never more bins
/// than batches. Batches stand in the order in which their table was cut; those that were put in place of one stand
/// where that one stood, and superseded ones are left out. One statement, whose answer has at most four
/// lines a bin; its price is one pass over the rotation's batches, sorted.
pub async fn of_rotation(
    db: &impl ConnectionTrait,
    rotation_id: i64,
    bins: i64,
) -> Result<Vec<TableStrip>, LedgerError> {
    let mut strips: BTreeMap<i64, BTreeMap<i32, Bin>> = BTreeMap::new();
    for group in groups(db, rotation_id, bins.clamp(1, BINS_MAX)).await? {
        let bin = strips.entry(group.planned_table_id).or_default().entry(group.bin).or_default();
        let stand = match group.state {
            BatchState::Pending => &mut bin.pending,
            BatchState::Leased => &mut bin.leased,
            BatchState::Failed => &mut bin.failed,
            BatchState::Done => &mut bin.done,
            BatchState::Superseded => continue,
        };
        *stand = group.batches;
        bin.rows_quarantined += group.rows_quarantined;
    }
    let mut told = Vec::new();
    for table in plan::tables(db, rotation_id).await? {
        let bins = strips.remove(&table.id).unwrap_or_default().into_values().collect();
        told.push(TableStrip { table: table.path(), bins });
    }
    Ok(told)
}

async fn groups(db: &impl ConnectionTrait, rotation_id: i64, bins: i64) -> Result<Vec<Group>, LedgerError> {
    const ROWS: &str = "rows_quarantined";
    let rows = Query::select()
        .column(quarantine::Column::BatchId)
        .expr_as(quarantine::Column::Id.count(), ROWS)
        .from(quarantine::Entity)
        .and_where(quarantine::Column::RotationId.eq(rotation_id))
        .and_where(quarantine::Column::State.is_in(QuarantineState::UNRESOLVED))
        .group_by_col(quarantine::Column::BatchId)
        .to_owned();
    let of_batch = |column| Expr::col((batches::Entity, column));
    let place = Func::coalesce([of_batch(batches::Column::PartOf), of_batch(batches::Column::Id)]);
    let mut along = WindowStatement::partition_by(batches::Column::PlannedTableId);
    along.order_by_expr(place.into(), Order::Asc).order_by((batches::Entity, batches::Column::Id), Order::Asc);
    // One batch a bin where there are fewer than bins.
    let binned = Query::select()
        .columns([batches::Column::PlannedTableId, batches::Column::State])
        .column(ROWS)
        .expr_window_as(Func::cust("NTILE").arg(Expr::cust(bins.to_string())), along, "bin")
        .from(batches::Entity)
        .join_subquery(JoinType::LeftJoin, rows, "q", Expr::col(("q", "batch_id")).eq(of_batch(batches::Column::Id)))
        .and_where(batches::Column::RotationId.eq(rotation_id))
        .and_where(batches::Column::State.ne(BatchState::Superseded))
        .to_owned();
    // PostgreSQL's sum of integers is no integer.
    let rows = Expr::from(Func::coalesce([Expr::from(Func::sum(Expr::col(ROWS))), Expr::value(0)])).cast_as("bigint");
    let by = ["planned_table_id", "bin", "state"];
    let groups = Query::select()
        .columns(by)
        .expr_as(Func::count(Expr::col(Asterisk)), "batches")
        .expr_as(rows, ROWS)
        .from_subquery(binned, "b")
        .group_by_columns(by)
        .to_owned();
    let rows = db.query_all(&groups).await?;
    Ok(rows.iter().map(|row| Group::from_query_result(row, "")).collect::<Result<_, _>>()?)
}
