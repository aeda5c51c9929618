//! How many rows a second a worker has changed lately.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Over so long it is told: longer than a batch's pauses, shorter than a person's patience.
const LATELY: Duration = Duration::from_secs(30);

/// Counts of all rows so far, each with its time on this machine's own clock.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<VecDeque<(Instant, i64)>>);

impl Pace {
    /// Notes that `rows` were changed in all by `now`. The mean of about the last 30 s, or of less after the start;
    /// none at the first call, as one count has no pace.
    pub(crate) fn note(&self, now: Instant, rows: i64) -> Option<i64> {
        let mut seen = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // One older than that stays, so that there is always one to count from.
        while seen.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= LATELY) {
            seen.pop_front();
        }
        let first = seen.front().copied();
        seen.push_back((now, rows));
        let (at, before) = first?;
        let milliseconds = i64::try_from(now.duration_since(at).as_millis()).ok().filter(|ms| *ms > 0)?;
        Some((rows - before).saturating_mul(1000) / milliseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use std::time::{Duration, Instant};

    #[test]
    fn it_is_the_mean_of_the_last_half_minute() {
        let (pace, start) = (Pace::default(), Instant::now());
        let told = [(0, 0), (5, 1_000), (10, 2_000), (30, 2_000), (40, 2_000), (45, 12_000)]
            .map(|(second, rows)| pace.note(start + Duration::from_secs(second), rows));
        // 2,000 in 30 s; none in the 30 s from 10 to 40; 10,000 in the 35 s from 10 to 45.
        assert_eq!(told, [None, Some(200), Some(200), Some(66), Some(0), Some(285)]);
    }

    #[test]
    fn a_moment_has_none() {
        let (pace, now) = (Pace::default(), Instant::now());
        assert_eq!([pace.note(now, 0), pace.note(now, 7)], [None, None]);
    }
}
