//! A worker's side of the throttle: how large the next chunk is, and how long to wait after one.

use reseal_entities::ledger::throttle::Pace;
use std::time::{Duration, Instant};

/// Whoever is stopped looks again so often.
const LOOK: Duration = Duration::from_millis(250);

/// A chunk's part of a second's rows.
const SLICE: f64 = 0.25;

/// What one batch in hand owes. Rows are paid off as time passes; nothing is saved up, so that a pause
/// is followed by no burst.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    pace: Pace,
    owed: f64,
    at: Instant,
}

impl Pacer {
    pub(crate) fn new(pace: Pace, now: Instant) -> Self {
        Self { pace, owed: 0.0, at: now }
    }

    fn per_second(&self) -> f64 {
        match self.pace {
            Pace::Unlimited => f64::INFINITY,
            Pace::RowsPerHour(rows) => rows as f64 / 3_600.0,
            Pace::Stopped => 0.0,
        }
    }

    fn settle(&mut self, now: Instant) {
        let paid = match self.pace {
            Pace::Unlimited => self.owed,
            _ => self.per_second() * now.duration_since(self.at).as_secs_f64(),
        };
        (self.owed, self.at) = ((self.owed - paid).max(0.0), now);
    }

    /// Goes at another pace from now on; what is owed stays owed.
    pub(crate) fn set(&mut self, pace: Pace, now: Instant) {
        self.settle(now);
        self.pace = pace;
    }

    /// Notes rows that the database changed.
    pub(crate) fn changed(&mut self, rows: i64, now: Instant) {
        self.settle(now);
        self.owed += rows.max(0) as f64;
    }

    /// Rows of the next chunk: no more than a quarter of a second's, so that a low limit is smooth, and so that lanes which
    /// begin at the same time exceed what they share by little.
    pub(crate) fn rows(&self, wanted: u32) -> u32 {
        match self.pace {
            Pace::Unlimited => wanted,
            _ => wanted.min((self.per_second() * SLICE).max(1.0) as u32),
        }
    }

    /// How long to wait before the next look; none: go on.
    pub(crate) fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.settle(now);
        match self.pace {
            Pace::Stopped => Some(LOOK),
            _ if self.owed > 0.0 => {
                Some(Duration::from_secs_f64((self.owed / self.per_second()).min(LOOK.as_secs_f64())))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_A_SECOND: Pace = Pace::RowsPerHour(36_000);

    #[test]
    fn without_a_limit_nothing_is_waited_for() {
        let now = Instant::now();
        let mut pacer = Pacer::new(Pace::Unlimited, now);
        pacer.changed(1_000_000, now);
        assert_eq!((pacer.wait(now), pacer.rows(500)), (None, 500));
    }

    #[test]
    fn rows_are_paid_off_by_time_and_none_are_saved_up() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut pacer = Pacer::new(TEN_A_SECOND, now);
        // an hour of doing nothing earns nothing
        pacer.changed(20, at(3_600));
        assert!(pacer.wait(at(3_600)).is_some() && pacer.wait(at(3_601)).is_some());
        assert_eq!(pacer.wait(at(3_602)), None);
    }

    #[test]
    fn a_stop_lasts_until_the_pace_changes_and_a_debt_is_paid_at_the_new_one() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut pacer = Pacer::new(Pace::Stopped, now);
        pacer.changed(20, now);
        assert!(pacer.wait(at(86_400)).is_some());
        pacer.set(TEN_A_SECOND, at(86_400));
        assert!(pacer.wait(at(86_401)).is_some());
        assert_eq!(pacer.wait(at(86_402)), None);
        pacer.changed(20, at(86_402));
        pacer.set(Pace::Unlimited, at(86_402));
        assert_eq!(pacer.wait(at(86_402)), None);
    }

    #[test]
    fn a_chunk_is_a_quarter_seconds_rows_at_most_and_one_at_least() {
        let now = Instant::now();
        assert_eq!(Pacer::new(Pace::RowsPerHour(360_000), now).rows(500), 25);
        assert_eq!(Pacer::new(Pace::RowsPerHour(360_000), now).rows(5), 5);
        assert_eq!(Pacer::new(TEN_A_SECOND, now).rows(500), 2);
        assert_eq!(Pacer::new(Pace::RowsPerHour(1), now).rows(500), 1);
        assert_eq!(Pacer::new(Pace::Stopped, now).rows(500), 1);
    }
}
