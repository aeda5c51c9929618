//! `reseal up`: the embedded default. Makes what is missing, then works.

use super::work::{self, Args};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground::{self, Schema},
};
use reseal_config::{Config, Origin};
use reseal_entities::ledger::keys as ledger_keys;
use std::collections::BTreeSet;

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let loaded = context.load()?;
    let (config, output) = (loaded.config, &context.output);
    let origin = match loaded.origin {
        Origin::Embedded => "the embedded default".to_owned(),
        Origin::File(file) => file.display().to_string(),
    };
    let ledger = ground::ledger(&config, Schema::Migrate).await?;
    output.note(&format!("configuration  {origin}"));
    output.note(&format!("ledger         {}", config.ledger.url));
    output.note(&format!("key backup     {}", config.ledger.key_backup.display()));
    output.note(&format!("queue          {}", config.queue.url));
    for table in &config.tables {
        let columns: Vec<_> = table.columns.iter().map(|c| format!("{} ({})", c.name, c.keyset)).collect();
        output.note(&format!("table          {}:{} {}", table.source, table.name, columns.join(", ")));
    }
    let known = ledger_keys::all(ledger.db()).await?;
    for hint in hints(&config, &known.iter().map(|k| k.keyset.as_str()).collect()) {
        output.note(&hint);
    }
    drop(ledger);
    work::work(args, context, config, Schema::Migrate).await
}

/// What is still to be done before there is something to rotate.
fn hints(config: &Config, known: &BTreeSet<&str>) -> Vec<String> {
    if config.tables.is_empty() {
        return vec![
            "no table yet: name databases and encrypted columns with [[source]] and [[table]] in a reseal.toml, \
             see config/production.example.toml"
                .to_owned(),
        ];
    }
    let used: BTreeSet<_> = config.tables.iter().flat_map(|t| &t.columns).map(|c| c.keyset.as_str()).collect();
    let missing = used.difference(known);
    missing.map(|keyset| format!("no keyset `{keyset}` yet: make it with `reseal keys create {keyset}`")).collect()
}
