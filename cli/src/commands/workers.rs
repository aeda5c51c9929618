//! `reseal workers`: who is alive, and asking them to leave.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Table, count, grouped, time},
};
use reseal_entities::ledger::presence;
use serde_json::json;

#[derive(clap::Subcommand)]
pub(crate) enum Workers {
    /// Shows the workers that are alive
    List {
        /// Also those that have ended, or were lost, within a day
        #[arg(long)]
        all: bool,
    },
    /// Asks workers to finish what they have in hand and end, as SIGTERM does
    Drain(Drain),
}

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("who").required(true).args(["name", "all"])))]
pub(crate) struct Drain {
    /// The worker, as `reseal workers list` calls it
    name: Option<String>,
    /// Every worker that is alive
    #[arg(long)]
    all: bool,
}

pub(crate) async fn run(command: Workers, context: &Context) -> Result<Exit, Failure> {
    match command {
        Workers::List { all } => list(all, context).await,
        Workers::Drain(args) => drain(args, context).await,
    }
}

async fn list(all: bool, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let mut table = Table::new(&[
        "worker",
        "version?",
        "state",
        "since?",
        "lanes#",
        "jobs#",
        "re-encrypted#",
        "rows/s#",
        "keys#",
        "seen?",
    ]);
    let mut objects = Vec::new();
    for seen in presence::remembered(ledger.db()).await? {
        if !all && seen.has_ended() {
            continue;
        }
        let (w, state, rows_per_second) = (&seen.worker, seen.standing(), seen.rows_per_second());
        let keys = w.loaded();
        objects.push(json!({
            "name": w.name, "host": w.host(), "version": w.version, "state": state,
            "started_at": time(w.started_at), "seen_at": time(w.seen_at), "lanes": w.lanes,
            "jobs_running": w.jobs_running, "reencrypted": w.reencrypted, "keys_loaded": keys,
            "rows_per_second": rows_per_second, "batches": seen.batches,
            "drain_requested_at": w.drain_requested_at.map(time),
        }));
        table.row([
            w.name.clone(),
            w.version.clone(),
            state.to_owned(),
            time(w.started_at),
            w.lanes.to_string(),
            w.jobs_running.to_string(),
            grouped(w.reencrypted),
            rows_per_second.map(grouped).unwrap_or_default(),
            keys.len().to_string(),
            time(w.seen_at),
        ]);
    }
    context.output.show(&json!({"workers": objects}), || {
        table.or("no worker is alive: start `reseal work` on as many machines as you like, or `reseal up` on one")
    });
    Ok(Exit::Done)
}

async fn drain(args: Drain, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let txn = ledger.begin().await?;
    let asked = presence::ask_to_drain(&txn, &actor(), args.name.as_deref()).await?;
    txn.commit().await?;
    context.output.show(&json!({"asked": asked}), || match (asked.len(), &args.name) {
        (0, Some(name)) => format!("worker {name} was asked to drain before"),
        (0, None) => "no worker is alive that was not asked to drain before".to_owned(),
        (n, _) => format!(
            "{} asked to drain: each hears it within seconds, finishes its chunk, gives its batches back and ends; see `reseal workers list`",
            count(n as u64, "worker")
        ),
    });
    Ok(Exit::Done)
}
