//! Rows per second over time, with axes. Text keeps its size however narrow the chart is: the plot alone is stretched, and what
//! stands beside it is placed by percentages across and by pixels down.

use super::{
    Series, at,
    axes::{short, speeds, times},
    curve::{Curve, curve},
    escaped,
    series::Part,
};
use crate::dashboard::numbers::{duration, speed as told, utc};
use std::fmt::Write;

/// The plot, in pixels from the top of the chart to its two ends; below it stand the times.
const TOP: f64 = 12.0;
const PLOT: f64 = 140.0;
const BOTTOM: f64 = TOP + PLOT;
/// The plot's own width, stretched to what there is.
const WIDTH: f64 = 1_000.0;
/// A band narrower than this part of the width has no room for words.
const WORDS: f64 = 0.24;

/// What a chart says in one sentence, over `parts` of `series`.
pub(super) fn sentence(series: &Series<'_>, parts: &[Part]) -> String {
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return NOTHING.to_owned() };
    let rates = || parts.iter().map(|part| part.rate.unwrap_or(0.0));
    let (least, most) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
    let when = match series.is_live() {
        true => format!("over the last {}", duration(rounded(last.to - first.from))),
        false => format!("from {} to {}", utc(first.from), utc(last.to)),
    };
    let (now, last) = (if series.is_live() { "now" } else { "at last" }, told(last.rate.unwrap_or(0.0)));
    let still = still(series, parts);
    format!("rows per second {when}: {now} {last}, least {}, most {}{still}", told(least), told(most))
}

/// How long it stood still, as an end of the sentence.
fn still(series: &Series<'_>, parts: &[Part]) -> String {
    let stood: Vec<_> = parts.iter().filter(|part| part.rate.is_none()).collect();
    let ms: i64 = stood.iter().map(|part| part.to - part.from).sum();
    match stood.iter().any(|part| series.are_few(part.from)) {
        _ if stood.is_empty() => String::new(),
        true => format!("; stood still for up to {}", duration(ms)),
        false => format!("; stood still for {}", duration(ms)),
    }
}

const NOTHING: &str = "no samples yet: the first come 10 s after re-encrypting begins";

/// Over minutes the seconds tell nothing.
fn rounded(ms: i64) -> i64 {
    if ms < 300_000 { ms } else { (ms + 30_000) / 60_000 * 60_000 }
}

/// The chart, which says in a sentence what is seen. Where samples are missing it stood still, and a band says from when until
/// when. One on a page, because the band's pattern has a name.
pub(crate) fn speed(series: &Series<'_>) -> String {
    let parts = series.parts(360);
    let Some(last) = parts.last() else {
        let known =
            if series.samples.is_empty() { NOTHING } else { "one sample so far: a speed takes two, 10 s apart" };
        return format!("<figure class=\"chart speed\"><p class=\"nothing\">{known}</p></figure>");
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
    for part in parts.iter().filter(|part| part.rate.is_none()) {
        _ = write!(svg, "{}", band(series, part, share(part.from), share(part.to)));
    }
    for (y, rate) in std::iter::once(0.0).chain(ticks).map(|rate| (at(down(rate)), rate)) {
        _ = write!(
            svg,
            "<line class=\"{}\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/><text class=\"y\" x=\"-8\" y=\"{y}\" dy=\"4\">{}</text>",
            if rate == 0.0 { "base" } else { "grid" },
            short(rate)
        );
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
     patternTransform=\"rotate(45)\"><rect class=\"hatch\" width=\"1.5\" height=\"6\"/></pattern></defs>";

/// A time in which it stood still, from and to these shares of the width.
fn band(series: &Series<'_>, part: &Part, from: f64, to: f64) -> String {
    let (x, width) = (at(from * 100.0), at((to - from) * 100.0));
    let when = match series.are_few(part.from) {
        false => format!("stood still from {} to {}", utc(part.from), utc(part.to)),
        true => format!("stood still for some time between {} and {}", utc(part.from), utc(part.to)),
    };
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
