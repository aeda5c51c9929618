//! `reseal exclude`: a clearing that waits for what will never catch up.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
};
use clap::builder::NonEmptyStringValueParser;
use reseal_entities::{
    exemptions::Kind,
    ledger::{exclude, read},
};
use serde_json::json;

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The rotation whose clearing waits
    id: i64,
    /// A standby or a replication slot, as the rotation's status names it: source:name
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), required_unless_present = "writer", conflicts_with = "writer")]
    replica: Option<String>,
    /// An application that still writes with another key than the new one
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    writer: Option<String>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    note: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let (kind, name) = match (args.replica, args.writer) {
        (Some(name), _) => (Kind::Replica, name),
        (None, name) => (Kind::Writer, name.unwrap_or_default()),
    };
    let txn = ledger.begin().await?;
    let changed = exclude::exclude(&txn, &actor(), args.id, (kind, &name), &args.note).await?;
    txn.commit().await?;
    let status = read::status(ledger.db(), args.id).await?;
    let object = json!({
        "id": args.id, "kind": kind, "name": name, "changed": changed, "state": status.state, "summary": status.summary,
    });
    context.output.show(&object, || {
        let before = if changed { "" } else { " before" };
        format!("{name} was excluded{before}: the clearing of rotation {} does not wait for it", args.id)
    });
    Ok(Exit::Done)
}
