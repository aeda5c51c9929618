//! `reseal work`: the engine off the queue, until it is stopped.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground::{self, Schema},
    output::count,
    signals::StopSignals,
};
use reseal_config::Config;
use reseal_queue::Queue;
use reseal_worker::{EngineSteps, RunOptions};
use serde_json::json;
use std::sync::Arc;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Batches at once [default: worker.lanes of the configuration]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    lanes: Option<u16>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    work(args, context, context.config()?, Schema::Must).await
}

/// Works until SIGTERM or ctrl-c, then drains; a second one ends it at once.
pub(crate) async fn work(args: Args, context: &Context, config: Config, schema: Schema) -> Result<Exit, Failure> {
    let signals = StopSignals::listen().map_err(Failure::io("signals cannot be heard"))?;
    let queue_url = config.queue.url.clone();
    let lanes = args.lanes.unwrap_or(config.worker.lanes).into();
    let options = RunOptions { lanes, ..RunOptions::unique()? };
    let engine = ground::engine(config, schema, options.name.to_string(), &context.output).await?;
    let queue = Queue::open(queue_url.expose(), &engine.ledger.identity().await?.name).await?;
    context.output.note(&format!("worker {} with {}; ctrl-c drains it", options.name, count(lanes as u64, "lane")));
    let steps = Arc::new(EngineSteps::new(Arc::new(engine)));
    let summary = Box::pin(reseal_worker::run(queue, steps, options, signals.stop())).await?;
    let jobs = summary.jobs;
    let object = json!({
        "done": jobs.done, "failed": jobs.failed, "panicked": jobs.panicked, "cut_off": jobs.cut_off,
        "unknown": jobs.unknown, "drained": summary.drained,
    });
    context.output.show(&object, || {
        let drained = if summary.drained { "drained" } else { "cut off what was left at the end of the grace" };
        format!("{} done, {} failed; {drained}", count(jobs.done, "job"), jobs.failed + jobs.panicked + jobs.cut_off)
    });
    Ok(Exit::Done)
}
