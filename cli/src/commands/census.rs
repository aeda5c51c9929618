//! `reseal census`: encrypted values by key.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Table, grouped},
};
use reseal_engine::census;
use reseal_entities::ledger::keys as ledger_keys;
use serde_json::json;

pub(crate) async fn run(context: &Context) -> Result<Exit, Failure> {
    let engine = ground::engine_only(context.config()?, &context.output).await?;
    let found = census::census(&engine).await?;
    let keys = ledger_keys::all(engine.ledger.db()).await?;
    let mut table = Table::new(&["column", "keyset", "key#", "version#", "state", "values#"]);
    let mut columns = Vec::new();
    for column in found {
        let mut counts = Vec::new();
        for counted in &column.keys {
            let id = counted.key_id.map(i64::from);
            let key = keys.iter().find(|k| Some(k.key_id) == id && k.keyset == column.keyset);
            let state = key.map_or_else(|| "unaccounted".to_owned(), |k| k.state.to_string());
            let version = key.map(|k| k.version);
            counts.push(json!({"key_id": id, "version": version, "state": state, "cells": counted.cells}));
            table.row([
                column.column.clone(),
                column.keyset.clone(),
                id.map_or_else(|| "none".into(), |id| id.to_string()),
                version.map(|v| v.to_string()).unwrap_or_default(),
                state,
                grouped(counted.cells),
            ]);
        }
        columns.push(json!({"column": column.column, "keyset": column.keyset, "keys": counts}));
    }
    context
        .output
        .show(&json!({"columns": columns}), || table.or("no registered column holds a value: see `reseal check`"));
    Ok(Exit::Done)
}
