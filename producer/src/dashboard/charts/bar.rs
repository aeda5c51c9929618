//! Progress bars: how much of each table is done, and how much of that is quarantined.

use super::escaped;
use crate::dashboard::numbers::{count, percent};
use std::fmt::Write;

/// The least share of a bar, in percent, that something takes which is there at all.
const LEAST: f64 = 0.6;
/// The same of its mark, which has an edge.
const LEAST_MARK: f64 = 1.5;

/// How far one table is.
pub(crate) struct Bar<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Rows that were looked at, quarantined ones among them.
    pub(crate) done: i64,
    /// Rows of the plan.
    pub(crate) total: i64,
    /// Rows that are quarantined.
    pub(crate) quarantined: i64,
}

/// Bars below one another, their columns aligned. Without any it is empty.
pub(crate) fn bars(bars: &[Bar<'_>]) -> String {
    format!("<div class=\"bars\">{}</div>", bars.iter().map(bar).collect::<String>())
}

/// One bar with its name and numbers. It is full only when all is done, and never empty once something is.
pub(crate) fn bar(bar: &Bar<'_>) -> String {
    let total = bar.total.max(0);
    let done = bar.done.clamp(0, total);
    let quarantined = bar.quarantined.clamp(0, done);
    let (name, share) = (escaped(bar.name), escaped(&percent(done, total)));
    let rows = match total {
        0 => "no rows".to_owned(),
        _ => format!("{} of {} rows", count(done), count(total)),
    };
    let set_aside = match quarantined {
        0 => String::new(),
        n => format!("{} quarantined", count(n)),
    };
    let told = [rows.as_str(), share.as_str(), set_aside.as_str()];
    let told = told.into_iter().filter(|part| !["", "–"].contains(part)).collect::<Vec<_>>().join(", ");

    let width = width(done, total);
    let marked = width_of_mark(quarantined, total, width);
    let mut html = format!(
        "<div class=\"bar\"><span class=\"name\">{name}</span>\
         <svg role=\"progressbar\" aria-label=\"{name}\" aria-valuemin=\"0\" aria-valuenow=\"{done}\" \
         aria-valuemax=\"{}\" aria-valuetext=\"{told}\" width=\"100%\" height=\"10\">\
         <rect class=\"track\" width=\"100%\" height=\"100%\"/>",
        total.max(1)
    );
    // writing to a text cannot fail
    if width > 0.0 {
        _ = write!(html, "<rect class=\"done\" width=\"{width:.2}%\" height=\"100%\"/>");
    }
    if marked > 0.0 {
        let x = width - marked;
        _ = write!(html, "<rect class=\"quarantined\" x=\"{x:.2}%\" width=\"{marked:.2}%\" height=\"100%\"/>");
    }
    _ = write!(
        html,
        "</svg><span class=\"percent\">{share}</span><span class=\"rows\">{rows}</span>\
         <span class=\"quarantined\">{set_aside}</span></div>"
    );
    html
}

/// The part of the bar that is done, in percent.
fn width(done: i64, total: i64) -> f64 {
    match (done, total) {
        (0, _) => 0.0,
        (done, total) if done >= total => 100.0,
        _ => (done as f64 * 100.0 / total as f64).clamp(LEAST, 100.0 - LEAST),
    }
}

/// The part of the bar that says what is quarantined: wide enough to be seen, no wider than what is done.
fn width_of_mark(quarantined: i64, total: i64, width: f64) -> f64 {
    if quarantined == 0 { 0.0 } else { (quarantined as f64 * 100.0 / total as f64).max(LEAST_MARK).min(width) }
}

#[cfg(test)]
mod tests {
    use super::{super::valid::assert_valid, *};

    fn drawn(done: i64, total: i64, quarantined: i64) -> String {
        let html = bars(&[Bar { name: "app:messages", done, total, quarantined }]);
        assert_valid(&html);
        html
    }

    #[test]
    fn a_bar_tells_its_name_its_numbers_and_what_is_quarantined() {
        let html = drawn(12_345, 20_000, 2_000);
        let told = "aria-valuemin=\"0\" aria-valuenow=\"12345\" aria-valuemax=\"20000\" \
                    aria-valuetext=\"12,345 of 20,000 rows, 61 %, 2,000 quarantined\"";
        assert!(html.contains("role=\"progressbar\" aria-label=\"app:messages\"") && html.contains(told), "{html}");
        assert!(html.contains("<rect class=\"done\" width=\"61.73%\""), "{html}");
        let marked = "<rect class=\"quarantined\" x=\"51.73%\" width=\"10.00%\"";
        assert!(html.contains(marked), "the end of what is done: {html}");
    }

    #[test]
    fn a_bar_is_full_only_when_all_is_done_and_empty_only_while_nothing_is() {
        assert!(drawn(9_999_999, 10_000_000, 0).contains("class=\"done\" width=\"99.40%\""));
        assert!(drawn(1, 10_000_000, 0).contains("class=\"done\" width=\"0.60%\""));
        assert!(drawn(10, 10, 0).contains("class=\"done\" width=\"100.00%\""));
        assert!(!drawn(0, 10, 0).contains("class=\"done\""));
    }

    #[test]
    fn one_quarantined_row_of_millions_is_seen_and_none_is_not() {
        assert!(drawn(5_000_000, 10_000_000, 1).contains("x=\"48.50%\" width=\"1.50%\""));
        assert!(drawn(1, 10_000_000, 1).contains("x=\"0.00%\" width=\"0.60%\""), "no wider than what is done");
        assert!(!drawn(5, 10, 0).contains("rect class=\"quarantined\""));
    }

    #[test]
    fn a_table_without_rows_says_so_and_what_makes_no_sense_is_still_a_bar() {
        assert!(drawn(0, 0, 0).contains("aria-valuetext=\"no rows\""));
        for (done, total, quarantined) in [(12, 10, 99), (-5, 10, -5), (5, -10, 5), (i64::MAX, i64::MAX, i64::MAX)] {
            drawn(done, total, quarantined);
        }
    }

    #[test]
    fn a_name_with_markup_is_text() {
        let html = bar(&Bar { name: "<b onload=\"x\">&'", done: 0, total: 1, quarantined: 0 }).replace("onload", "");
        assert_valid(&html);
        assert!(!html.contains("<b"), "{html}");
    }
}
