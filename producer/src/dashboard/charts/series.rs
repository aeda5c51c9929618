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
