//! Database time: one clock for every worker. `clock_timestamp()`, because PostgreSQL's `now()`
//! stands still inside a transaction.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr,
    sea_query::{Expr, ExprTrait, Query, SimpleExpr},
};

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

/// Asks the database for its time, in Unix milliseconds.
pub async fn now_ms(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let row = db.query_one(Query::select().expr_as(now(db), "now")).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("the database's time".into()))?.try_get("", "now")
}
