//! Rows per second as a line of 120 × 28, without axes: for lists.

use super::{
    Series, at,
    curve::{Curve, curve},
    escaped,
    sentence::sentence,
};
use std::fmt::Write;

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 28.0;
/// Room for half of a stroke, and for the dot.
const EDGE: f64 = 3.0;

/// The line, which says in a sentence what is seen. It has its size also where nothing is known, so that no list jumps.
pub(crate) fn sparkline(series: &Series<'_>) -> String {
    let parts = series.parts(60);
    let (from, to) = series.bounds();
    let most = parts.iter().filter_map(|part| part.rate).fold(0.2, f64::max);
    let x = |ms: i64| EDGE + (ms - from) as f64 / (to - from) as f64 * (WIDTH - 2.0 * EDGE);
    let y = |rate: f64| HEIGHT - EDGE - rate / most * (HEIGHT - 2.0 * EDGE);
    let said = escaped(&sentence(series, &parts));
    let base = at(y(0.0));
    let mut svg = format!(
        "<svg class=\"sparkline\" role=\"img\" aria-label=\"{said}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\"><title>{said}</title>\
         <line class=\"base\" x1=\"{EDGE}\" x2=\"{}\" y1=\"{base}\" y2=\"{base}\"/>",
        WIDTH - EDGE
    );
    // writing to a text cannot fail
    for part in parts.iter().filter(|part| part.rate.is_none()) {
        let (x, width) = (at(x(part.from)), at(x(part.to) - x(part.from)));
        _ = write!(svg, "<rect class=\"quiet\" x=\"{x}\" width=\"{width}\" height=\"{base}\"/>");
    }
    let Curve { line, area } = curve(&parts, x, y, y(0.0));
    _ = write!(svg, "<path class=\"area\" d=\"{area}\"/><path class=\"line\" d=\"{line}\"/>");
    if let Some(last) = parts.last() {
        let (x, y) = (at(x(last.to)), at(y(last.rate.unwrap_or(0.0))));
        _ = write!(svg, "<circle class=\"last\" cx=\"{x}\" cy=\"{y}\" r=\"2.5\"/>");
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Sample,
            valid::{any_samples, assert_valid},
        },
        *,
    };

    const NOW: i64 = 1_795_546_800_000;

    fn drawn(samples: &[Sample]) -> String {
        sparkline(&Series { samples, now: NOW, time: NOW - 600_000..=NOW })
    }

    #[test]
    fn a_line_has_its_size_and_says_what_it_shows_also_where_nothing_is_known() {
        let known = drawn(&[(-20, 0), (-10, 50)].map(|(s, rows_done)| Sample { at: NOW + s * 1_000, rows_done }));
        let unknown = drawn(&[]);
        assert!(
            known.contains("aria-label=\"rows per second over the last 10 s: now 5.0, least 5.0, most 5.0\""),
            "{known}"
        );
        assert!(unknown.contains("aria-label=\"no samples yet"), "{unknown}");
        assert!(known.contains("<circle") && !unknown.contains("<circle"));
        for svg in [known, unknown] {
            assert!(svg.contains("width=\"120\" height=\"28\""), "{svg}");
        }
    }

    #[test]
    fn whatever_the_samples_are_the_line_is_valid_and_small() {
        let many = (0..6_000).map(|n| Sample { at: NOW - n * 100, rows_done: -n * (n % 7) }).collect();
        for samples in any_samples().into_iter().chain([many]) {
            let svg = drawn(&samples);
            assert_valid(&svg);
            assert!(svg.len() < 4_000, "{}", svg.len());
        }
    }
}
