//! Rows per second as a line of 120 × 28, without axes: for lists.

use super::Series;

/// The line.
pub(crate) fn sparkline(series: &Series<'_>) -> String {
    series.parts(60).iter().map(|part| format!("{part:?}")).collect()
}
