//! `reseal census`: encrypted values by key.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Output, Table, count, grouped},
};
use reseal_engine::census::{self, Census};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// table.column, or source:schema.table.column; none: every registered column
    column: Option<String>,
    /// Only values under this key, with a zero where there are none
    #[arg(long, value_name = "KEY_ID")]
    key: Option<u32>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let engine = ground::engine_only(context.config()?, &context.output).await?;
    let found = census::told(&engine, args.column.as_deref(), args.key.map(i64::from)).await?;
    show(&context.output, &found, args.key);
    Ok(Exit::Done)
}

fn show(output: &Output, found: &Census, key: Option<u32>) {
    output.show(found, || {
        let (mut table, mut total) = (Table::new(&["column", "keyset", "key#", "version#?", "state", "values#"]), 0);
        for line in found.columns.iter().flat_map(|c| &c.keys) {
            total += line.cells;
            table.row([
                line.column.clone(),
                line.keyset.clone(),
                line.key_id.map_or_else(|| "none".into(), |id| id.to_string()),
                line.version.map(|v| v.to_string()).unwrap_or_default(),
                line.state.clone(),
                grouped(line.cells),
            ]);
        }
        let text = table.or("no registered column holds a value: see `reseal check`");
        match key {
            Some(key) => format!("{text}{} under key {key} in registered columns", count(total, "value")),
            None => text,
        }
    });
}
