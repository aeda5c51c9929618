//! `reseal quarantine`: rows that could not be re-encrypted.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Table, grouped, time},
};
use reseal_engine::operate::{self, Resolved};
use reseal_entities::{ledger::quarantine, planned_tables};
use sea_orm::EntityTrait;
use serde_json::json;
use std::collections::BTreeMap;

#[derive(clap::Subcommand)]
pub(crate) enum Quarantine {
    /// Shows what waits for a person
    List(List),
    /// Reads a row again; resolved when it is current, NULL or gone
    Resolve(Resolve),
}

#[derive(clap::Args)]
pub(crate) struct List {
    /// Of one rotation
    #[arg(long, value_name = "ID")]
    rotation: Option<i64>,
    /// Resolved ones too
    #[arg(long)]
    all: bool,
    /// At most so many, the newest first
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: u64,
}

#[derive(clap::Args)]
pub(crate) struct Resolve {
    /// The quarantined row
    id: i64,
    /// Give the value up: set it to NULL; its bytes are kept in the ledger
    #[arg(long, requires = "note")]
    abandon: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

pub(crate) async fn run(quarantine: Quarantine, context: &Context) -> Result<Exit, Failure> {
    match quarantine {
        Quarantine::List(args) => list(args, context).await,
        Quarantine::Resolve(args) => resolve(args, context).await,
    }
}

async fn list(args: List, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let rows = quarantine::list(ledger.db(), args.rotation, args.all, args.limit).await?;
    let planned = planned_tables::Entity::find().all(ledger.db()).await?;
    let tables: BTreeMap<i64, String> = planned.into_iter().map(|t| (t.id, t.path())).collect();
    let table_of = |id: i64| tables.get(&id).cloned().unwrap_or_default();
    let mut shown =
        Table::new(&["id#", "rotation#?", "table", "row", "column", "code", "key#?", "bytes#?", "state?", "found?"]);
    let mut objects = Vec::new();
    for row in rows {
        let mut object = json!(row);
        object["table"] = table_of(row.planned_table_id).into();
        objects.push(object);
        shown.row([
            row.id.to_string(),
            row.rotation_id.to_string(),
            table_of(row.planned_table_id),
            row.row_key.clone(),
            row.column_name.clone(),
            row.code.clone(),
            row.found_key_id.map(|id| id.to_string()).unwrap_or_default(),
            grouped(row.cell_bytes),
            format!("{:?}", row.state).to_lowercase(),
            time(row.found_at),
        ]);
    }
    context.output.show(&json!({"quarantine": objects}), || shown.or("nothing is quarantined"));
    Ok(Exit::Done)
}

async fn resolve(args: Resolve, context: &Context) -> Result<Exit, Failure> {
    let engine = ground::engine_only(context.config()?, &context.output).await?;
    let how = operate::resolve(&engine, &actor(), args.id, args.abandon, args.note.as_deref()).await?;
    context.output.show(&json!({"id": args.id, "resolved": how}), || {
        let how = match how {
            Resolved::Current => "its value opens",
            Resolved::Null => "it is NULL",
            Resolved::Gone => "it is gone",
            Resolved::Abandoned => "its value was given up and set to NULL; the bytes are kept in the ledger",
        };
        format!("quarantined row {} is resolved: {how}", args.id)
    });
    Ok(Exit::Done)
}
