//! `reseal up`: the embedded default. Makes what is missing, then works and serves in one process.

use super::{
    serve::{self, Server},
    work::{self, Worker},
};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground::{self, Schema},
    signals::StopSignals,
};
use reseal_config::{Config, Origin};
use reseal_entities::ledger::keys as ledger_keys;
use reseal_producer::http::App;
use std::{collections::BTreeSet, net::SocketAddr};
use tokio::sync::{Notify, watch};

// Its group would be called as the flattened one's.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    work: work::Args,
    /// Where to listen [default: server.bind of the configuration]
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<SocketAddr>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let loaded = context.load()?;
    let (mut config, output) = (loaded.config, &context.output);
    config.server.bind = args.bind.unwrap_or(config.server.bind);
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
    let signals = StopSignals::listen().map_err(Failure::io("signals cannot be heard"))?;
    let worker = Worker::open(&args.work, context, config.clone(), Schema::Migrate).await?;
    let storage = serve::storage(&config, &worker.engine.ledger, context).await?;
    // Connections of its own: requests must not keep a worker's lease from being renewed.
    let ledger = ground::ledger(&config, Schema::Must).await?;
    let app = App::open(ledger, Some(worker.queue.clone()), None, serve::settings(&config));
    let server = Server::open(app, &config, Some(&storage), context).await?;
    let ended = both(worker, server, signals, context).await;
    storage.close().await;
    ended
}

/// Until a signal, or the end of either: then the worker drains, and the server serves until it has.
async fn both(worker: Worker, server: Server, signals: StopSignals, context: &Context) -> Result<Exit, Failure> {
    let (drained, server_ended) = (watch::Sender::new(false), Notify::new());
    let working = async {
        let stop = async {
            tokio::select! {
                () = signals.stop() => {}
                () = server_ended.notified() => {}
            }
        };
        let worked = worker.work(stop, context).await;
        drained.send_replace(true);
        worked
    };
    let serving = async {
        let mut drained = drained.subscribe();
        let served = server.run(async move { drop(drained.wait_for(|drained| *drained).await) }).await;
        server_ended.notify_one();
        served
    };
    let (worked, served) = tokio::join!(working, serving);
    served.and(worked)
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
