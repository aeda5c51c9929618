//! The guards in the database itself: raw SQL, as the owner of the ledger, against every client.

use reseal_entities::{
    ledger::Ledger,
    quarantine::QuarantineState,
    state::{BatchState, KeyState, RotationState},
};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use crate::{
    ground::{for_each_ledger, is_postgres, run},
    rows::{World, column, key, key_row, proof},
};

const WIPE: &str = "UPDATE reseal_keys SET wrapped_dek = NULL, state = 'destroyed' WHERE key_id = $old";

/// A rotation whose old key may be destroyed, with all that must not stand in its way.
struct Clearable {
    w: World,
    other: World,
    columns: [i64; 2],
    done: i64,
    resolved: i64,
}

impl Clearable {
    async fn new(ledger: &Ledger) -> Self {
        let db = ledger.db();
        let w = World::at(db, RotationState::Clearing).await;
        let columns = [column(db, &w.keyset).await, column(db, &w.keyset).await];
        for catalog_id in columns {
            proof(db, w.id, catalog_id).await;
        }
        run(
            db,
            "INSERT INTO reseal_sources (name, identity, registered_at) VALUES ('main', 'x', 1) ON CONFLICT DO NOTHING",
        )
        .await;
        let excluded = "INSERT INTO reseal_exclusions (source, pattern, registered_at, registered_by) \
                        VALUES ('main', 'a.b', 1, 'ada') ON CONFLICT DO NOTHING";
        run(db, excluded).await;
        run(db, r#"UPDATE reseal_proofs SET sources = '["main"]', exclusions = '["main:a.b", "main:gone.since"]'"#)
            .await;
        let forgotten = column(db, &w.keyset).await;
        run(db, format!("UPDATE reseal_catalog SET forgotten_at = 1 WHERE id = {forgotten}")).await;
        let done = w.batch(db, BatchState::Done).await.id;
        w.batch(db, BatchState::Superseded).await;
        let resolved = w.bad_row(db, Some(done), QuarantineState::Resolved).await.id;
        w.bad_row(db, None, QuarantineState::Abandoned).await;
        // another rotation's troubles are not this one's
        let other = World::at(db, RotationState::Reencrypting).await;
        let failed = other.batch(db, BatchState::Failed).await.id;
        other.bad_row(db, Some(failed), QuarantineState::Open).await;
        run(db, format!("UPDATE reseal_rotations SET hold_at = 1, paused_at = 1 WHERE id = {}", other.id)).await;
        Self { w, other, columns, done, resolved }
    }

    fn sql(&self, template: &str) -> String {
        template
            .replace("$old", &self.w.old.to_string())
            .replace("$new", &self.w.new.to_string())
            .replace("$other", &self.other.id.to_string())
            .replace("$keyset", &self.w.keyset)
            .replace("$rotation", &self.w.id.to_string())
            .replace("$column", &self.columns[1].to_string())
            .replace("$done", &self.done.to_string())
            .replace("$resolved", &self.resolved.to_string())
    }
}

/// A transaction as any client could have it, also one that tries to leave triggers out.
async fn begin(ledger: &Ledger, as_replica: bool) -> DatabaseTransaction {
    let txn = ledger.begin().await.unwrap();
    if as_replica {
        run(&txn, "SET LOCAL session_replication_role = replica").await;
    }
    txn
}

fn roles(ledger: &Ledger) -> &'static [bool] {
    if is_postgres(ledger) { &[false, true] } else { &[false] }
}

/// Refused, and by a guard rather than by a mistake in the statement or another constraint.
async fn refused(txn: DatabaseTransaction, sql: &str, why: &str) {
    let done = txn.execute_unprepared(sql).await;
    txn.rollback().await.unwrap();
    match done {
        Ok(done) => panic!("{why}: went through and changed {} rows: {sql}", done.rows_affected()),
        Err(e) => assert!(e.to_string().contains("reseal: "), "{why}: refused, but not by the guard: {e}"),
    }
}

/// Each line takes one condition away from a key that may be destroyed.
const TAKEN_AWAY: &[(&str, &str)] = &[
    ("the key only decrypts", "UPDATE reseal_keys SET state = 'deactivated' WHERE key_id = $old"),
    ("the key is active", "UPDATE reseal_keys SET state = 'active' WHERE key_id = $old"),
    ("the key is pre_active", "UPDATE reseal_keys SET state = 'pre_active' WHERE key_id = $old"),
    ("requested", "UPDATE reseal_rotations SET state = 'requested' WHERE id = $rotation"),
    ("planning", "UPDATE reseal_rotations SET state = 'planning' WHERE id = $rotation"),
    ("reencrypting", "UPDATE reseal_rotations SET state = 'reencrypting' WHERE id = $rotation"),
    ("proving", "UPDATE reseal_rotations SET state = 'proving' WHERE id = $rotation"),
    ("waiting", "UPDATE reseal_rotations SET state = 'waiting' WHERE id = $rotation"),
    ("completed", "UPDATE reseal_rotations SET state = 'completed' WHERE id = $rotation"),
    ("active again since", "UPDATE reseal_keys SET generation = generation + 1 WHERE key_id = $old"),
    ("pinned at another time", "UPDATE reseal_rotation_keys SET generation = 0 WHERE key_id = $old"),
    ("pinned by nobody", "DELETE FROM reseal_rotation_keys WHERE key_id = $old"),
    ("pinned by another rotation", "UPDATE reseal_rotation_keys SET rotation_id = $other WHERE key_id = $old"),
    ("a column without a proof", "DELETE FROM reseal_proofs WHERE catalog_id = $column"),
    ("no proof at all", "DELETE FROM reseal_proofs"),
    ("no proof and no column", "UPDATE reseal_catalog SET forgotten_at = 1; DELETE FROM reseal_proofs"),
    ("another rotation's proof", "UPDATE reseal_proofs SET rotation_id = $other WHERE catalog_id = $column"),
    ("a proof that was voided", "UPDATE reseal_proofs SET voided_at = 1 WHERE catalog_id = $column"),
    ("a cell under the key", "UPDATE reseal_proofs SET under_retired = 1 WHERE catalog_id = $column"),
    ("no cell that was opened", "UPDATE reseal_proofs SET opened = 0 WHERE catalog_id = $column"),
    ("an unaccounted cell", "UPDATE reseal_proofs SET unaccounted = 1 WHERE catalog_id = $column"),
    (
        "a column registered since",
        "INSERT INTO reseal_catalog (source, schema_name, table_name, column_name, keyset, associated_data, primary_key, \
         registered_at) VALUES ('main', 'public', 'new', 'cell', '$keyset', '', '[]', 1)",
    ),
    (
        "a source registered since",
        "INSERT INTO reseal_sources (name, identity, registered_at) VALUES ('guarded', 'x', 1)",
    ),
    (
        "an exclusion registered since",
        "INSERT INTO reseal_exclusions (source, pattern, registered_at, registered_by) VALUES ('guarded', 'a.b', 1, 'ada')",
    ),
    ("a proof that covers no source", "UPDATE reseal_proofs SET sources = '[]' WHERE catalog_id = $column"),
    ("a proof made without the exclusion", "UPDATE reseal_proofs SET exclusions = '[]' WHERE catalog_id = $column"),
    ("a pending batch", "UPDATE reseal_batches SET state = 'pending' WHERE id = $done"),
    ("a leased batch", "UPDATE reseal_batches SET state = 'leased' WHERE id = $done"),
    ("a failed batch", "UPDATE reseal_batches SET state = 'failed' WHERE id = $done"),
    ("a quarantined row", "UPDATE reseal_quarantine SET state = 'open' WHERE id = $resolved"),
    ("a row that is retried", "UPDATE reseal_quarantine SET state = 'retrying' WHERE id = $resolved"),
    ("waiting time that is not over", "UPDATE reseal_rotations SET waited_ms = 999 WHERE id = $rotation"),
    ("waiting time made longer", "UPDATE reseal_rotations SET clear_after_ms = 1001 WHERE id = $rotation"),
    ("a hold", "UPDATE reseal_rotations SET hold_at = 1 WHERE id = $rotation"),
    ("a pause", "UPDATE reseal_rotations SET paused_at = 1 WHERE id = $rotation"),
    ("an approval that is missing", "UPDATE reseal_rotations SET needs_approval = true WHERE id = $rotation"),
    (
        "an approval by who asked for it",
        "UPDATE reseal_rotations SET needs_approval = true, approved_at = 1, approved_by = requested_by WHERE id = $rotation",
    ),
    (
        "an approval by nobody",
        "UPDATE reseal_rotations SET needs_approval = true, approved_at = 1 WHERE id = $rotation",
    ),
    (
        "an approval that is void",
        "UPDATE reseal_rotations SET needs_approval = true, approved_by = 'bob' WHERE id = $rotation",
    ),
];

#[test]
fn a_key_is_destroyed_when_every_condition_holds() {
    for_each_ledger(async |ledger| {
        let it = Clearable::new(&ledger).await;
        for replica in roles(&ledger) {
            let txn = begin(&ledger, *replica).await;
            assert_eq!(run(&txn, it.sql(WIPE)).await, 1);
            let key = key_row(&txn, it.w.old).await;
            assert_eq!((key.state, key.wrapped_dek), (KeyState::Destroyed, None));
            txn.rollback().await.unwrap();
        }
    });
}

#[test]
fn a_key_whose_clearing_somebody_else_has_approved_is_destroyed() {
    for_each_ledger(async |ledger| {
        let it = Clearable::new(&ledger).await;
        let approved = "needs_approval = true, approved_at = 1, approved_by = 'bob'";
        run(ledger.db(), it.sql(&format!("UPDATE reseal_rotations SET {approved} WHERE id = $rotation"))).await;
        assert_eq!(run(ledger.db(), it.sql(WIPE)).await, 1);
    });
}

#[test]
fn a_key_is_not_destroyed_while_any_one_condition_is_missing() {
    for_each_ledger(async |ledger| {
        let it = Clearable::new(&ledger).await;
        for (why, sql) in TAKEN_AWAY {
            for replica in roles(&ledger) {
                let txn = begin(&ledger, *replica).await;
                assert_ne!(run(&txn, it.sql(sql)).await, 0, "{why}");
                refused(txn, &it.sql(WIPE), why).await;
            }
        }
    });
}

const COPY: &str = "SELECT $as, keyset, $version, state, generation, algorithm, kek_id, wrapped_dek, encryptions, \
                    created_at, activated_at, deactivated_at, destroyed_at, exported_at, prefix, compromised_at, \
                    compromised_reason FROM reseal_keys WHERE key_id";

/// Each line would cost a key although it may be destroyed: in this way it may not.
const ON_KEYS: &[&str] = &[
    "UPDATE reseal_keys SET prefix = 'raw' WHERE key_id = $spare",
    "UPDATE reseal_keys SET algorithm = 'XCHACHA20_POLY1305' WHERE key_id = $spare",
    "UPDATE reseal_keys SET wrapped_dek = NULL WHERE key_id = $old",
    "UPDATE reseal_keys SET state = 'destroyed' WHERE key_id = $old",
    "UPDATE reseal_keys SET wrapped_dek = $bytes WHERE key_id = $old",
    "UPDATE reseal_keys SET wrapped_dek = $bytes, state = 'destroyed' WHERE key_id = $old",
    "UPDATE reseal_keys SET wrapped_dek = NULL, state = 'destroyed', key_id = 77 WHERE key_id = $old",
    "UPDATE reseal_keys SET wrapped_dek = NULL, state = 'destroyed' WHERE keyset = '$keyset'",
    "UPDATE reseal_keys SET wrapped_dek = NULL, state = 'destroyed' WHERE key_id = $new",
    "UPDATE reseal_keys SET key_id = 77 WHERE key_id = $spare",
    "UPDATE reseal_keys SET keyset = (SELECT max(name) FROM reseal_keysets WHERE name <> '$keyset'), version = 77 \
     WHERE key_id = $spare",
    "DELETE FROM reseal_keys WHERE key_id = $old",
    "DELETE FROM reseal_keys WHERE key_id = $spare",
    "DELETE FROM reseal_keys",
];

const ON_KEYS_POSTGRES: &[&str] = &[
    "TRUNCATE reseal_keys CASCADE",
    "TRUNCATE reseal_keysets CASCADE",
    "INSERT INTO reseal_keys $copy = $spare ON CONFLICT (key_id) DO UPDATE SET wrapped_dek = '\\x00'",
    "MERGE INTO reseal_keys k USING (SELECT 1) o ON k.key_id = $spare WHEN MATCHED THEN DELETE",
    "WITH gone AS (DELETE FROM reseal_keys WHERE key_id = $spare RETURNING 1) SELECT * FROM gone",
];

const ON_KEYS_SQLITE: &[&str] = &[
    "INSERT OR REPLACE INTO reseal_keys $copy = $spare",
    "REPLACE INTO reseal_keys $renamed = $spare",
    "INSERT INTO reseal_keys $copy = $spare ON CONFLICT (key_id) DO UPDATE SET wrapped_dek = x'00'",
    "UPDATE OR REPLACE reseal_keys SET key_id = $spare WHERE key_id = $old",
];

#[test]
fn a_key_is_never_overwritten_renamed_deleted_truncated_or_replaced() {
    for_each_ledger(async |ledger| {
        let it = Clearable::new(&ledger).await;
        let spare = key(ledger.db(), &it.w.keyset, 3, KeyState::PreActive).await; // nothing refers to it
        let bytes = if is_postgres(&ledger) { "'\\x00'" } else { "x'00'" };
        let (copy, renamed) = (COPY.replace("$as", "key_id").replace("$version", "version"), COPY.replace("$as", "77"));
        let own = if is_postgres(&ledger) { ON_KEYS_POSTGRES } else { ON_KEYS_SQLITE };
        for sql in ON_KEYS.iter().chain(own) {
            let sql = sql.replace("$copy", &copy).replace("$renamed", &renamed.replace("$version", "version"));
            let sql = it.sql(&sql.replace("$bytes", bytes).replace("$spare", &spare.to_string()));
            for replica in roles(&ledger) {
                refused(begin(&ledger, *replica).await, &sql, "on a key").await;
            }
        }
    });
}

#[test]
fn a_keys_version_taken_by_another_key_does_not_replace_it() {
    for_each_ledger(async |ledger| {
        let keyset = crate::rows::keyset(ledger.db()).await;
        let first = key(ledger.db(), &keyset, 1, KeyState::Active).await;
        let second = key(ledger.db(), &keyset, 2, KeyState::PreActive).await;
        let or_replace = if is_postgres(&ledger) { "" } else { "OR REPLACE" };
        let sql = format!("UPDATE {or_replace} reseal_keys SET version = 1 WHERE key_id = {second}");
        let _ = ledger.db().execute_unprepared(&sql).await;
        assert_eq!(key_row(ledger.db(), first).await.wrapped_dek, Some(vec![1, 2, 3]));
    });
}

#[test]
fn a_tombstone_does_not_come_back() {
    for_each_ledger(async |ledger| {
        let it = Clearable::new(&ledger).await;
        run(ledger.db(), it.sql(WIPE)).await;
        let bytes = if is_postgres(&ledger) { "'\\x00'" } else { "x'00'" };
        for set in
            ["state = 'suspended'", "state = 'deactivated'", "wrapped_dek = $b", "state = 'active', wrapped_dek = $b"]
        {
            let sql = format!("UPDATE reseal_keys SET {} WHERE key_id = $old", set.replace("$b", bytes));
            refused(begin(&ledger, false).await, &it.sql(&sql), "a tombstone").await;
        }
    });
}

#[test]
fn what_costs_no_key_is_not_refused() {
    for_each_ledger(async |ledger| {
        let it = Clearable::new(&ledger).await;
        for set in
            ["encryptions = encryptions + 1", "state = 'deactivated'", "exported_at = 1", "wrapped_dek = wrapped_dek"]
        {
            let sql = it.sql(&format!("UPDATE reseal_keys SET {set} WHERE key_id = $old"));
            assert_eq!(run(ledger.db(), sql).await, 1, "{set}");
        }
    });
}
