//! Speeds as two paths: a line, and the area below it.

use super::{at, series::Part};
use std::fmt::Write;

/// What stands in the `d` of two paths; both are broken where it stood still.
#[derive(Default)]
pub(super) struct Curve {
    pub(super) line: String,
    pub(super) area: String,
}

/// The curve of `parts`, placed across by `x` and down by `y`, above a base.
pub(super) fn curve(parts: &[Part], x: impl Fn(i64) -> f64, y: impl Fn(f64) -> f64, base: f64) -> Curve {
    let mut curve = Curve::default();
    for run in parts.chunk_by(|a, b| a.rate.is_some() && b.rate.is_some() && a.to == b.from) {
        let rated = run.iter().filter_map(|part| Some((part.from, part.to, part.rate?)));
        let (mut run, mut begin, mut end) = (String::new(), None, 0.0);
        for (from, to, rate) in rated {
            let height = at(y(rate));
            if begin.is_none() {
                begin = Some(x(from));
                run = format!("{} {height}", at(x(from)));
            }
            end = x(to);
            _ = write!(run, "L{} {height}", at(end)); // writing to a text cannot fail
        }
        if let Some(begin) = begin {
            _ = write!(curve.line, "M{run}");
            _ = write!(curve.area, "M{} {}L{run}L{} {}z", at(begin), at(base), at(end), at(base));
        }
    }
    curve
}
