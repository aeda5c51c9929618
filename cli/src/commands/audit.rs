//! `reseal audit`: who did what when.

mod export;

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Table, count, time},
};
use reseal_entities::{audit as rows, ledger::audit};
use sea_orm::{EntityTrait, QueryOrder, QuerySelect};
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub(crate) enum Audit {
    /// Shows the newest entries, oldest first
    List {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u64,
    },
    /// Reads the whole chain and says whether it holds
    Verify {
        /// An earlier export, or its last line, or - for stdin: the chain must still contain it
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
    /// Writes the entries as JSON Lines, each with its hash, and a checkpoint {seq, hash, entries} at the end
    Export(export::Args),
}

pub(crate) async fn run(audit: Audit, context: &Context) -> Result<Exit, Failure> {
    let ledger = async || ground::ledger_only(&context.config()?).await;
    match audit {
        Audit::List { limit } => {
            let newest = rows::Entity::find().order_by_desc(rows::Column::Seq).limit(limit);
            let mut entries = newest.all(ledger().await?.db()).await?;
            entries.reverse();
            let mut head = vec!["#", "at", "who", "what", "to", "then?"];
            if entries.iter().any(|e| e.request_id.is_some()) {
                head.push("request?"); // only what came by HTTP has one
            }
            let mut table = Table::new(&head);
            for e in &entries {
                let what = [time(e.at), e.actor.clone(), e.action.clone(), e.subject.clone(), e.after.clone()];
                let request = e.request_id.clone().unwrap_or_default();
                table.row([e.seq.to_string()].into_iter().chain(what).chain([request]).take(head.len()));
            }
            context.output.show(&json!({"entries": entries}), || table.or("nothing was done yet"));
            Ok(Exit::Done)
        }
        Audit::Export(args) => export::run(args, context).await,
        Audit::Verify { checkpoint } => {
            let checkpoint = checkpoint.as_deref().map(export::checkpoint).transpose()?;
            let verdict = audit::verify_with(ledger().await?.db(), checkpoint.as_ref()).await?;
            let entries = count(verdict.entries, "entry");
            context.output.show(&verdict, || match &verdict.broken {
                None => {
                    let kept = checkpoint.as_ref().map(|c| format!(" and contains entry {} as it was", c.seq));
                    context.output.verdict(true, &format!("{entries}, the chain holds{}", kept.unwrap_or_default()))
                }
                Some(broken) => {
                    context.output.verdict(false, &format!("the chain is broken after {entries}: {broken}"))
                }
            });
            Ok(if verdict.broken.is_none() { Exit::Done } else { Exit::Failed })
        }
    }
}
