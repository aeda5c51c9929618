//! Waiting for a table that others hold.

use crate::{engine::Engine, error::EngineError, source::SourceError};
use reseal_entities::{ledger::steps, rotations};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15);

/// Waits until a table is free. Starting the whole step over would sweep every table again, so the step waits for as
/// long as somebody holds the table, and status says who that is.
pub(crate) struct Patience<'a> {
    engine: &'a Engine,
    rotation: &'a rotations::Model,
    pause: Duration,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(engine: &'a Engine, rotation: &'a rotations::Model) -> Self {
        Self { engine, rotation, pause: FIRST }
    }

    /// Takes in how a try ended. False: the table was not free, and is to be tried again.
    pub(crate) async fn is_over(&mut self, tried: Result<(), SourceError>) -> Result<bool, EngineError> {
        let (db, id, epoch) = (self.engine.ledger.db(), self.rotation.id, self.rotation.step_epoch);
        match tried {
            Err(e) if e.code == "source_lock_timeout" => {
                steps::note_if_held(db, id, epoch, Some((e.code, &e.message))).await?;
                tokio::time::sleep(self.pause).await;
                self.pause = (self.pause * 2).min(LONGEST);
                Ok(false)
            }
            tried => {
                if self.pause > FIRST {
                    steps::note_if_held(db, id, epoch, None).await?;
                }
                Ok(tried.map(|()| true)?)
            }
        }
    }
}
