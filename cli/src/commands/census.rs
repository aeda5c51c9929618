//! `reseal census`: encrypted values by key.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Table, count, grouped},
};
use reseal_engine::census;
use reseal_entities::{
    keys,
    ledger::{catalog, keys as ledger_keys, read},
};
use serde_json::json;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// table.column, or source:schema.table.column; none: every registered column
    column: Option<String>,
    /// Only values under this key, with a zero where there are none
    #[arg(long, value_name = "KEY_ID")]
    key: Option<u32>,
}

/// One line: values of one column under one key, or under none.
struct Counted {
    column: String,
    keyset: String,
    key_id: Option<u32>,
    cells: i64,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let engine = ground::engine_only(context.config()?, &context.output).await?;
    let db = engine.ledger.db();
    if let Some(key) = args.key {
        read::key(db, i64::from(key)).await?;
    }
    let columns = match &args.column {
        Some(name) => vec![catalog::named(db, name).await?],
        None => catalog::registered(db).await?,
    };
    let keys = ledger_keys::all(db).await?;
    let found = census::census_of(&engine, columns).await?;
    let (mut table, mut columns, mut total) =
        (Table::new(&["column", "keyset", "key#", "version#?", "state", "values#"]), Vec::new(), 0);
    for column in found {
        let mut counts = Vec::new();
        for counted in lines(column, args.key) {
            total += counted.cells;
            counts.push(counted.object(&keys));
            table.row(counted.cells_of_a_row(&keys));
        }
        if let Some(first) = counts.first() {
            columns.push(json!({"column": first["column"], "keyset": first["keyset"], "keys": counts}));
        }
    }
    context.output.show(&json!({"columns": columns}), || {
        let text = table.or("no registered column holds a value: see `reseal check`");
        match args.key {
            Some(key) => format!("{text}{} under key {key} in registered columns", count(total, "value")),
            None => text,
        }
    });
    Ok(Exit::Done)
}

fn lines(column: census::ColumnCensus, only: Option<u32>) -> Vec<Counted> {
    let line = |key_id, cells| Counted { column: column.column.clone(), keyset: column.keyset.clone(), key_id, cells };
    match only {
        None => column.keys.iter().map(|k| line(k.key_id, k.cells)).collect(),
        Some(only) => {
            let cells = column.keys.iter().filter(|k| k.key_id == Some(only)).map(|k| k.cells).sum();
            vec![line(Some(only), cells)]
        }
    }
}

impl Counted {
    fn key<'a>(&self, keys: &'a [keys::Model]) -> Option<&'a keys::Model> {
        keys.iter().find(|k| Some(k.key_id) == self.key_id.map(i64::from) && k.keyset == self.keyset)
    }

    fn state(&self, keys: &[keys::Model]) -> String {
        self.key(keys).map_or_else(|| "unaccounted".to_owned(), |k| k.state.to_string())
    }

    fn object(&self, keys: &[keys::Model]) -> serde_json::Value {
        let version = self.key(keys).map(|k| k.version);
        json!({
            "column": self.column, "keyset": self.keyset, "key_id": self.key_id, "version": version,
            "state": self.state(keys), "cells": self.cells,
        })
    }

    fn cells_of_a_row(&self, keys: &[keys::Model]) -> [String; 6] {
        [
            self.column.clone(),
            self.keyset.clone(),
            self.key_id.map_or_else(|| "none".into(), |id| id.to_string()),
            self.key(keys).map(|k| k.version.to_string()).unwrap_or_default(),
            self.state(keys),
            grouped(self.cells),
        ]
    }
}
