//! The dispatch leader's side of the throttle: once a second it decides for each open rotation how fast a
//! batch may go, and publishes it. Any signal stops a rotation, none overrides another, and the first
//! true one is shown; where none is, an operator's limit is shared by the batches in hand.
//!
//! A further signal is a file in `throttle/` with one function that says what is the matter, if anything
//! is, and a line in [`Throttle::signal`].

mod replica_lag;

use crate::{engine::Engine, error::EngineError};
use reseal_entities::{
    ledger::{
        plan,
        throttle::{self, Decision, Limits, Pace},
    },
    rotations,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Between two decisions.
const EVERY: Duration = Duration::from_secs(1);

/// A reason to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    code: &'static str,
    reason: String,
}

/// What the leader remembers between decisions; all of it may be lost.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    decided: Option<Instant>,
    /// Rotations that stood still when it last looked, and when that was.
    stood: BTreeMap<i64, Instant>,
    /// Sources of which it was said that their replicas cannot be seen.
    unseen: BTreeSet<String>,
}

impl Throttle {
    /// Decides and publishes, if a second is over.
    pub(crate) async fn round(&mut self, engine: &Engine) -> Result<(), EngineError> {
        if self.decided.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(());
        }
        self.decided = Some(Instant::now());
        let db = engine.ledger.db();
        let rotations = throttle::paced(db).await?;
        self.stood.retain(|id, _| rotations.iter().any(|r| r.id == *id));
        let mut signals = BTreeMap::new();
        for rotation in rotations {
            let signal = self.signal(engine, &rotation, &mut signals).await?;
            let in_hand = throttle::in_hand(db, rotation.id).await?;
            let decided = decide(signal, rotation.limits(), in_hand);
            let (now, mut stood_ms) = (Instant::now(), 0);
            if let Some(since) = self.stood.remove(&rotation.id) {
                stood_ms = i64::try_from((now - since).as_millis()).unwrap_or(0);
            }
            if decided.pace == Pace::Stopped {
                self.stood.insert(rotation.id, now);
            }
            throttle::publish_if_open(db, &rotation, &decided, stood_ms).await?;
        }
        Ok(())
    }

    /// The first signal that is true of a rotation's sources. Each source is asked once a round.
    async fn signal(
        &mut self,
        engine: &Engine,
        rotation: &rotations::Model,
        known: &mut BTreeMap<String, Option<Signal>>,
    ) -> Result<Option<Signal>, EngineError> {
        let tables = plan::tables(engine.ledger.db(), rotation.id).await?;
        for name in tables.into_iter().map(|t| t.source).collect::<BTreeSet<_>>() {
            if !known.contains_key(&name) {
                let signal = replica_lag::signal(engine, &name, &mut self.unseen).await;
                known.insert(name.clone(), signal);
            }
            if let Some(Some(signal)) = known.get(&name) {
                return Ok(Some(signal.clone()));
            }
        }
        Ok(None)
    }
}

/// What each batch in hand may do. A limit's share is published for people: workers compute their own, so that it holds from
/// the first row.
fn decide(signal: Option<Signal>, limits: Limits, in_hand: u64) -> Decision {
    if let Some(Signal { code, reason }) = signal {
        return Decision { pace: Pace::Stopped, code: Some(code), reason: Some(reason) };
    }
    let Some(limit) = limits.rows_per_second else { return Decision::default() };
    Decision {
        pace: limits.share(in_hand),
        code: Some("limit"),
        reason: Some(format!("limited to {limit} rows per second")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag() -> Option<Signal> {
        Some(Signal { code: "replica_lag", reason: "replica lag 2.3 s".to_owned() })
    }

    #[test]
    fn a_signal_stops_whatever_the_limit_is_and_is_told() {
        for rows_per_second in [None, Some(1), Some(1_000_000)] {
            let decided = decide(lag(), Limits { rows_per_second, ..Limits::default() }, 3);
            assert_eq!(decided.pace, Pace::Stopped);
            assert_eq!((decided.code, decided.reason.as_deref()), (Some("replica_lag"), Some("replica lag 2.3 s")));
        }
    }

    #[test]
    fn a_limit_is_shared_by_the_batches_in_hand() {
        let pace = |in_hand| decide(None, Limits { rows_per_second: Some(100), ..Limits::default() }, in_hand).pace;
        assert_eq!(pace(0), Pace::RowsPerHour(360_000));
        assert_eq!(pace(4), Pace::RowsPerHour(90_000));
        assert_eq!(pace(1_000_000), Pace::RowsPerHour(1), "a limit never stops altogether");
    }

    #[test]
    fn without_signal_and_limit_it_goes_at_full_speed_and_says_nothing() {
        assert_eq!(decide(None, Limits::default(), 7), Decision::default());
    }
}
