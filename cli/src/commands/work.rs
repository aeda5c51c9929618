//! `reseal work`: the engine off the queue, until it is stopped.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground::{self, Schema},
    output::count,
    signals::StopSignals,
};
use reseal_config::Config;
use reseal_engine::Engine;
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

/// A worker that has everything it needs and has not begun.
pub(super) struct Worker {
    pub engine: Arc<Engine>,
    pub queue: Queue,
    options: RunOptions,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let signals = StopSignals::listen().map_err(Failure::io("signals cannot be heard"))?;
    let worker = Worker::open(&args, context, context.config()?, Schema::Must).await?;
    worker.work(signals.stop(), context).await
}

impl Worker {
    pub(super) async fn open(args: &Args, context: &Context, config: Config, schema: Schema) -> Result<Self, Failure> {
        let queue_url = config.queue.url.clone();
        let lanes = args.lanes.unwrap_or(config.worker.lanes).into();
        let options = RunOptions { lanes, ..RunOptions::unique()? };
        let engine = ground::engine(config, schema, options.name.to_string(), &context.output).await?;
        let queue = Queue::open(queue_url.expose(), &engine.ledger.identity().await?.name).await?;
        Ok(Self { engine: Arc::new(engine), queue, options })
    }

    /// Works until `stop`, then drains.
    pub(super) async fn work(self, stop: impl Future<Output = ()>, context: &Context) -> Result<Exit, Failure> {
        let Self { engine, queue, options } = self;
        let lanes = count(options.lanes as u64, "lane");
        context.output.note(&format!("worker {} with {lanes}; ctrl-c drains it", options.name));
        let steps = Arc::new(EngineSteps::new(engine));
        let summary = Box::pin(reseal_worker::run(queue, steps, options, stop)).await?;
        let jobs = summary.jobs;
        let object = json!({
            "done": jobs.done, "failed": jobs.failed, "panicked": jobs.panicked, "cut_off": jobs.cut_off,
            "unknown": jobs.unknown, "drained": summary.drained,
        });
        context.output.show(&object, || {
            let drained = if summary.drained { "drained" } else { "cut off what was left at the end of the grace" };
            format!(
                "{} done, {} failed; {drained}",
                count(jobs.done, "job"),
                jobs.failed + jobs.panicked + jobs.cut_off
            )
        });
        Ok(Exit::Done)
    }
}
