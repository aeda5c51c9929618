//! How many rows a chunk has: as many as the database writes in a quarter of a second.
//!
//! Weighted average of rows per second with weight 0.5; growth at most twofold a step; when a chunk
//! took more than twice the target, the size falls in proportion at once.

use reseal_config::ChunkRows;
use std::time::Duration;

const TARGET: Duration = Duration::from_millis(250);
const START: u32 = 100;
const LEAST: u32 = 10;
const MOST: u32 = 1_000;

/// The size of the next chunk of one table.
#[derive(Clone, Debug)]
pub(crate) struct ChunkSize {
    rows: u32,
    fixed: bool,
    rate: Option<f64>,
}

impl ChunkSize {
    /// A number stays; `auto` starts at 100, or from the rate that others learned.
    pub(crate) fn new(configured: &ChunkRows, learned: Option<f64>) -> Self {
        match configured {
            ChunkRows::Fixed(rows) => Self { rows: *rows, fixed: true, rate: None },
            ChunkRows::Auto => Self { rows: learned.map_or(START, aim), fixed: false, rate: learned },
        }
    }

    /// Rows of the next chunk.
    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    /// Rows per second, once it is known.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Learns from a chunk that the database took `took` to write.
    pub(crate) fn learn(&mut self, rows: usize, took: Duration) {
        if self.fixed || rows == 0 {
            return;
        }
        let seen = rows as f64 / took.as_secs_f64().max(1e-6);
        let rate = self.rate.map_or(seen, |rate| 0.5 * rate + 0.5 * seen);
        self.rate = Some(rate);
        self.rows = if took > 2 * TARGET {
            ((f64::from(self.rows) * TARGET.as_secs_f64() / took.as_secs_f64()) as u32).clamp(LEAST, MOST)
        } else {
            aim(rate).min(self.rows.saturating_mul(2))
        };
    }

    /// Halves it, after a statement that was too large or too slow.
    pub(crate) fn halve(&mut self) {
        self.rows = (self.rows / 2).max(LEAST);
    }
}

fn aim(rate: f64) -> u32 {
    ((rate * TARGET.as_secs_f64()) as u32).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(rows: u32, rows_per_second: f64) -> Duration {
        Duration::from_secs_f64(f64::from(rows) / rows_per_second)
    }

    #[test]
    fn it_grows_at_most_twofold_a_step_and_settles_at_the_target() {
        let mut size = ChunkSize::new(&ChunkRows::Auto, None);
        let mut last = size.rows();
        for _ in 0..5 {
            size.learn(size.rows() as usize, took(size.rows(), 2_000.0));
            assert!(size.rows() <= 2 * last);
            last = size.rows();
        }
        assert_eq!(size.rows(), 500);
    }

    #[test]
    fn a_chunk_that_took_far_too_long_shrinks_the_next_one_at_once() {
        let mut size = ChunkSize::new(&ChunkRows::Auto, Some(4_000.0));
        assert_eq!(size.rows(), 1_000);
        size.learn(1_000, Duration::from_secs(1));
        assert_eq!(size.rows(), 250);
    }

    #[test]
    fn it_never_leaves_its_bounds_and_a_number_never_changes() {
        let mut size = ChunkSize::new(&ChunkRows::Auto, Some(1.0));
        assert_eq!(size.rows(), LEAST);
        for _ in 0..20 {
            size.learn(size.rows() as usize, Duration::from_nanos(1));
        }
        assert_eq!(size.rows(), MOST);
        let mut fixed = ChunkSize::new(&ChunkRows::Fixed(77), Some(1e9));
        fixed.learn(77, Duration::from_secs(60));
        assert_eq!(fixed.rows(), 77);
    }
}
