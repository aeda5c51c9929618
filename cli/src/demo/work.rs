//! A worker in this process.

use super::world::World;
use crate::failure::Failure;
use reseal_engine::Engine;
use reseal_entities::ledger::presence;
use reseal_queue::Queue;
use reseal_worker::{EngineSteps, RunOptions, Summary, WorkerError};
use std::{sync::Arc, time::Duration};
use tokio::{sync::oneshot, task::JoinHandle};

pub(super) struct Worker {
    pub queue: Queue,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Summary, WorkerError>>,
}

impl Worker {
    /// Returns when it is heard of in the ledger.
    pub(super) async fn start(world: &World) -> Result<Self, Failure> {
        let queue = Queue::open(world.config.queue.url.expose(), &world.ledger.identity().await?.name).await?;
        let options = RunOptions { lanes: world.config.worker.lanes.into(), ..RunOptions::unique()? };
        let engine = Engine::open(world.config.clone(), world.ledger.clone(), options.name.to_string()).await?;
        let (stop, stopped) = oneshot::channel::<()>();
        let steps = Arc::new(EngineSteps::new(Arc::new(engine)));
        let rung = queue.clone();
        let task = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            reseal_worker::run(rung, steps, options, stop).await
        });
        while presence::alive(world.ledger.db()).await?.is_empty() && !task.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { queue, stop, task })
    }

    pub(super) async fn stop(self) -> Result<(), Failure> {
        let _ = self.stop.send(());
        self.task.await.map_err(|e| Failure::new("worker_died", format!("the worker died: {e}")))??;
        Ok(())
    }
}
