//! Samples as what a chart draws: stretches of one speed, and stretches in which it stood still.

use crate::dashboard::numbers::END_OF_TIME_MS;
use reseal_entities::ledger::samples::{EVERY_MS, KEPT_EVERY_MS, KEPT_MS};
use std::ops::RangeInclusive;

/// How far a rotation was at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sample {
    /// Unix milliseconds.
    pub(crate) at: i64,
    /// Rows that were looked at by then.
    pub(crate) rows_done: i64,
}

/// What a chart of speed shows. Samples may stand in any order and reach beyond its bounds: one from before them
/// makes the first speed known.
pub(crate) struct Series<'a> {
    /// The samples.
    pub(crate) samples: &'a [Sample],
    /// Unix milliseconds, database time.
    pub(crate) now: i64,
    /// From when until when: for a rotation that re-encrypts until now, for one that has done so until it had.
    pub(crate) time: RangeInclusive<i64>,
}

/// A stretch of time within the bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) from: i64,
    pub(super) to: i64,
    /// Rows per second; none where it stood still.
    pub(super) rate: Option<f64>,
}

impl Series<'_> {
    /// The bounds, never empty and always within the calendar.
    pub(super) fn bounds(&self) -> (i64, i64) {
        let from = (*self.time.start()).clamp(0, END_OF_TIME_MS - 1);
        (from, (*self.time.end()).clamp(from + 1, END_OF_TIME_MS))
    }

    /// Whether the bounds end with this moment.
    pub(super) fn is_live(&self) -> bool {
        *self.time.end() >= self.now
    }

    /// What is known, oldest first: at most about so many speeds, so that the chart of a week is no larger than one
    /// of an hour. Where a clock was set back rows seem to become fewer: there the speed is none.
    pub(super) fn parts(&self, most: i64) -> Vec<Part> {
        let (from, to) = self.bounds();
        let mut samples = self.samples.to_vec();
        samples.sort_unstable();
        samples.reverse(); // of one time the sample that is furthest stays
        samples.dedup_by_key(|sample| sample.at);
        samples.reverse();

        let between = samples.windows(2).map(|two| self.between(two[0], two[1]));
        let until_now = samples.last().map(|last| Part { from: last.at, to: to.min(self.now), rate: None });
        let until_now = until_now.filter(|part| part.to > part.from && self.is_too_long(part.from, part.to));
        let within = between.chain(until_now).map(|p| Part { from: p.from.max(from), to: p.to.min(to), ..p });
        let mut joined: Vec<Part> = Vec::new();
        for part in within.filter(|part| part.from < part.to) {
            match joined.last_mut() {
                Some(last) if last.to - last.from < (to - from) / most.max(1) && last.joins(part) => last.join(part),
                _ => joined.push(part),
            }
        }
        joined
    }

    fn between(&self, a: Sample, b: Sample) -> Part {
        let rows = b.rows_done.saturating_sub(a.rows_done).max(0) as f64;
        let ms = b.at.saturating_sub(a.at);
        let rate = (!self.is_too_long(a.at, b.at)).then(|| rows * 1_000.0 / ms as f64);
        Part { from: a.at, to: b.at, rate }
    }

    /// Whether more than one sample is missing. Of old ones only some were kept.
    fn is_too_long(&self, from: i64, to: i64) -> bool {
        let usual = if self.are_few(from) { KEPT_EVERY_MS } else { EVERY_MS };
        to.saturating_sub(from) > usual * 5 / 2
    }

    /// Whether only one sample of each five minutes was kept of then.
    pub(super) fn are_few(&self, at: i64) -> bool {
        at < self.now.saturating_sub(KEPT_MS)
    }
}

impl Part {
    fn joins(&self, next: Self) -> bool {
        self.to == next.from && self.rate.is_some() == next.rate.is_some()
    }

    fn join(&mut self, next: Self) {
        let (length, further) = ((self.to - self.from) as f64, (next.to - next.from) as f64);
        if let (Some(rate), Some(then)) = (self.rate, next.rate) {
            self.rate = Some((rate * length + then * further) / (length + further));
        }
        self.to = next.to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_546_800_000;

    /// The parts of samples at seconds from now, over the last so many seconds: from, to, rows per second.
    fn parts(samples: &[(i64, i64)], last: i64) -> Vec<(i64, i64, Option<f64>)> {
        let samples: Vec<_> =
            samples.iter().map(|(at, rows_done)| Sample { at: NOW + at * 1_000, rows_done: *rows_done }).collect();
        let series = Series { samples: &samples, now: NOW, time: NOW - last * 1_000..=NOW };
        let seconds = |at: i64| (at - NOW) / 1_000;
        series.parts(240).into_iter().map(|part| (seconds(part.from), seconds(part.to), part.rate)).collect()
    }

    #[test]
    fn neighbours_make_a_speed_and_one_missing_sample_is_no_stand_still() {
        let told = parts(&[(-40, 0), (-30, 100), (-10, 500)], 60);
        assert_eq!(told, [(-40, -30, Some(10.0)), (-30, -10, Some(20.0))]);
    }

    #[test]
    fn more_than_25_seconds_without_a_sample_are_a_stand_still_also_until_now() {
        let told = parts(&[(-100, 0), (-90, 100), (-60, 100), (-50, 200)], 120);
        let expected = [(-100, -90, Some(10.0)), (-90, -60, None), (-60, -50, Some(10.0)), (-50, 0, None)];
        assert_eq!(told, expected);
        assert_eq!(parts(&[(-35, 0), (-25, 100)], 60), [(-35, -25, Some(10.0))], "the next may be on its way");
    }

    #[test]
    fn of_what_is_older_than_an_hour_five_minutes_lie_between_samples() {
        let told = parts(&[(-7_200, 0), (-6_900, 3_000), (-3_900, 3_000), (-3_600, 6_000), (-3_590, 6_100)], 7_200);
        let ten = Some(10.0);
        let expected = [(-7_200, -6_900, ten), (-6_900, -3_900, None), (-3_900, -3_600, ten), (-3_600, -3_590, ten)];
        assert_eq!(told[..4], expected);
    }

    #[test]
    fn what_reaches_beyond_the_bounds_is_cut_and_a_sample_from_before_makes_the_first_speed_known() {
        assert_eq!(parts(&[(-25, 0), (-15, 100), (-5, 200)], 20), [(-20, -15, Some(10.0)), (-15, -5, Some(10.0))]);
        assert_eq!(parts(&[(-5, 0), (15, 100)], 20), [(-5, 0, Some(5.0))], "a clock that was ahead");
        assert_eq!(parts(&[(-900, 0), (-890, 5)], 20), [(-20, 0, None)]);
    }

    #[test]
    fn order_and_repetition_change_nothing_and_where_rows_become_fewer_the_speed_is_none() {
        let told = parts(&[(-10, 60), (-30, 0), (-20, 100), (0, 70), (-20, 90), (-20, 100)], 60);
        assert_eq!(told, [(-30, -20, Some(10.0)), (-20, -10, Some(0.0)), (-10, 0, Some(1.0))]);
    }

    #[test]
    fn speeds_that_are_joined_keep_the_rows_that_they_stand_for() {
        let samples: Vec<_> =
            (0..=1_000).map(|n| Sample { at: NOW - (1_000 - n) * 10_000, rows_done: n * n }).collect();
        let series = Series { samples: &samples, now: NOW, time: NOW - 10_000_000..=NOW };
        let parts = series.parts(50);
        assert!((45..=51).contains(&parts.len()), "{}", parts.len());
        let rows: f64 = parts.iter().map(|part| part.rate.unwrap() * (part.to - part.from) as f64 / 1_000.0).sum();
        assert!((rows - 1_000_000.0).abs() < 0.01, "{rows}");
    }
}
