//! What a filter names, as conditions: the same ones count and set going.

use super::RetryFilter;
use crate::{
    batches,
    ledger::{LedgerError, may, plan},
    quarantine::{self, QuarantineState},
    state::{BatchEvent, BatchState, RotationState},
};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend,
    sea_query::{Expr, ExprTrait, Query, SelectStatement, SimpleExpr},
};
use serde_json::json;

/// A filter of one rotation.
pub(in crate::ledger) struct Named {
    rotation_id: i64,
    batches: Condition,
    rows: Condition,
    code: Option<String>,
    quarantined: bool,
}

impl Named {
    /// Refused when its table is unknown or not clear.
    pub(in crate::ledger) async fn new(
        db: &impl ConnectionTrait,
        rotation_id: i64,
        filter: &RetryFilter,
    ) -> Result<Self, LedgerError> {
        let mut batches = Condition::all().add(batches::Column::RotationId.eq(rotation_id));
        let mut rows = Condition::all().add(quarantine::Column::RotationId.eq(rotation_id));
        if let Some(ids) = &filter.batch_ids {
            batches = batches.add(is_one_of(db, "reseal_batches\".\"id", ids));
            rows = rows.add(is_one_of(db, "reseal_quarantine\".\"batch_id", ids));
        }
        if let Some(name) = &filter.table {
            let id = table_called(db, rotation_id, name).await?;
            batches = batches.add(batches::Column::PlannedTableId.eq(id));
            rows = rows.add(quarantine::Column::PlannedTableId.eq(id));
        }
        if let Some(code) = &filter.code {
            rows = rows.add(quarantine::Column::Code.eq(code));
        }
        Ok(Self { rotation_id, batches, rows, code: filter.code.clone(), quarantined: filter.quarantined })
    }

    /// Quarantined rows that a retry asks to be looked at again; none: no row is asked for. A batch at work has passed
    /// some of its rows already: they stay open until it is done.
    pub(super) fn rows_to_look_at(&self) -> Option<Condition> {
        let at_work = of_rotation(self.rotation_id, vec![BatchState::Pending, BatchState::Leased]);
        let not_at_work =
            quarantine::Column::BatchId.is_null().or(quarantine::Column::BatchId.not_in_subquery(at_work));
        let open = self.rows.clone().add(quarantine::Column::State.eq(QuarantineState::Open));
        self.quarantined.then(|| open.add(not_at_work))
    }

    /// Batches that a retry sets pending: failed ones, and those with rows in one of `states`.
    pub(in crate::ledger) fn batches_to_reopen(&self, states: &[QuarantineState]) -> Condition {
        let failed = Condition::all().add(batches::Column::State.eq(BatchState::Failed)).add(self.by_code());
        self.batches
            .clone()
            .add(may::<BatchState>(batches::Column::State, BatchEvent::Retry))
            .add(self.or_with_rows(failed, states))
    }

    /// Batches that `batch_ids` names, in whatever state.
    pub(in crate::ledger) fn batches_by_id(&self) -> Condition {
        self.batches.clone().add(self.or_with_rows(self.by_code(), &[QuarantineState::Retrying]))
    }

    fn by_code(&self) -> Condition {
        Condition::all().add_option(self.code.as_ref().map(|code| batches::Column::Code.eq(code)))
    }

    fn or_with_rows(&self, fits: Condition, states: &[QuarantineState]) -> Condition {
        let with_rows = self.quarantined.then(|| batches::Column::Id.in_subquery(self.batches_of_rows(states)));
        Condition::any().add(fits).add_option(with_rows)
    }

    fn batches_of_rows(&self, states: &[QuarantineState]) -> SelectStatement {
        Query::select()
            .column(quarantine::Column::BatchId)
            .from(quarantine::Entity)
            .cond_where(self.rows.clone())
            .and_where(quarantine::Column::State.is_in(states.iter().copied()))
            .and_where(quarantine::Column::BatchId.is_not_null())
            .to_owned()
    }
}

/// Once a rotation is proving nobody claims its batches: the sweep looks at their rows again.
pub(super) fn reopens(state: RotationState) -> bool {
    matches!(state, RotationState::Requested | RotationState::Planning | RotationState::Reencrypting)
}

/// A rotation's batches in these states.
pub(super) fn of_rotation(rotation_id: i64, states: Vec<BatchState>) -> SelectStatement {
    Query::select()
        .column(batches::Column::Id)
        .from(batches::Entity)
        .and_where(batches::Column::RotationId.eq(rotation_id))
        .and_where(batches::Column::State.is_in(states))
        .to_owned()
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

async fn table_called(db: &impl ConnectionTrait, rotation_id: i64, name: &str) -> Result<i64, LedgerError> {
    let mut found = plan::tables(db, rotation_id).await?;
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
