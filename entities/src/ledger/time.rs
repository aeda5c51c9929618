//! Database time: one clock for every worker. `clock_timestamp()`, because PostgreSQL's `now()`
//! stands still inside a transaction.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr,
    sea_query::{Expr, ExprTrait, IntoColumnRef, Query, SimpleExpr},
};

/// How long a leader leads without a sign of life.
pub const LEADER_LEASE_MS: i64 = 5_000;
/// How long a batch, a step or an operation is held without a sign of life.
pub const LEASE_MS: i64 = 30_000;
/// A ring that led to no claim for so long is repeated.
pub const RING_AGAIN_MS: i64 = 60_000;
/// The longest pause of a batch before it is due again.
pub const BATCH_PAUSE_MAX_MS: i64 = 900_000;
/// The longest pause of a rotation's step.
pub const STEP_PAUSE_MAX_MS: i64 = 3_600_000;
/// The longest pause of an operation.
pub const OPERATION_PAUSE_MAX_MS: i64 = 60_000;
/// A process that was not seen for so long is taken for dead.
pub const ALIVE_MS: i64 = 30_000;

/// The database's time as an expression, in Unix milliseconds.
pub fn now(db: &impl ConnectionTrait) -> SimpleExpr {
    Expr::cust(match db.get_database_backend() {
        DbBackend::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        DbBackend::MySql => "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
        _ => "(extract(epoch from clock_timestamp()) * 1000)::bigint",
    })
}

/// The database's time in so many milliseconds.
pub(crate) fn now_plus(db: &impl ConnectionTrait, ms: i64) -> SimpleExpr {
    now(db).add(ms)
}

/// The end of a pause of at most `most_ms`: a step that wants a longer one looks again in between.
pub(crate) fn pause_until(db: &impl ConnectionTrait, ms: i64, most_ms: i64) -> SimpleExpr {
    now_plus(db, ms.clamp(0, most_ms))
}

/// Clocks are set back by so much without anything being wrong.
pub const CLOCK_SLACK_MS: i64 = 5_000;

fn latest(db: &impl ConnectionTrait, most_ms: i64) -> SimpleExpr {
    now_plus(db, most_ms + CLOCK_SLACK_MS)
}

/// True of a time that is past, and of one that lies further ahead than `most_ms`. No statement sets a time further ahead
/// than that, so the clock was wrong then or is now; a lease that waited for the clock to come back could last for days.
pub(crate) fn is_over(db: &impl ConnectionTrait, column: impl IntoColumnRef, most_ms: i64) -> SimpleExpr {
    let column = Expr::col(column);
    column.clone().lt(now(db)).or(column.gt(latest(db, most_ms)))
}

/// The opposite of [`is_over`]. NULL is neither.
pub(crate) fn still_runs(db: &impl ConnectionTrait, column: impl IntoColumnRef, most_ms: i64) -> SimpleExpr {
    let column = Expr::col(column);
    column.clone().gte(now(db)).and(column.lte(latest(db, most_ms)))
}

/// True of a time that has come: as [`is_over`], and in the very millisecond, too.
pub(crate) fn has_come(db: &impl ConnectionTrait, column: impl IntoColumnRef, most_ms: i64) -> SimpleExpr {
    let column = Expr::col(column);
    column.clone().lte(now(db)).or(column.gt(latest(db, most_ms)))
}

/// The opposite of [`has_come`]. NULL is neither.
pub(crate) fn is_to_come(db: &impl ConnectionTrait, column: impl IntoColumnRef, most_ms: i64) -> SimpleExpr {
    let column = Expr::col(column);
    column.clone().gt(now(db)).and(column.lte(latest(db, most_ms)))
}

/// True of a sign of life within the last `ms`. One that lies as far ahead is from a clock that was wrong.
pub(crate) fn seen_within(db: &impl ConnectionTrait, column: impl IntoColumnRef, ms: i64) -> SimpleExpr {
    let column = Expr::col(column);
    column.clone().gt(now_plus(db, -ms)).and(column.lt(now_plus(db, ms)))
}

/// Asks the database for its time, in Unix milliseconds.
pub async fn now_ms(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let row = db.query_one(Query::select().expr_as(now(db), "now")).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("the database's time".into()))?.try_get("", "now")
}
