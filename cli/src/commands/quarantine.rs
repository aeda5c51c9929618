//! `reseal quarantine`: rows that could not be re-encrypted.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{self, Table, grouped, time},
};
use reseal_engine::{
    EngineError,
    operate::{self, DeleteRow, GiveUp, Resolved},
};
use reseal_entities::{ledger::quarantine, planned_tables};
use sea_orm::EntityTrait;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

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
    /// Give the value up: set it to NULL, and nothing else; its bytes are kept in the ledger
    #[arg(long, requires = "note", conflicts_with = "delete_row")]
    abandon: bool,
    /// Give the value up with its whole row; without --confirm this tells what would go and changes nothing
    #[arg(long, requires = "note", requires = "row_to")]
    delete_row: bool,
    /// A new file that keeps the whole row, in clear text, before it is deleted
    #[arg(long, value_name = "FILE", requires = "delete_row")]
    row_to: Option<PathBuf>,
    /// The row's key as `quarantine list` shows it: yes, this row
    #[arg(long, value_name = "KEY", requires = "delete_row")]
    confirm: Option<String>,
    /// A table whose rows may be deleted or changed with it; again for each
    #[arg(long, value_name = "TABLE", requires = "delete_row")]
    cascade: Vec<String>,
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
    let keep = |row: &str| keep(args.row_to.as_deref(), row);
    let how = match (args.abandon, args.delete_row) {
        (true, _) => GiveUp::ToNull,
        (_, true) => {
            GiveUp::WithItsRow(DeleteRow { confirm: args.confirm.as_deref(), cascade: &args.cascade, keep: &keep })
        }
        _ => GiveUp::No,
    };
    let resolved = operate::resolve(&engine, &actor(), args.id, how, args.note.as_deref()).await?;
    context.output.show(&json!({"id": args.id, "resolved": resolved}), || {
        format!("quarantined row {} is resolved: {}", args.id, sentence(&resolved, args.row_to.as_deref()))
    });
    Ok(Exit::Done)
}

fn sentence(resolved: &Resolved, row_to: Option<&Path>) -> String {
    match resolved {
        Resolved::Current => "its value opens".to_owned(),
        Resolved::Null => "it is NULL".to_owned(),
        Resolved::Gone => "it is gone".to_owned(),
        Resolved::Abandoned => "its value was set to NULL; the bytes are kept in the ledger".to_owned(),
        Resolved::RowDeleted(also) => {
            let also: String = also
                .iter()
                .map(|o| format!(", and in {} {} deleted, {} changed", o.table, grouped(o.deleted), grouped(o.changed)))
                .collect();
            let kept = row_to.map(|file| file.display().to_string()).unwrap_or_default();
            format!("its row was deleted{also}; the value's bytes are kept in the ledger, the whole row in {kept}")
        }
    }
}

/// Writes the row where it survives a crash, before anything is deleted; the audit is given the place.
fn keep(file: Option<&Path>, row: &str) -> Result<String, EngineError> {
    let Some(file) = file else {
        return Err(EngineError::refused("row_not_kept", "name a new file for the row with --row-to"));
    };
    let mut target = output::new_file(file).map_err(|e| EngineError::refused(e.code, e.message))?;
    let failed = |e: std::io::Error| {
        EngineError::refused("row_not_kept", format!("{} cannot be written ({e}); nothing was deleted", file.display()))
    };
    target.write_all(row.as_bytes()).and_then(|()| target.write_all(b"\n")).map_err(failed)?;
    target.sync_all().map_err(failed)?;
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed)?;
    Ok(std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).display().to_string())
}
