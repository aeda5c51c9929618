//! Who holds a table.
//!
//! What waits for a table's lock makes every reader and writer behind it wait, too. So a lock that somebody has held for
//! long is not waited for: it is looked at from beside, and named.

use super::*;
use std::collections::HashSet;

/// Modes that keep `SHARE ROW EXCLUSIVE` waiting: a trigger is made under it.
pub(super) const AGAINST_TRIGGER: &str =
    "RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock";
/// Modes that keep `ACCESS EXCLUSIVE` waiting, which is all of them: a constraint is added under it.
pub(super) const AGAINST_CONSTRAINT: &str = "AccessShareLock,RowShareLock,RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock";
/// Modes that keep `SHARE UPDATE EXCLUSIVE` waiting: a constraint is validated under it.
pub(super) const AGAINST_VALIDATION: &str =
    "ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock";
/// Modes of whoever may hold a row, or keeps `ROW EXCLUSIVE` waiting.
pub(super) const AGAINST_ROWS: &str =
    "RowShareLock,RowExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock";

/// Whoever holds the table or a partition of it, oldest first. The age of another role's transaction is hidden
/// from a role without `pg_read_all_stats`. A prepared transaction has no session any more.
const HOLDERS: &str = "
    SELECT l.virtualtransaction, l.pid, a.usename::text, a.application_name, p.gid,
           (extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared)) * 1000)::bigint
    FROM pg_locks l
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    LEFT JOIN pg_prepared_xacts p ON l.pid IS NULL AND l.virtualtransaction = '-1/' || p.transaction
    WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.relation IN (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                         WHERE n.nspname = $1 AND c.relname = $2
                         UNION ALL
                         SELECT t.relid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
                              LATERAL pg_partition_tree(c.oid) t
                         WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'p')
      AND l.mode = ANY (string_to_array($3, ','))
    ORDER BY coalesce(a.xact_start, p.prepared) NULLS LAST, l.pid";

/// A transaction that holds a table.
pub(super) struct Holder {
    transaction: String,
    age_ms: Option<i64>,
    name: String,
}

/// Transactions, each once.
pub(super) async fn holders(
    connection: &mut PgConnection,
    (schema, table): (&str, &str),
    modes: &str,
) -> Result<Vec<Holder>, SourceError> {
    let ask = sqlx::query(HOLDERS).persistent(false).bind(schema).bind(table).bind(modes);
    let (mut seen, mut holders) = (HashSet::new(), Vec::new());
    for row in ask.fetch_all(connection).await? {
        let transaction: String = row.try_get(0)?;
        let (pid, role, application): (Option<i32>, Option<String>, Option<String>) =
            (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let (prepared, age_ms): (Option<String>, Option<i64>) = (row.try_get(4)?, row.try_get(5)?);
        if seen.insert(transaction.clone()) {
            let name = match (pid, prepared) {
                (Some(pid), _) => {
                    let of = [("application", application), ("role", role)];
                    let of = of.into_iter().filter_map(|(what, name)| Some((what, name.filter(|n| !n.is_empty())?)));
                    let of: Vec<String> = of.map(|(what, name)| format!("{what} `{name}`")).collect();
                    if of.is_empty() { format!("process {pid}") } else { format!("process {pid} ({})", of.join(", ")) }
                }
                (None, Some(gid)) => format!("the prepared transaction `{gid}`"),
                (None, None) => "a prepared transaction".to_owned(),
            };
            holders.push(Holder { transaction, age_ms, name });
        }
    }
    Ok(holders)
}

impl Holder {
    /// Held for longer than a moment: by its age, or since an earlier look.
    pub(super) fn is_old(&self, seen_before: &HashSet<String>) -> bool {
        self.age_ms.is_some_and(|ms| ms >= 1_000) || seen_before.contains(&self.transaction)
    }

    pub(super) fn transaction(&self) -> &str {
        &self.transaction
    }
}

/// What a lock that was not free says to people: who holds the table, and for how long.
pub(super) fn waits_for(table: &str, holders: &[Holder]) -> SourceError {
    let named = holders.iter().take(3).map(|h| match h.age_ms {
        Some(ms) => format!("{} for {} s", h.name, ms / 1000),
        None => h.name.clone(),
    });
    let named: Vec<String> = named.collect();
    let message = match (named.is_empty(), holders.len().saturating_sub(named.len())) {
        (true, _) => format!("a lock on {table} was not free in time; who held it has ended since"),
        (false, 0) => format!("waits for a lock on {table}, which is held by {}", named.join(", ")),
        (false, more) => format!("waits for a lock on {table}, which is held by {} and {more} more", named.join(", ")),
    };
    SourceError { kind: SourceErrorKind::Transient, code: "source_lock_timeout", message }
}
