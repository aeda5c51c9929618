//! A hundred thousand batches more.

use reseal_entities::ledger::plan;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

pub(crate) const MANY: i64 = 100_000;

/// Cuts them in the first table of a rotation: most are done, one in a thousand has failed. One statement.
pub(super) async fn cut(db: &impl ConnectionTrait, rotation_id: i64) {
    let table = plan::tables(db, rotation_id).await.expect("tables")[0].clone();
    let batches = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?),
             each AS (SELECT n, CASE WHEN n % 1000 = 7 THEN 'failed' WHEN n <= 60000 THEN 'done' ELSE 'pending' END AS state FROM n)
         INSERT INTO reseal_batches (rotation_id, planned_table_id, after_key, up_to_key, rows, state, epoch, rows_counted,
             barren_claims, attempts, due_at, code, detail, failed_at, next_ring_at, rings, done_at)
         SELECT ?, ?, ? + (n - 1) * 100, ? + n * 100, 100, state, 1, CASE state WHEN 'done' THEN 100 ELSE 0 END, 0,
             CASE state WHEN 'failed' THEN 8 ELSE 0 END, 0, CASE state WHEN 'failed' THEN 'source_lock_timeout' END,
             CASE state WHEN 'failed' THEN 'something held a lock on the table' END,
             CASE state WHEN 'failed' THEN 1700000000000 + n END, 0, 1,
             CASE state WHEN 'done' THEN 1700000000000 + n END FROM each";
    let values = [MANY.into(), rotation_id.into(), table.id.into(), table.rows.into(), table.rows.into()];
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, batches, values)).await.expect("cut");
    let rows = "UPDATE reseal_planned_tables SET rows = rows + ? WHERE id = ?";
    let values = [(MANY * 100).into(), table.id.into()];
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, rows, values)).await.expect("counted");
}
