//! Plan: the new key, its promotion, the cut into batches. Resumes where it stopped.

use crate::{
    engine::{Engine, Stop, by_table},
    error::EngineError,
    fences, length, owner,
    step::{self, Stepped},
    walk::Walk,
};
use reseal_entities::{
    key_limits, keys,
    ledger::{approve, catalog, close, keys as ledger_keys, now_ms, plan, scope, steps},
    planned_tables, rotations,
    state::{KeyState, RotationEvent, RotationState},
};

/// Does a rotation's planning, if it is due.
pub async fn plan(engine: &Engine, rotation_id: i64, stop: Stop<'_>) -> Result<Stepped, EngineError> {
    let states = [RotationState::Requested, RotationState::Planning, RotationState::Reencrypting];
    step::hold(engine, rotation_id, &states, stop, |rotation| work(engine, rotation)).await
}

async fn work(engine: &Engine, mut rotation: rotations::Model) -> Result<Stepped, EngineError> {
    if rotation.planning_done {
        close::close_if_nothing_is_open(&engine.ledger, &engine.worker, rotation.id).await?;
        return Ok(Stepped::Done);
    }
    demand_approval(engine, &mut rotation).await?;
    register(engine).await?;
    engine.refuse_less_than(&scope::now(engine.ledger.db()).await?)?;
    check_every_column(engine, &rotation).await?;
    if rotation.state == RotationState::Requested {
        advance(engine, &mut rotation, RotationEvent::Plan).await?;
    }
    if let (Some(_), Some(to)) = (rotation.promoted_at, rotation.to_key_id) {
        fences::admit(engine, &rotation.keyset, to).await?; // a column may have come back since
    }
    if rotation.promoted_at.is_none() {
        let to = secured_key(engine, &mut rotation).await?;
        if let Some(waits) = others_have_left(engine, &rotation).await? {
            return Ok(waits);
        }
        fences::admit(engine, &rotation.keyset, to).await?;
        owner::change_all(engine, &scope::now(engine.ledger.db()).await?.sources).await?;
        let txn = engine.ledger.begin().await?;
        ledger_keys::promote_if_held(&txn, &engine.worker, &rotation, to).await?;
        txn.commit().await?;
        tracing::info!(rotation = rotation.id, key = to, "promoted");
    }
    pin_tables(engine, &rotation).await?;
    for table in plan::tables(engine.ledger.db(), rotation.id).await? {
        if !table.planning_done {
            cut(engine, &mut rotation, table).await?;
        }
    }
    if rotation.state == RotationState::Planning {
        advance(engine, &mut rotation, RotationEvent::Reencrypt).await?;
    }
    let txn = engine.ledger.begin().await?;
    if !plan::finish_if_held(&txn, &rotation).await? {
        txn.rollback().await?;
        return Ok(Stepped::Waits {
            again_in_ms: 1_000,
            code: "replanned",
            detail: "a column was registered or forgotten while the tables were cut: they are planned again".to_owned(),
        });
    }
    txn.commit().await?;
    close::close_if_nothing_is_open(&engine.ledger, &engine.worker, rotation.id).await?;
    Ok(Stepped::Done)
}

/// Also of a rotation that was asked for where nobody had heard of the two-person rule.
async fn demand_approval(engine: &Engine, rotation: &mut rotations::Model) -> Result<(), EngineError> {
    if engine.config.rotation.two_person && !rotation.needs_approval {
        let txn = engine.ledger.begin().await?;
        approve::demand_if_held(&txn, &engine.worker, rotation).await?;
        txn.commit().await?;
        rotation.needs_approval = true;
    }
    Ok(())
}

/// Whoever was at a fence for a rotation that was cancelled or turned round has left it: or it could put
/// one up behind us that refuses the key which is about to be promoted.
async fn others_have_left(engine: &Engine, rotation: &rotations::Model) -> Result<Option<Stepped>, EngineError> {
    let db = engine.ledger.db();
    let Some(until) = steps::left_over_until(db, &rotation.keyset).await? else { return Ok(None) };
    let left = (until - now_ms(db).await?).max(0);
    Ok(Some(Stepped::Waits {
        again_in_ms: left.min(1_000),
        code: "step_lease",
        detail: format!("a worker may still be at a step of the rotation before, for {} s at most", left / 1_000 + 1),
    }))
}

async fn advance(engine: &Engine, rotation: &mut rotations::Model, event: RotationEvent) -> Result<(), EngineError> {
    use reseal_entities::state::Law;
    let txn = engine.ledger.begin().await?;
    plan::advance_if_held(&txn, &engine.worker, rotation, event).await?;
    txn.commit().await?;
    rotation.state = RotationState::edge(event).1;
    Ok(())
}

/// Registers what this process's configuration declares: which database each source is, and columns. Never an
/// exclusion: what narrows a proof is a person's to say, with `reseal check`.
pub async fn register(engine: &Engine) -> Result<(), EngineError> {
    let declared = engine.declared().await?;
    for (name, _) in engine.sources() {
        let schema = declared.iter().find(|d| d.source == *name).map(|d| d.schema_name.as_str());
        owner::register(engine, name, schema).await?;
    }
    let txn = engine.ledger.begin().await?;
    catalog::register(&txn, &engine.worker, &declared).await?;
    txn.commit().await?;
    Ok(())
}

/// Every registered column of the keyset must be reachable and fit before a key is made for it.
async fn check_every_column(engine: &Engine, rotation: &rotations::Model) -> Result<(), EngineError> {
    let columns = catalog::registered(engine.ledger.db()).await?;
    if !columns.iter().any(|c| c.keyset == rotation.keyset) {
        return Err(EngineError::refused(
            "no_columns",
            format!(
                "no registered column uses keyset `{}`: declare one with [[table]] and run `reseal check`",
                rotation.keyset
            ),
        ));
    }
    let adopts = columns.iter().any(|c| c.keyset == rotation.keyset && c.is_to_be_adopted());
    let lost = engine.keyring.lost().await?;
    if adopts && let Some(key) = lost.first() {
        // Rows under them would be taken for values that nobody encrypted.
        return Err(EngineError::refused(
            "keys_to_recover",
            format!(
                "the key backup has {} keys that the ledger does not know ({key} …): run `reseal keys recover` first",
                lost.len()
            ),
        ));
    }
    let keys = ledger_keys::all(engine.ledger.db()).await?;
    let algorithm = length::next_algorithm(&keys, &rotation.keyset, rotation.to_key_id);
    for table in by_table(columns) {
        let target = engine.target(table).await?;
        for (column, row) in target.shape.columns.iter().zip(&target.columns) {
            if row.keyset == rotation.keyset
                && let Some(why) = length::too_short(&target, column, algorithm).await?
            {
                return Err(EngineError::refused("column_too_short", format!("{}: {why}", row.path())));
            }
        }
    }
    Ok(())
}

/// The rotation's key: made now or published before; stored, backed up, read back and tried.
async fn secured_key(engine: &Engine, rotation: &mut rotations::Model) -> Result<i64, EngineError> {
    if rotation.to_key_id.is_none() {
        let key = engine.keyring.generate(&rotation.keyset, KeyState::PreActive).await?;
        let key_id = key.key_id;
        let txn = engine.ledger.begin().await?;
        ledger_keys::insert(&txn, &engine.worker, &rotation.keyset, key).await?;
        plan::name_key_if_held(&txn, rotation, key_id).await?;
        txn.commit().await?;
        rotation.to_key_id = Some(key_id);
    }
    let key_id = rotation.to_key_id.unwrap_or_default();
    engine.keyring.secure(&rotation.keyset, key_id).await?;
    let stored = ledger_keys::of_keyset(engine.ledger.db(), &rotation.keyset).await?;
    let worn_out = |k: &keys::Model| {
        let most = key_limits::encryptions_max(&k.algorithm);
        k.key_id == key_id && most.is_some_and(|most| k.encryptions > most)
    };
    if stored.iter().any(worn_out) {
        return Err(EngineError::refused(
            "key_worn_out",
            format!("key {key_id} has encrypted too much already: rotate to a new one"),
        ));
    }
    Ok(key_id)
}

/// Makes the plan's tables those of the registered columns: new ones are pinned, changed ones cut again, and those that are
/// registered no longer leave.
async fn pin_tables(engine: &Engine, rotation: &rotations::Model) -> Result<(), EngineError> {
    let columns = catalog::registered(engine.ledger.db()).await?;
    let of_keyset = columns.into_iter().filter(|c| c.keyset == rotation.keyset).collect();
    let mut planned = plan::every_table(engine.ledger.db(), rotation.id).await?;
    for table in by_table(of_keyset) {
        let first = &table[0];
        let same = |t: &planned_tables::Model| {
            (&t.source, &t.schema_name, &t.table_name) == (&first.source, &first.schema_name, &first.table_name)
        };
        let pinned = planned.iter().position(same).map(|at| planned.swap_remove(at));
        if pinned.as_ref().is_some_and(|t| t.left_at.is_none() && plan::is_pinned_as(t, &table)) {
            continue;
        }
        let target = engine.target(table.clone()).await?;
        let max_key = target.source.max_key(&target.shape).await?;
        let Some(pinned) = pinned else {
            plan::pin_table(engine.ledger.db(), rotation.id, &table, max_key).await?;
            continue;
        };
        let txn = engine.ledger.begin().await?;
        plan::recut_table_if_held(&txn, &engine.worker, rotation, &pinned, &table, max_key).await?;
        txn.commit().await?;
    }
    for gone in planned.iter().filter(|t| t.left_at.is_none()) {
        let txn = engine.ledger.begin().await?;
        plan::leave_table_if_held(&txn, &engine.worker, rotation, gone).await?;
        txn.commit().await?;
        tracing::info!(rotation = rotation.id, table = gone.path(), "left the plan: its columns are forgotten");
    }
    Ok(())
}

/// Cuts one table from where its planning stands. Workers begin with the first stretch.
async fn cut(
    engine: &Engine,
    rotation: &mut rotations::Model,
    mut table: planned_tables::Model,
) -> Result<(), EngineError> {
    let target = engine.planned_target(&table).await?;
    let Some(max_key) = table.max_key.clone() else { return Ok(()) };
    let mut walk = Walk::new(&target, table.planned_up_to.clone(), max_key, rotation.batch_rows.into());
    loop {
        let (bounds, last) = walk.stretch().await?;
        let txn = engine.ledger.begin().await?;
        plan::add_batches_if_held(&txn, rotation, &table, &bounds, last).await?;
        txn.commit().await?;
        if rotation.state == RotationState::Planning && !bounds.is_empty() {
            advance(engine, rotation, RotationEvent::Reencrypt).await?;
        }
        if last {
            return Ok(());
        }
        table.planned_up_to = bounds.last().map(|b| b.up_to_key.clone());
    }
}
