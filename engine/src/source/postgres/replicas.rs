//! Streaming replicas, as the primary's `pg_stat_replication` has them.

use super::*;

/// A replica that has replayed everything has no lag, whatever it last measured. One that copies the database
/// for the first time serves nobody yet. `state` is NULL to a role that may not see it.
const REPLICAS: &str = "SELECT state IS NULL, coalesce(application_name, ''),
        (extract(epoch FROM replay_lag) * 1000)::bigint,
        coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0)::bigint
    FROM pg_stat_replication WHERE state IS NULL OR state IN ('catchup', 'streaming')";

pub(super) async fn of(pool: &PgPool) -> Result<Replicas, SourceError> {
    let rows = sqlx::query(REPLICAS).persistent(false).fetch_all(pool).await?;
    let (mut seen, mut unseen) = (Vec::new(), 0);
    for row in &rows {
        if row.try_get(0)? {
            unseen += 1;
            continue;
        }
        let bytes_behind: i64 = row.try_get(3)?;
        let lag_ms: Option<i64> = row.try_get(2)?;
        let lag_ms = if bytes_behind > 0 { lag_ms } else { None };
        seen.push(Replica { name: row.try_get(1)?, lag_ms, bytes_behind });
    }
    Ok(if unseen > 0 { Replicas::Unseen(unseen) } else { Replicas::Seen(seen) })
}
