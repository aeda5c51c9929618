//! `reseal fence`: the rules in the sources that refuse new values under retired keys.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::Table,
};
use reseal_engine::operate;
use serde_json::json;

#[derive(clap::Subcommand)]
pub(crate) enum Fence {
    /// Shows the fence of every registered column, as it stands
    List,
    /// Prints the statements that put a column's fence up
    Sql {
        /// table.column, or source:schema.table.column
        column: String,
    },
    /// Takes a column's fence down
    Remove {
        /// table.column, or source:schema.table.column
        column: String,
        /// Really
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) async fn run(fence: Fence, context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    if let Fence::Remove { yes: false, column } = &fence {
        let message = format!(
            "without its fence {column} takes values under destroyed keys again, which nobody can then read: say --yes if that is meant"
        );
        return Err(Failure::usage("not_confirmed", message));
    }
    let engine = ground::engine_only(config, &context.output).await?;
    match fence {
        Fence::List => {
            let fences = operate::fences(&engine).await?;
            let mut table = Table::new(&["column", "rule", "stands", "what is missing"]);
            for f in &fences {
                let stands = if f.state.complete { "yes" } else { "no" };
                table.row([f.column.clone(), f.rule.clone(), stands.into(), f.state.detail.clone()]);
            }
            let none = "no column is registered: see `reseal check`";
            context.output.show(&json!({"fences": fences}), || table.or(none));
        }
        Fence::Sql { column } => {
            let statements = operate::fence_sql(&engine, &column).await?;
            let sql = || statements.iter().map(|s| format!("{};\n", s.trim_end().trim_end_matches(';'))).collect();
            context.output.show(&json!({"column": column, "statements": statements}), sql);
        }
        Fence::Remove { column, .. } => {
            operate::remove_fence(&engine, &actor(), &column).await?;
            context
                .output
                .show(&json!({"column": column, "removed": true}), || format!("the fence of {column} is down"));
        }
    }
    Ok(Exit::Done)
}
