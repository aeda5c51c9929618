//! Rows to begin with.

use std::sync::atomic::{AtomicI64, Ordering};

use reseal_entities::{
    batches, catalog, keys, keysets, planned_tables, proofs,
    quarantine::{self, QuarantineState},
    rotation_keys, rotations,
    state::{BatchState, KeyState, RotationState},
};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait, EntityTrait, QueryOrder};

/// Later than any test takes and no later than any lease lasts, in Unix milliseconds by the database.
pub(crate) async fn later(db: &impl ConnectionTrait) -> i64 {
    reseal_entities::ledger::now_ms(db).await.expect("the time") + 25_000
}

pub(crate) fn number() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(1_000);
    LAST.fetch_add(1, Ordering::Relaxed)
}

pub(crate) async fn keyset(db: &impl ConnectionTrait) -> String {
    let name = format!("keyset{}", number());
    let row = keysets::ActiveModel { name: Set(name.clone()), created_at: Set(1) };
    row.insert(db).await.expect("a keyset");
    name
}

/// A key of generation 1 (0 while pre_active).
pub(crate) async fn key(db: &impl ConnectionTrait, keyset: &str, version: i32, state: KeyState) -> i64 {
    key_for(db, keyset, version, state, ("AES256_GCM", "tink")).await
}

/// The same with an algorithm and a prefix.
pub(crate) async fn key_for(
    db: &impl ConnectionTrait,
    keyset: &str,
    version: i32,
    state: KeyState,
    (algorithm, prefix): (&str, &str),
) -> i64 {
    let key_id = number();
    let row = keys::ActiveModel {
        key_id: Set(key_id),
        keyset: Set(keyset.to_owned()),
        version: Set(version),
        state: Set(state),
        generation: Set(i64::from(state != KeyState::PreActive)),
        algorithm: Set(algorithm.into()),
        prefix: Set(prefix.into()),
        kek_id: Set("kek".into()),
        wrapped_dek: Set((state != KeyState::Destroyed).then(|| vec![1, 2, 3])),
        encryptions: Set(0),
        created_at: Set(1),
        ..Default::default()
    };
    row.insert(db).await.expect("a key");
    key_id
}

/// A registered column.
pub(crate) async fn column(db: &impl ConnectionTrait, keyset: &str) -> i64 {
    let row = catalog::ActiveModel {
        source: Set("main".into()),
        schema_name: Set("public".into()),
        table_name: Set(format!("table{}", number())),
        column_name: Set("cell".into()),
        keyset: Set(keyset.to_owned()),
        associated_data: Set("{id}".into()),
        primary_key: Set(r#"["id"]"#.into()),
        registered_at: Set(1),
        ..Default::default()
    };
    row.insert(db).await.expect("a column").id
}

/// A current proof of one column.
pub(crate) async fn proof(db: &impl ConnectionTrait, rotation_id: i64, catalog_id: i64) -> i64 {
    let row = proofs::ActiveModel {
        rotation_id: Set(rotation_id),
        catalog_id: Set(catalog_id),
        cells: Set(10),
        nulls: Set(0),
        under_retired: Set(0),
        unaccounted: Set(0),
        predicate: Set("true".into()),
        schema_fingerprint: Set("s".into()),
        fence_fingerprint: Set("f".into()),
        scope: Set("all".into()),
        opened: Set(10),
        actor: Set("w".into()),
        proved_at: Set(1),
        ..Default::default()
    };
    row.insert(db).await.expect("a proof").id
}

/// One rotation of a keyset of its own: an old key, a new key, one planned table.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) keyset: String,
    pub(crate) old: i64,
    pub(crate) new: i64,
    pub(crate) id: i64,
    pub(crate) table: i64,
}

impl World {
    /// A rotation that stands at `state`, its keys where they then are.
    pub(crate) async fn at(db: &impl ConnectionTrait, state: RotationState) -> Self {
        use RotationState::*;
        let old = match state {
            Requested | Planning => KeyState::Active,
            Reencrypting | Proving => KeyState::Deactivated,
            Waiting | Clearing => KeyState::Suspended,
            Completed => KeyState::Destroyed,
            Cancelled | RolledBack => KeyState::Deactivated,
        };
        Self::with(db, state, old).await
    }

    /// The same, with the old key in a state that may not fit; an active one is not pinned yet.
    pub(crate) async fn with(db: &impl ConnectionTrait, state: RotationState, old_state: KeyState) -> Self {
        let promoted = old_state != KeyState::Active;
        let keyset = keyset(db).await;
        let old = key(db, &keyset, 1, old_state).await;
        let new = key(db, &keyset, 2, if promoted { KeyState::Active } else { KeyState::PreActive }).await;
        let row = rotations::ActiveModel {
            keyset: Set(keyset.clone()),
            open_keyset: Set((!state.has_ended()).then(|| keyset.clone())),
            state: Set(state),
            to_key_id: Set(Some(new)),
            from_key_id: Set(promoted.then_some(old)),
            requested_by: Set("ada".into()),
            clear_after_ms: Set(1_000),
            writer_ttl_ms: Set(0),
            batch_rows: Set(100),
            planning_done: Set(true),
            requested_at: Set(1),
            promoted_at: Set(promoted.then_some(1)),
            waited_ms: Set(if state == RotationState::Clearing { 1_000 } else { 0 }),
            step_epoch: Set(7),
            step_due_at: Set(0),
            step_failures: Set(0),
            next_ring_at: Set(0),
            rings: Set(0),
            ..Default::default()
        };
        let id = row.insert(db).await.expect("a rotation").id;
        if promoted {
            let pin = rotation_keys::ActiveModel { rotation_id: Set(id), key_id: Set(old), generation: Set(1) };
            pin.insert(db).await.expect("a pin");
        }
        let table = planned_tables::ActiveModel {
            rotation_id: Set(id),
            source: Set("main".into()),
            schema_name: Set("public".into()),
            table_name: Set("messages".into()),
            columns: Set("[]".into()),
            planning_done: Set(true),
            rows: Set(0),
            ..Default::default()
        };
        let table = table.insert(db).await.expect("a table").id;
        Self { keyset, old, new, id, table }
    }

    /// The rotation as it is now.
    pub(crate) async fn rotation(&self, db: &impl ConnectionTrait) -> rotations::Model {
        rotations::Entity::find_by_id(self.id).one(db).await.expect("asked").expect("there")
    }

    /// The same rotation with another table.
    pub(crate) async fn another_table(&self, db: &impl ConnectionTrait, source: &str, name: &str) -> Self {
        let row = planned_tables::ActiveModel {
            rotation_id: Set(self.id),
            source: Set(source.into()),
            schema_name: Set("public".into()),
            table_name: Set(name.into()),
            columns: Set("[]".into()),
            planning_done: Set(true),
            rows: Set(0),
            ..Default::default()
        };
        Self { table: row.insert(db).await.expect("a table").id, ..self.clone() }
    }

    /// A batch of 100 rows that was claimed once unless it is pending.
    pub(crate) async fn batch(&self, db: &impl ConnectionTrait, state: BatchState) -> batches::Model {
        let leased = state == BatchState::Leased;
        let row = batches::ActiveModel {
            rotation_id: Set(self.id),
            planned_table_id: Set(self.table),
            up_to_key: Set("100".into()),
            rows: Set(100),
            state: Set(state),
            epoch: Set(i64::from(state != BatchState::Pending)),
            lease_until: Set(if leased { Some(later(db).await) } else { None }),
            worker: Set(leased.then(|| "owner".into())),
            rows_counted: Set(0),
            barren_claims: Set(0),
            attempts: Set(0),
            due_at: Set(0),
            next_ring_at: Set(0),
            rings: Set(0),
            split_asked: Set(false),
            ..Default::default()
        };
        row.insert(db).await.expect("a batch")
    }

    /// A quarantined cell.
    pub(crate) async fn bad_row(
        &self,
        db: &impl ConnectionTrait,
        batch_id: Option<i64>,
        state: QuarantineState,
    ) -> quarantine::Model {
        let row = quarantine::ActiveModel {
            rotation_id: Set(self.id),
            planned_table_id: Set(self.table),
            batch_id: Set(batch_id),
            row_key: Set(number().to_string()),
            column_name: Set("cell".into()),
            code: Set("truncated".into()),
            cell_bytes: Set(3),
            state: Set(state),
            found_at: Set(1),
            ..Default::default()
        };
        row.insert(db).await.expect("a quarantined row")
    }
}

/// A batch as it is now.
pub(crate) async fn batch(db: &impl ConnectionTrait, id: i64) -> batches::Model {
    batches::Entity::find_by_id(id).one(db).await.expect("asked").expect("there")
}

/// A quarantined row as it is now.
pub(crate) async fn bad_row(db: &impl ConnectionTrait, id: i64) -> quarantine::Model {
    quarantine::Entity::find_by_id(id).one(db).await.expect("asked").expect("there")
}

/// A key as it is now.
pub(crate) async fn key_row(db: &impl ConnectionTrait, id: i64) -> keys::Model {
    keys::Entity::find_by_id(id).one(db).await.expect("asked").expect("there")
}

/// Every row that a transition can touch, to be compared.
pub(crate) async fn everything(
    db: &impl ConnectionTrait,
) -> (Vec<rotations::Model>, Vec<keys::Model>, Vec<batches::Model>, Vec<proofs::Model>, Vec<rotation_keys::Model>) {
    let rotations = rotations::Entity::find().order_by_asc(rotations::Column::Id).all(db).await.expect("rotations");
    let keys = keys::Entity::find().order_by_asc(keys::Column::KeyId).all(db).await.expect("keys");
    let batches = batches::Entity::find().order_by_asc(batches::Column::Id).all(db).await.expect("batches");
    let proofs = proofs::Entity::find().order_by_asc(proofs::Column::Id).all(db).await.expect("proofs");
    let pins = rotation_keys::Entity::find().order_by_asc(rotation_keys::Column::RotationId).all(db).await;
    (rotations, keys, batches, proofs, pins.expect("pins"))
}
