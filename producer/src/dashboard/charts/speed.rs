//! Rows per second over time, with axes. Text keeps its size however narrow the chart is: the plot alone is stretched, and what
//! stands beside it is placed by percentages across and by pixels down.

use super::{
    Series, at,
    axes::{short, speeds, times},
    curve::{Curve, curve},
    escaped,
    sentence::{sentence, stood_still, unknown},
    series::Part,
};
use crate::dashboard::numbers::speed as told;
use std::fmt::Write;

/// The plot, in pixels from the top of the chart to its two ends; below it stand the times.
const TOP: f64 = 12.0;
const PLOT: f64 = 140.0;
const BOTTOM: f64 = TOP + PLOT;
/// The plot's own width, stretched to what there is.
const WIDTH: f64 = 1_000.0;
/// So many speeds can be told apart by the eye.
const SPEEDS: i64 = 240;
/// A band narrower than this part of the width has no room for words.
const WORDS: f64 = 0.3;

/// The chart, which says in a sentence what is seen. Where samples are missing it stood still, and a band says from when until
/// when. One on a page, because the band's pattern has a name.
pub(crate) fn speed(series: &Series<'_>) -> String {
    let parts = series.parts(SPEEDS);
    let Some(last) = parts.last() else {
        return format!("<figure class=\"chart speed\"><p class=\"nothing\">{}</p></figure>", unknown(series));
    };
    let (from, to) = series.bounds();
    let ticks = speeds(parts.iter().filter_map(|part| part.rate).fold(0.0, f64::max));
    let top = ticks.last().copied().unwrap_or(1.0);
    let share = |ms: i64| (ms - from) as f64 / (to - from) as f64;
    let down = |rate: f64| BOTTOM - rate / top * PLOT;

    let said = escaped(&sentence(series, &parts));
    let mut svg = format!(
        "<figure class=\"chart speed\"><figcaption>rows per second</figcaption>\
         <svg role=\"img\" aria-label=\"{said}\" width=\"100%\" height=\"{}\"><title>{said}</title>{HATCH}",
        BOTTOM + 24.0
    );
    // writing to a text cannot fail
    for (y, rate) in std::iter::once(0.0).chain(ticks).map(|rate| (at(down(rate)), rate)) {
        _ = write!(
            svg,
            "<line class=\"{}\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/><text class=\"y\" x=\"-8\" y=\"{y}\" dy=\"4\">{}</text>",
            if rate == 0.0 { "base" } else { "grid" },
            short(rate)
        );
    }
    for part in parts.iter().filter(|part| part.rate.is_none()) {
        _ = write!(svg, "{}", band(series, part, share(part.from), share(part.to)));
    }
    for (time, text) in times(from, to) {
        let x = at(share(time) * 100.0);
        _ = write!(
            svg,
            "<line class=\"base\" x1=\"{x}%\" x2=\"{x}%\" y1=\"{BOTTOM}\" y2=\"{}\"/>\
             <text class=\"x\" x=\"{x}%\" y=\"{}\">{text}</text>",
            BOTTOM + 4.0,
            BOTTOM + 18.0
        );
    }
    let Curve { line, area } = curve(&parts, |ms| share(ms) * WIDTH, |rate| down(rate) - TOP, PLOT);
    let (x, y) = (at(share(last.to) * 100.0), at(down(last.rate.unwrap_or(0.0))));
    _ = write!(
        svg,
        "<svg class=\"plot\" y=\"{TOP}\" width=\"100%\" height=\"{PLOT}\" viewBox=\"0 0 {WIDTH} {PLOT}\" \
         preserveAspectRatio=\"none\"><path class=\"area\" d=\"{area}\"/>\
         <path class=\"line\" vector-effect=\"non-scaling-stroke\" d=\"{line}\"/></svg>\
         <circle class=\"last\" cx=\"{x}%\" cy=\"{y}\" r=\"3.5\"/>\
         <text class=\"last\" x=\"{x}%\" y=\"{y}\" dx=\"8\" dy=\"4\">{}</text>\
         <text class=\"unit\" x=\"100%\" y=\"{}\" dx=\"26\">UTC</text></svg></figure>",
        number(last.rate.unwrap_or(0.0)),
        BOTTOM + 18.0
    );
    svg
}

/// The last speed: in full as long as there is room.
fn number(rate: f64) -> String {
    if rate < 99_999.5 { told(rate) } else { short(rate) }
}

const HATCH: &str = "<defs><pattern id=\"still\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
     patternTransform=\"rotate(45)\"><rect class=\"hatch\" width=\"1\" height=\"6\"/></pattern></defs>";

/// A time in which it stood still, from and to these shares of the width.
fn band(series: &Series<'_>, part: &Part, from: f64, to: f64) -> String {
    let (x, width) = (at(from * 100.0), at((to - from) * 100.0));
    let when = stood_still(series, part);
    let words = match to - from > WORDS {
        true => format!(
            "<text class=\"still\" x=\"{}%\" y=\"{}\">stood still</text>",
            at((from + to) * 50.0),
            TOP + PLOT / 2.0
        ),
        false => String::new(),
    };
    format!(
        "<g class=\"still\"><title>{when}</title><rect class=\"quiet\" x=\"{x}%\" y=\"{TOP}\" width=\"{width}%\" height=\"{PLOT}\"/>\
         <rect x=\"{x}%\" y=\"{TOP}\" width=\"{width}%\" height=\"{PLOT}\" fill=\"url(#still)\"/>{words}</g>"
    )
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

    const MIN: i64 = 60_000;
    const NOW: i64 = 1_795_546_800_000; // 2026-11-24 19:00:00

    /// 300 rows/s from 18:50 on, with nothing between 18:54 and 18:58.
    fn samples() -> Vec<Sample> {
        let at = |t: i64| Sample { at: NOW - 10 * MIN + t, rows_done: t * 3 / 10 };
        (0..=10 * MIN).step_by(10_000).filter(|t| !(4 * MIN + 1..8 * MIN).contains(t)).map(at).collect()
    }

    fn drawn(samples: &[Sample], from: i64) -> String {
        let svg = speed(&Series { samples, now: NOW, time: NOW - from..=NOW });
        assert_valid(&svg);
        svg
    }

    #[test]
    fn the_last_speed_stands_beside_its_dot_and_round_numbers_at_the_axes() {
        let svg = drawn(&samples(), 10 * MIN);
        assert!(svg.contains("<text class=\"last\" x=\"100%\" y=\"12\" dx=\"8\" dy=\"4\">300</text>"), "{svg}");
        for label in [">0<", ">100<", ">200<", ">300<", ">18:50<", ">18:54<", ">19:00<", ">UTC<", ">rows per second<"] {
            assert!(svg.contains(label), "{label} in {svg}");
        }
    }

    #[test]
    fn a_stand_still_is_a_band_that_says_from_when_until_when_and_breaks_the_line() {
        let svg = drawn(&samples(), 10 * MIN);
        let said =
            "<g class=\"still\"><title>stood still from 2026-11-24 18:54:00 UTC to 2026-11-24 18:58:00 UTC</title>";
        assert!(svg.contains(said), "{svg}");
        assert!(svg.contains("x=\"40%\" y=\"12\" width=\"40%\""), "{svg}");
        assert!(svg.contains(">stood still</text>"), "{svg}");
        let line = svg.split("class=\"line\"").nth(1).and_then(|rest| rest.split("d=\"").nth(1)).unwrap();
        assert_eq!(line.split('"').next().unwrap().matches('M').count(), 2, "{svg}");
        let narrow = drawn(&samples(), 60 * MIN);
        assert!(narrow.contains(said) && !narrow.contains(">stood still</text>"), "no words where they have no room");
    }

    #[test]
    fn where_nothing_is_known_a_sentence_says_what_comes() {
        assert!(drawn(&[], MIN).contains(">no samples yet: the first come 10 s after re-encrypting begins<"));
        let one = Sample { at: NOW - 10_000, rows_done: 7 };
        assert!(drawn(&[one], MIN).contains(">no speed yet: it takes two samples, 10 s apart<"));
    }

    #[test]
    fn the_chart_of_a_week_is_as_small_as_that_of_an_hour() {
        let week: Vec<Sample> = (0..60_480).map(|n| Sample { at: NOW - n * 10_000, rows_done: -n * (n % 7) }).collect();
        assert!(drawn(&week, 7 * 24 * 60 * MIN).len() < 10_000);
    }

    #[test]
    fn whatever_the_samples_are_the_svg_is_valid() {
        for samples in any_samples() {
            for (from, to) in [(i64::MIN, i64::MAX), (NOW - MIN, NOW), (NOW, NOW - MIN), (0, 0), (i64::MAX, i64::MAX)] {
                for now in [NOW, 0, i64::MIN, i64::MAX] {
                    assert_valid(&speed(&Series { samples: &samples, now, time: from..=to }));
                }
            }
        }
    }
}
