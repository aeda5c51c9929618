//! Streaming replicas, as the primary's `pg_stat_replication` has them, and slots that keep the log for one.

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

/// Copies that could take this server's place and have not replayed the log up to `$1`. A subscriber of logical changes is
/// another database, and a base backup that is being taken ends later than now. Who reports what it has written and never
/// what it has replayed keeps the log and is no database. `state` is NULL to a role that may not see it. A slot without a
/// connection stands for the standby that it keeps the log for; one that was never used stands for none, one whose log is
/// gone for one that will not catch up.
const BEHIND: &str = "
    SELECT coalesce(s.slot_name::text, coalesce(nullif(r.application_name, ''), 'process ' || r.pid)
             || coalesce('@' || host(r.client_addr), '')),
           CASE WHEN r.state IS NULL THEN
             'this role may not see how far it is behind: GRANT pg_monitor to it'
           ELSE format('it has not replayed the last %s bytes',
             coalesce($1 - (r.replay_lsn - '0/0')::bigint, $1)) END
    FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid
    WHERE s.slot_type IS DISTINCT FROM 'logical' AND r.state IS DISTINCT FROM 'backup'
      AND NOT (r.state IS NOT NULL AND r.replay_lsn IS NULL AND r.write_lsn IS NOT NULL)
      AND (r.state IS NULL OR r.replay_lsn IS NULL OR (r.replay_lsn - '0/0')::bigint < $1)
    UNION ALL
    SELECT slot_name::text, 'nothing is connected to this replication slot, and its standby has not replayed the last changes'
    FROM pg_replication_slots
    WHERE slot_type = 'physical' AND active_pid IS NULL
      AND (wal_status = 'lost' OR (restart_lsn - '0/0')::bigint < $1)
    ORDER BY 1";

/// None: this server's log is another one than the one that `position` is in.
pub(super) async fn behind(pool: &PgPool, position: &str) -> Result<Option<Vec<CopyBehind>>, SourceError> {
    let timeline = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
    let timeline: String = sqlx::query_scalar(timeline).persistent(false).fetch_one(pool).await?;
    let at = position.split_once('/').filter(|(t, _)| *t == timeline).and_then(|(_, at)| at.parse::<i64>().ok());
    let Some(at) = at else { return Ok(None) };
    let rows = sqlx::query(BEHIND).persistent(false).bind(at).fetch_all(pool).await?;
    let found = rows.iter().map(|row| Ok(CopyBehind { name: row.try_get(0)?, what: row.try_get(1)? }));
    found.collect::<Result<_, SourceError>>().map(Some)
}
