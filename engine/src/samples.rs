//! The dispatch leader notes how far each rotation is, every ten seconds by the database's clock.

use crate::{engine::Engine, error::EngineError};
use reseal_entities::ledger::{now_ms, samples, throttle};
use std::time::{Duration, Instant};

/// Old samples are looked for so often.
const THIN: Duration = Duration::from_secs(300);

/// What the leader remembers between samples; all of it may be lost.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    due: Option<Instant>,
    thinned: Option<Instant>,
}

impl Sampler {
    /// Samples what goes on, if the next ten seconds have begun.
    pub(crate) async fn round(&mut self, engine: &Engine) -> Result<(), EngineError> {
        if self.due.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        let db = engine.ledger.db();
        let now = now_ms(db).await?;
        let left = samples::EVERY_MS - now.rem_euclid(samples::EVERY_MS);
        self.due = Some(Instant::now() + Duration::from_millis(left.unsigned_abs()));
        for rotation in throttle::paced(db).await? {
            samples::record_if_going(db, &rotation, now).await?;
        }
        if self.thinned.is_none_or(|at| at.elapsed() >= THIN) {
            samples::thin(db, now).await?;
            self.thinned = Some(Instant::now());
        }
        Ok(())
    }
}
