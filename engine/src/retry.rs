//! Waiting between tries.

use std::time::Duration;

/// Pauses of 50 to 800 ms with full jitter, doubling, `times` of them.
pub(crate) fn pauses(times: usize) -> impl Iterator<Item = Duration> {
    use backon::BackoffBuilder;
    backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_millis(800))
        .with_jitter()
        .with_max_times(times)
        .build()
}

/// `min(first · 2^(n − 1), most)` with full jitter, at least a tenth of it, for the `n`th failure.
pub(crate) fn backoff_ms(first_ms: i64, most_ms: i64, failures: i32) -> i64 {
    let doubled = first_ms.saturating_mul(1 << failures.clamp(1, 30).saturating_sub(1)).min(most_ms);
    let mut random = [0u8; 4];
    let part =
        getrandom::fill(&mut random).map_or(1.0, |()| f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX));
    ((doubled as f64) * (0.1 + 0.9 * part)) as i64
}

#[cfg(test)]
mod tests {
    use super::backoff_ms;

    #[test]
    fn a_backoff_grows_and_stays_below_its_limit() {
        for failures in 1..100 {
            let ms = backoff_ms(15_000, 900_000, failures);
            assert!((1_500..=900_000).contains(&ms), "{failures} failures gave {ms} ms");
        }
        assert!(backoff_ms(15_000, 900_000, 20) >= 90_000);
    }
}
