//! Afterwards, on request: a second rotation that takes its time and meets damaged values.

use super::{Done, request, work::Worker, world::failed};
use crate::{context::Context, failure::Failure};
use reseal_entities::ledger::throttle::{self, Limits};

/// Slow enough to be looked at.
const ROWS_PER_SECOND: i64 = 400;
/// Values with a byte that is not as it was written, as a bad disk leaves them.
const DAMAGED: i64 = 12;
/// Values cut short, as a column that is too narrow leaves them.
const CUT: i64 = 3;

/// Works until `stop`. What was proved before is not touched: the damage is done to the rows of the next rotation.
pub(super) async fn until(stop: impl Future<Output = ()>, done: &Done, context: &Context) -> Result<(), Failure> {
    let world = &done.world;
    damage(world).await?;
    let worker = Worker::start(world).await?;
    let id = request(world, &worker, "the demo's second one, to be looked at").await?;
    let slow = Limits { rows_per_second: Some(ROWS_PER_SECOND), ..Limits::default() };
    let txn = world.ledger.begin().await?;
    throttle::limit_if_open(&txn, id, &crate::actor::actor(), |_| slow).await?;
    txn.commit().await?;
    context.output.note(&format!(
        "\nrotation {id} now runs at {ROWS_PER_SECOND} rows/s, over values of which some were damaged on purpose.\n\
         Look at it: {}, and sign in with {}\n\
         It stays until Ctrl-C.",
        done.dashboard.url, done.dashboard.token
    ));
    stop.await;
    worker.stop().await
}

/// In the middle of the largest table, so that something is done before it is met.
async fn damage(world: &super::World) -> Result<(), Failure> {
    for (every, rows, change) in [
        (7, DAMAGED, "substr(encrypted_content, 1, length(encrypted_content) - 1) || x'00'"),
        (11, CUT, "substr(encrypted_content, 1, 9)"),
    ] {
        let sql = format!(
            "UPDATE messages SET encrypted_content = CAST({change} AS BLOB) WHERE id IN \
             (SELECT id FROM messages WHERE id % {every} = 0 ORDER BY id LIMIT {rows})"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&world.app).await.map_err(failed)?;
    }
    Ok(())
}
