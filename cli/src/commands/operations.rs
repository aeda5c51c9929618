//! `reseal operations`: what was asked for over HTTP, and what came of it.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Output, Table, time},
};
use reseal_entities::ledger::{
    operations::{self, Filter, OperationStatus},
    presence,
};
use serde_json::{Value, json};

#[derive(clap::Subcommand)]
pub(crate) enum Operations {
    /// Shows the newest operations
    List {
        /// Of one rotation
        #[arg(long, value_name = "ID")]
        rotation: Option<i64>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u64,
    },
    /// Shows one, with what it found
    Show {
        /// The operation
        id: i64,
    },
}

pub(crate) async fn run(command: Operations, context: &Context) -> Result<Exit, Failure> {
    match command {
        Operations::List { rotation, limit } => list(rotation, limit, context).await,
        Operations::Show { id } => show(id, context).await,
    }
}

async fn list(rotation_id: Option<i64>, limit: u64, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let filter = Filter { rotation_id, ..Filter::default() };
    let found = operations::page(ledger.db(), &filter, None, limit).await?;
    let workers = presence::alive(ledger.db()).await?.len();
    let mut table = Table::new(&["id#", "what", "about", "state", "asked by?", "asked?", "ended?", "what goes on"]);
    let mut objects = Vec::new();
    for operation in found {
        let operation = OperationStatus::of(operation, workers);
        table.row([
            operation.id.to_string(),
            operation.kind.to_string(),
            about(&operation),
            operation.state.to_string(),
            operation.requested_by.clone(),
            time(operation.requested_at),
            operation.ended_at.map(time).unwrap_or_default(),
            operation.summary.clone(),
        ]);
        let mut object = json!(operation);
        object["result"] = Value::Null; // `show` has it: a page of them would be megabytes
        objects.push(object);
    }
    context.output.show(&json!({"operations": objects}), || table.or("nobody has asked for an operation yet"));
    Ok(Exit::Done)
}

async fn show(id: i64, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let workers = presence::alive(ledger.db()).await?.len();
    let operation = OperationStatus::of(operations::get(ledger.db(), id).await?, workers);
    context.output.show(&operation, || text(&operation, &context.output));
    Ok(Exit::Done)
}

fn text(operation: &OperationStatus, output: &Output) -> String {
    let title = output.strong(&format!("operation {}", operation.id));
    let mut text = format!("{title}: {} {}\n{}\n", operation.kind, operation.params, operation.summary);
    let lines = [
        ("asked by", Some(operation.requested_by.clone())),
        ("request", operation.request_id.clone()),
        ("asked", Some(time(operation.requested_at))),
        ("ended", operation.ended_at.map(time)),
        ("worker", operation.worker.clone()),
        ("code", operation.code.clone()),
    ];
    for (name, value) in lines {
        text.extend(value.map(|value| format!("  {name:<13}{value}\n")));
    }
    let result = operation.result.as_ref().and_then(|result| serde_json::to_string_pretty(result).ok());
    text + &result.unwrap_or_default()
}

/// What it is about, in a word or two.
fn about(operation: &OperationStatus) -> String {
    let words = [
        operation.key_id.map(|id| format!("key {id}")),
        operation.rotation_id.map(|id| format!("rotation {id}")),
        operation.keyset.clone(),
    ];
    words.into_iter().flatten().next().unwrap_or_else(|| "everything".to_owned())
}
