//! The ledger: its tables, its guards, its one row about itself.

use crate::guards;
use sea_orm_migration::{prelude::*, schema::*};

/// See the module.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0001_ledger"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        for table in tables() {
            m.create_table(table).await?;
        }
        for index in indexes() {
            m.create_index(index).await?;
        }
        let db = m.get_connection();
        db.execute_unprepared(
            "INSERT INTO reseal_audit_head (id, seq, hash) VALUES \
             (1, 0, '0000000000000000000000000000000000000000000000000000000000000000')",
        )
        .await?;
        guards::install(m).await
    }
}

fn table(name: &'static str, columns: Vec<ColumnDef>) -> TableCreateStatement {
    let mut table = Table::create();
    table.table(name);
    for mut column in columns {
        table.col(column.take());
    }
    table
}

/// Adds `column REFERENCES to(key)`.
fn references(
    table: &mut TableCreateStatement,
    from: &'static str,
    column: &'static str,
    to: &'static str,
    key: &'static str,
) {
    table.foreign_key(ForeignKey::create().name(format!("fk_{from}_{column}")).from(from, column).to(to, key));
}

fn tables() -> Vec<TableCreateStatement> {
    let ledger = table(
        "reseal_ledger",
        vec![
            integer("id").primary_key().take(),
            string_len("name", 32),
            string_len_null("leader", 128),
            big_integer("leader_until"),
            string_len_null("queue_incarnation", 64),
            big_integer("closing_checked_at"),
        ],
    );
    let keysets = table("reseal_keysets", vec![string_len("name", 64).primary_key().take(), big_integer("created_at")]);
    let mut keys = table(
        "reseal_keys",
        vec![
            big_integer("key_id").primary_key().take(),
            string_len("keyset", 64),
            integer("version"),
            string_len("state", 16),
            big_integer("generation"),
            string_len("algorithm", 32),
            string_len("kek_id", 64),
            blob_null("wrapped_dek"),
            big_integer("encryptions"),
            big_integer("created_at"),
            big_integer_null("activated_at"),
            big_integer_null("deactivated_at"),
            big_integer_null("destroyed_at"),
            big_integer_null("exported_at"),
        ],
    );
    references(&mut keys, "reseal_keys", "keyset", "reseal_keysets", "name");

    let mut catalog = table(
        "reseal_catalog",
        vec![
            big_pk_auto("id"),
            string_len("source", 64),
            string_len("schema_name", 128),
            string_len("table_name", 128),
            string_len("column_name", 128),
            string_len("keyset", 64),
            text("associated_data"),
            text("primary_key"),
            big_integer("registered_at"),
            big_integer_null("forgotten_at"),
        ],
    );
    references(&mut catalog, "reseal_catalog", "keyset", "reseal_keysets", "name");

    let mut rotations = table(
        "reseal_rotations",
        vec![
            big_pk_auto("id"),
            string_len("keyset", 64),
            string_len_null("open_keyset", 64),
            string_len("state", 16),
            big_integer_null("to_key_id"),
            string_len("requested_by", 128),
            text_null("reason"),
            string_len_null("idempotency_key", 128),
            big_integer("clear_after_ms"),
            big_integer("writer_ttl_ms"),
            integer("batch_rows"),
            boolean("planning_done"),
            big_integer("requested_at"),
            big_integer_null("promoted_at"),
            big_integer_null("proved_at"),
            big_integer_null("completed_at"),
            big_integer_null("paused_at"),
            string_len_null("paused_by", 128),
            text_null("paused_reason"),
            big_integer("waited_ms"),
            big_integer_null("waited_at"),
            big_integer_null("hold_at"),
            big_integer("step_epoch"),
            big_integer_null("step_lease_until"),
            string_len_null("step_worker", 128),
            big_integer("step_due_at"),
            integer("step_failures"),
            string_len_null("step_code", 64),
            text_null("step_detail"),
            big_integer("next_ring_at"),
            big_integer("rings"),
        ],
    );
    references(&mut rotations, "reseal_rotations", "keyset", "reseal_keysets", "name");
    references(&mut rotations, "reseal_rotations", "to_key_id", "reseal_keys", "key_id");

    let mut rotation_keys = table(
        "reseal_rotation_keys",
        vec![big_integer("rotation_id"), big_integer("key_id"), big_integer("generation")],
    );
    rotation_keys.primary_key(Index::create().col("rotation_id").col("key_id"));
    references(&mut rotation_keys, "reseal_rotation_keys", "rotation_id", "reseal_rotations", "id");
    references(&mut rotation_keys, "reseal_rotation_keys", "key_id", "reseal_keys", "key_id");

    let mut planned_tables = table(
        "reseal_planned_tables",
        vec![
            big_pk_auto("id"),
            big_integer("rotation_id"),
            string_len("source", 64),
            string_len("schema_name", 128),
            string_len("table_name", 128),
            text("columns"),
            text_null("max_key"),
            text_null("planned_up_to"),
            boolean("planning_done"),
            big_integer("rows"),
            double_null("rows_per_second"),
        ],
    );
    references(&mut planned_tables, "reseal_planned_tables", "rotation_id", "reseal_rotations", "id");

    let mut batches = table(
        "reseal_batches",
        vec![
            big_pk_auto("id"),
            big_integer("rotation_id"),
            big_integer("planned_table_id"),
            text_null("after_key"),
            text("up_to_key"),
            big_integer("rows"),
            string_len("state", 16),
            big_integer("epoch"),
            big_integer_null("lease_until"),
            string_len_null("worker", 128),
            text_null("cursor"),
            big_integer("rows_counted"),
            integer("barren_claims"),
            integer("attempts"),
            big_integer("due_at"),
            string_len_null("code", 64),
            text_null("detail"),
            big_integer("next_ring_at"),
            big_integer("rings"),
            big_integer_null("done_at"),
        ],
    );
    references(&mut batches, "reseal_batches", "rotation_id", "reseal_rotations", "id");
    references(&mut batches, "reseal_batches", "planned_table_id", "reseal_planned_tables", "id");

    let mut progress = table(
        "reseal_progress",
        vec![
            big_integer("planned_table_id"),
            integer("slot"),
            big_integer("rows_done"),
            big_integer("reencrypted"),
            big_integer("changed_underneath"),
        ],
    );
    progress.primary_key(Index::create().col("planned_table_id").col("slot"));
    references(&mut progress, "reseal_progress", "planned_table_id", "reseal_planned_tables", "id");

    let mut quarantine = table(
        "reseal_quarantine",
        vec![
            big_pk_auto("id"),
            big_integer("rotation_id"),
            big_integer("planned_table_id"),
            big_integer_null("batch_id"),
            string_len("row_key", 255),
            string_len("column_name", 128),
            boolean_null("live"),
            string_len("code", 64),
            big_integer_null("found_key_id"),
            big_integer("cell_bytes"),
            string_len("state", 16),
            blob_null("abandoned_cell"),
            string_len_null("resolved_by", 128),
            text_null("note"),
            big_integer("found_at"),
            big_integer_null("resolved_at"),
        ],
    );
    references(&mut quarantine, "reseal_quarantine", "rotation_id", "reseal_rotations", "id");
    references(&mut quarantine, "reseal_quarantine", "planned_table_id", "reseal_planned_tables", "id");

    let mut proofs = table(
        "reseal_proofs",
        vec![
            big_pk_auto("id"),
            big_integer("rotation_id"),
            big_integer("catalog_id"),
            big_integer("cells"),
            big_integer("nulls"),
            big_integer("under_retired"),
            big_integer("unaccounted"),
            text("predicate"),
            string_len("schema_fingerprint", 64),
            string_len("fence_fingerprint", 64),
            text("scope"),
            string_len("actor", 128),
            big_integer("proved_at"),
            big_integer_null("voided_at"),
        ],
    );
    references(&mut proofs, "reseal_proofs", "rotation_id", "reseal_rotations", "id");
    references(&mut proofs, "reseal_proofs", "catalog_id", "reseal_catalog", "id");

    let sources = table(
        "reseal_sources",
        vec![string_len("name", 64).primary_key().take(), text("identity"), big_integer("registered_at")],
    );
    let workers = table(
        "reseal_workers",
        vec![
            string_len("name", 128).primary_key().take(),
            string_len("version", 32),
            string_len("state", 16),
            integer("lanes"),
            integer("jobs_running"),
            big_integer("reencrypted"),
            text("keys_loaded"),
            big_integer("started_at"),
            big_integer("seen_at"),
        ],
    );
    let audit = table(
        "reseal_audit",
        vec![
            big_integer("seq").primary_key().take(),
            big_integer("at"),
            string_len("actor", 128),
            string_len("action", 64),
            string_len("subject", 255),
            text("before"),
            text("after"),
            string_len("hash", 64),
        ],
    );
    let audit_head = table(
        "reseal_audit_head",
        vec![integer("id").primary_key().take(), big_integer("seq"), string_len("hash", 64)],
    );

    vec![
        ledger,
        keysets,
        keys,
        catalog,
        rotations,
        rotation_keys,
        planned_tables,
        batches,
        progress,
        quarantine,
        proofs,
        sources,
        workers,
        audit,
        audit_head,
    ]
}

fn indexes() -> Vec<IndexCreateStatement> {
    let unique = |name: &'static str, table: &'static str, columns: &[&'static str]| {
        let mut index = Index::create().name(name).table(table).unique().take();
        for column in columns {
            index.col(*column);
        }
        index
    };
    let plain = |name: &'static str, table: &'static str, columns: &[&'static str]| {
        let mut index = Index::create().name(name).table(table).take();
        for column in columns {
            index.col(*column);
        }
        index
    };
    vec![
        unique("reseal_keys_version", "reseal_keys", &["keyset", "version"]),
        unique("reseal_catalog_column", "reseal_catalog", &["source", "schema_name", "table_name", "column_name"]),
        unique("reseal_rotations_open_keyset", "reseal_rotations", &["open_keyset"]),
        unique("reseal_rotations_idempotency_key", "reseal_rotations", &["idempotency_key"]),
        unique(
            "reseal_planned_tables_table",
            "reseal_planned_tables",
            &["rotation_id", "source", "schema_name", "table_name"],
        ),
        unique("reseal_quarantine_cell", "reseal_quarantine", &["planned_table_id", "row_key", "column_name", "live"]),
        plain("reseal_batches_planned_table", "reseal_batches", &["planned_table_id"]),
        // Closing, dispatch and lists of failures all ask for one rotation's batches in one state.
        plain("reseal_batches_state", "reseal_batches", &["rotation_id", "state", "next_ring_at"]),
        plain("reseal_quarantine_rotation", "reseal_quarantine", &["rotation_id"]),
        plain("reseal_proofs_rotation", "reseal_proofs", &["rotation_id"]),
    ]
}
