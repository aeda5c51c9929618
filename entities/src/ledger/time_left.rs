//! How fast a rotation goes and how long its re-encrypting will take from now on: arithmetic over samples.

use serde::Serialize;
use std::fmt;

/// The two lengths of time over which the speed is looked at: now, and in general.
const LATELY_MS: i64 = 60_000;
pub(super) const IN_GENERAL_MS: i64 = 600_000;
/// Samples whose neighbours are further apart do not belong together: it was paused, or nobody led.
const GAP_MS: i64 = 30_000;
/// Over less time than this no speed is told.
const LEAST_MS: i64 = 10_000;

/// How long re-encrypting will take from now on, if it goes on as it did lately or as it does in general.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TimeLeft {
    /// At the higher of the two speeds.
    pub from_ms: i64,
    /// At the lower one.
    pub to_ms: i64,
}

/// How far it was, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub at: i64,
    pub rows_done: i64,
}

/// Rows per second over about the last minute and over about the last ten, or over what there is of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Speed {
    pub lately: f64,
    pub in_general: f64,
}

/// The speed by what was `seen`, oldest first, and by what is so `now`. None while too little is known, and
/// while a clock that was set back has not caught up: the samples of then would tell of two times at once.
pub(super) fn speed(seen: &[Seen], now: Seen) -> Option<Speed> {
    let all: Vec<Seen> = seen.iter().copied().chain([now]).collect();
    if all.windows(2).any(|two| two[0].at > two[1].at || two[0].rows_done > two[1].rows_done) {
        return None;
    }
    let apart = |two: &[Seen]| two[1].at.saturating_sub(two[0].at) > GAP_MS;
    let together = &all[all.windows(2).rposition(apart).map_or(0, |gap| gap + 1)..];
    Some(Speed { lately: since(together, now, LATELY_MS)?, in_general: since(together, now, IN_GENERAL_MS)? })
}

/// Rows per second since the oldest sample that is no older than `ms`.
fn since(seen: &[Seen], now: Seen, ms: i64) -> Option<f64> {
    let then = seen.iter().find(|s| now.at.saturating_sub(s.at) <= ms)?;
    let took = now.at - then.at;
    (took >= LEAST_MS).then(|| now.rows_done.saturating_sub(then.rows_done) as f64 * 1_000.0 / took as f64)
}

impl Speed {
    /// How long so many rows take. None where nothing is left, or where it does not go on.
    pub(super) fn time_for(&self, rows: i64) -> Option<TimeLeft> {
        let (slow, fast) = (self.lately.min(self.in_general), self.lately.max(self.in_general));
        let ms = |rate: f64| (rows as f64 * 1_000.0 / rate) as i64; // `as` stops at the largest number
        (rows > 0 && slow > 0.0).then(|| TimeLeft { from_ms: ms(fast), to_ms: ms(slow) })
    }
}

/// `about 3 to 5 min left`, in the unit that fits the longer one.
impl fmt::Display for TimeLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIN: i64 = 60_000;
        // up to which length, rounded to what, in which unit
        let units =
            [(90_000, 10_000, 1_000, "s"), (90 * MIN, MIN, MIN, "min"), (36 * 60 * MIN, 60 * MIN, 60 * MIN, "h")];
        let day = (i64::MAX, 1_440 * MIN, 1_440 * MIN, "d");
        let (_, step, one, unit) = units.into_iter().find(|(most, ..)| self.to_ms <= *most).unwrap_or(day);
        let down = self.from_ms / step;
        let up = self.to_ms / step + i64::from(self.to_ms % step > 0);
        let (from, to) = (down * (step / one), up * (step / one));
        match from {
            0 => write!(f, "up to {to} {unit} left"),
            _ if from == to => write!(f, "about {to} {unit} left"),
            _ => write!(f, "about {from} to {to} {unit} left"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: i64 = 60_000;

    fn at(at: i64, rows_done: i64) -> Seen {
        Seen { at, rows_done }
    }

    /// A sample every ten seconds at one speed, up to `to`.
    fn steady(from: i64, to: i64, rows_before: i64, per_second: i64) -> Vec<Seen> {
        (from..to).step_by(10_000).map(|t| at(t, rows_before + (t - from) / 1_000 * per_second)).collect()
    }

    #[test]
    fn a_steady_speed_is_told_as_it_is() {
        let speed = speed(&steady(0, 20 * MIN, 0, 50), at(20 * MIN, 60_000)).unwrap();
        assert_eq!(speed, Speed { lately: 50.0, in_general: 50.0 });
        assert_eq!(speed.time_for(6_000), Some(TimeLeft { from_ms: 2 * MIN, to_ms: 2 * MIN }));
    }

    #[test]
    fn a_speed_that_changed_makes_a_range_between_the_last_minute_and_the_last_ten() {
        let mut seen = steady(0, 9 * MIN, 0, 100);
        seen.extend(steady(9 * MIN, 10 * MIN, 54_000, 10));
        let speed = speed(&seen, at(10 * MIN, 54_600)).unwrap();
        assert_eq!(speed, Speed { lately: 10.0, in_general: 91.0 });
        let left = speed.time_for(91_000).unwrap();
        assert_eq!(left, TimeLeft { from_ms: 1_000_000, to_ms: 9_100_000 });
    }

    #[test]
    fn of_fewer_samples_it_tells_what_there_is_and_of_too_few_nothing() {
        assert_eq!(speed(&[], at(MIN, 5_000)), None, "what was before the first sample is not known");
        assert_eq!(speed(&[at(0, 0)], at(9_999, 5_000)), None, "for too short a time");
        let one = speed(&[at(0, 0)], at(20_000, 5_000)).unwrap();
        assert_eq!(one, Speed { lately: 250.0, in_general: 250.0 });
    }

    #[test]
    fn what_was_before_a_gap_is_not_counted() {
        let mut seen = steady(0, 5 * MIN, 0, 50);
        seen.extend(steady(8 * MIN, 9 * MIN, 15_000, 50));
        let speed = speed(&seen, at(9 * MIN, 18_000)).unwrap();
        assert_eq!(speed, Speed { lately: 50.0, in_general: 50.0 }, "the pause was not slowness");
        assert_eq!(super::speed(&steady(0, 5 * MIN, 0, 50), at(8 * MIN, 15_000)), None, "nobody has led since");
    }

    #[test]
    fn nothing_is_told_until_a_clock_that_was_set_back_has_caught_up() {
        let seen = steady(0, 20 * MIN, 0, 50);
        assert_eq!(speed(&seen, at(10 * MIN, 60_050)), None);
        let newer = steady(19 * MIN, 20 * MIN, 60_000, 50);
        assert_eq!(speed(&[newer, vec![at(20 * MIN, 57_000)]].concat(), at(20 * MIN + 1, 63_000)), None);
        assert!(speed(&seen, at(20 * MIN + 1, 60_050)).is_some());
    }

    #[test]
    fn where_nothing_is_left_or_nothing_goes_on_no_time_is_told() {
        let going = Speed { lately: 50.0, in_general: 50.0 };
        assert_eq!((going.time_for(0), going.time_for(-7)), (None, None));
        for speed in [(0.0, 50.0), (50.0, 0.0), (0.0, 0.0)] {
            let speed = Speed { lately: speed.0, in_general: speed.1 };
            assert_eq!(speed.time_for(10), None, "{speed:?}");
        }
        let still = speed(&steady(0, MIN, 9, 0), at(MIN, 9)).unwrap();
        assert_eq!((still.lately, still.time_for(10)), (0.0, None));
    }

    #[test]
    fn the_largest_numbers_stop_at_the_largest() {
        let slow = speed(&[at(0, 0)], at(20_000, 1)).unwrap();
        let left = slow.time_for(i64::MAX).unwrap();
        assert_eq!(left, TimeLeft { from_ms: i64::MAX, to_ms: i64::MAX });
        assert_eq!(left.to_string(), "about 106751991167 to 106751991168 d left");
        assert_eq!(speed(&[at(i64::MIN, 0)], at(i64::MAX, i64::MAX)), None);
        assert!(speed(&[at(0, i64::MIN)], at(10_000, i64::MAX)).unwrap().lately.is_finite());
    }

    #[test]
    fn the_time_left_is_told_in_one_unit_that_fits() {
        let told = |from_ms, to_ms| TimeLeft { from_ms, to_ms }.to_string();
        assert_eq!(told(190_000, 250_000), "about 3 to 5 min left");
        assert_eq!(told(41_000, 52_000), "about 40 to 60 s left");
        assert_eq!(told(3_000, 5_000), "up to 10 s left");
        assert_eq!(told(50_000, 4 * MIN), "up to 4 min left");
        assert_eq!(told(3 * MIN, 3 * MIN), "about 3 min left");
        assert_eq!(told(60 * MIN, 90 * MIN), "about 60 to 90 min left");
        assert_eq!(told(60 * MIN, 90 * MIN + 1), "about 1 to 2 h left");
        assert_eq!(told(30 * 60 * MIN, 50 * 60 * MIN), "about 1 to 3 d left");
    }
}
