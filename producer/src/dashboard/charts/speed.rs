//! Rows per second over time, with axes.

use super::Series;

/// The chart.
pub(crate) fn speed(series: &Series<'_>) -> String {
    series.parts(360).iter().map(|part| format!("{part:?}")).collect()
}
