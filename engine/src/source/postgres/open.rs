//! Transactions that are open, and how the log stands, on PostgreSQL.

use super::*;

/// Every transaction holds the lock on its own virtual id, which every role may see. So may the process, the
/// application's name and the user be seen; since when it is open is hidden from a role without `pg_read_all_stats`.
/// Processes without a user are the server's own: none of them copies a value.
const OPEN: &str = "
    SELECT l.virtualxid, format('transaction of process %s%s, user %s%s%s', a.pid,
             coalesce(' (' || nullif(a.application_name, '') || ')', ''), coalesce(a.usename, '?'),
             coalesce(', ' || nullif(a.state, 'active'), ''),
             CASE WHEN a.xact_start IS NULL THEN ', since when this role may not see (GRANT pg_read_all_stats shows it)'
                  ELSE ', open for ' || greatest(0, extract(epoch FROM clock_timestamp() - a.xact_start))::bigint || ' s' END)
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'virtualxid' AND l.granted AND l.virtualxid = l.virtualtransaction
      AND a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL
      AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
    UNION ALL
    SELECT 'prepared ' || transaction || ' ' || gid, format('prepared transaction %s of user %s, prepared %s s ago', gid, owner,
             greatest(0, extract(epoch FROM clock_timestamp() - prepared))::bigint)
    FROM pg_prepared_xacts WHERE database = current_database()
    ORDER BY 1";

pub(super) async fn transactions(pool: &PgPool) -> Result<Vec<OpenTransaction>, SourceError> {
    let found = sqlx::query(OPEN).persistent(false).fetch_all(pool).await?;
    found.iter().map(|row| Ok(OpenTransaction { id: row.try_get(0)?, what: row.try_get(1)? })).collect()
}

/// Commits a record that says nothing and waits until the log is on disk with it, and so with every commit before it,
/// whoever made it and however. `local`: standbys are asked on their own, and one that is away must not hang this.
/// The timeline belongs to the position: a server that was promoted since has a log of its own.
pub(super) async fn flush(pool: &PgPool) -> Result<String, SourceError> {
    let mut txn = begin(pool, "BEGIN".to_owned()).await?;
    sqlx::raw_sql("SET LOCAL synchronous_commit = local").execute(&mut *txn).await?;
    let position =
        "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, pg_logical_emit_message(true, 'reseal', '')::text";
    let at: i64 = sqlx::query(position).persistent(false).fetch_one(&mut *txn).await?.try_get(0)?;
    txn.commit().await?;
    let flushed = "SELECT $1 <= (pg_current_wal_flush_lsn() - '0/0')::bigint, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
    let row = sqlx::query(flushed).persistent(false).bind(at).fetch_one(pool).await?;
    if !row.try_get::<bool, _>(0)? {
        return Err(SourceError::refused(
            "source_not_durable",
            "the source's server has not written its log to disk although a commit waited for that: look at its settings",
        ));
    }
    let timeline: String = row.try_get(1)?;
    Ok(format!("{timeline}/{at}"))
}

/// What changes when a person or an application mends what blocks a proof: rows that were changed or deleted, tables that
/// were made, emptied or dropped. Inserts mend nothing, and the ledger's own tables may be here.
pub(super) async fn sign(pool: &PgPool) -> Result<String, SourceError> {
    let sql = "SELECT
        (SELECT coalesce(sum(n_tup_upd + n_tup_del), 0)::text FROM pg_stat_user_tables WHERE relname !~ '^reseal_') || '/' ||
        (SELECT count(*) || '/' || coalesce(sum(oid::bigint + relfilenode::bigint), 0) FROM pg_class
         WHERE relkind IN ('r', 'p', 'm') AND relname !~ '^reseal_' AND relpersistence <> 't')";
    Ok(sqlx::query_scalar(sql).persistent(false).fetch_one(pool).await?)
}

/// The rows of the catalogue that make the fences and definitions of some tables, with who wrote each: what was dropped and
/// made again in between is told apart from what stood all the time.
pub(super) async fn mark(connection: &mut PgConnection, shapes: &[Shape]) -> Result<String, SourceError> {
    let sql = "
        WITH tables AS (
            SELECT c.oid FROM unnest($1::text[], $2::text[]) named(s, t)
            JOIN pg_namespace n ON n.nspname = s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t),
        parts AS (
            SELECT oid FROM tables UNION SELECT p.relid FROM tables, pg_partition_tree(tables.oid) p)
        SELECT coalesce(string_agg(line, ';' ORDER BY line), '') FROM (
            SELECT 'r' || oid FROM parts
            UNION ALL SELECT format('a%s.%s %s', a.attrelid, a.attnum, a.xmin) FROM parts, pg_attribute a
              WHERE a.attrelid = parts.oid AND a.attnum > 0
            UNION ALL SELECT format('t%s %s f%s %s', t.oid, t.xmin, f.oid, f.xmin) FROM parts, pg_trigger t, pg_proc f
              WHERE t.tgrelid = parts.oid AND f.oid = t.tgfoid
            UNION ALL SELECT format('c%s %s', k.oid, k.xmin) FROM parts, pg_constraint k WHERE k.conrelid = parts.oid
        ) lines(line)";
    let (schemas, tables): (Vec<&str>, Vec<&str>) =
        shapes.iter().map(|s| (s.schema.as_str(), s.table.as_str())).unzip();
    let lines: String =
        sqlx::query_scalar(sql).persistent(false).bind(schemas).bind(tables).fetch_one(connection).await?;
    Ok(fingerprint([lines.as_str()]))
}
