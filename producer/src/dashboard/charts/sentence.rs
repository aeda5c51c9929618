//! What a chart of speed shows, in a sentence: for those who do not see it.

use super::series::{Part, Series};
use crate::dashboard::numbers::{duration, speed, utc};

/// `rows per second over the last 20 min: now 12,300, least 0, most 15,000; stood still for 2 min 10 s`.
pub(super) fn sentence(series: &Series<'_>, parts: &[Part]) -> String {
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return unknown(series).to_owned() };
    let rates = || parts.iter().map(|part| part.rate.unwrap_or(0.0));
    let (least, most) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
    let (when, last_of_it) = match series.is_live() {
        true => (format!("over the last {}", duration(rounded(last.to - first.from))), "now"),
        false => (format!("from {} to {}", utc(first.from), utc(last.to)), "in the end"),
    };
    let last = speed(last.rate.unwrap_or(0.0));
    let still = still(series, parts);
    format!("rows per second {when}: {last_of_it} {last}, least {}, most {}{still}", speed(least), speed(most))
}

/// Why no speed is known.
pub(super) fn unknown(series: &Series<'_>) -> &'static str {
    match series.samples {
        [] if series.is_live() => "no samples yet: the first come 10 s after re-encrypting begins",
        _ if series.is_live() => "no speed yet: it takes two samples, 10 s apart",
        _ if series.are_few(*series.time.end()) => {
            "no speed is known: of samples older than an hour one of each five minutes is kept"
        }
        _ => "no speed is known: it was over before there were two samples, 10 s apart",
    }
}

/// When it stood still. Where only a few samples were kept it is not known how much of the time it did.
pub(super) fn stood_still(series: &Series<'_>, part: &Part) -> String {
    let (from, to) = (utc(part.from), utc(part.to));
    match series.are_few(part.from) {
        false => format!("stood still from {from} to {to}"),
        true => format!("stood still for some time between {from} and {to}"),
    }
}

/// How long it stood still, as the end of a sentence.
fn still(series: &Series<'_>, parts: &[Part]) -> String {
    let stood: Vec<_> = parts.iter().filter(|part| part.rate.is_none()).collect();
    let length = duration(stood.iter().map(|part| part.to - part.from).sum::<i64>());
    match stood.iter().any(|part| series.are_few(part.from)) {
        _ if stood.is_empty() => String::new(),
        true => format!("; stood still for up to {length}"),
        false => format!("; stood still for {length}"),
    }
}

/// Over minutes the seconds tell nothing.
fn rounded(ms: i64) -> i64 {
    if ms < 300_000 { ms } else { (ms + 30_000) / 60_000 * 60_000 }
}

#[cfg(test)]
mod tests {
    use super::{super::Sample, *};

    const MIN: i64 = 60_000;
    const NOW: i64 = 1_795_546_800_000; // 2026-11-24 19:00:00

    fn said(samples: &[(i64, i64)], to: i64) -> String {
        let samples: Vec<_> =
            samples.iter().map(|(at, rows_done)| Sample { at: NOW + at, rows_done: *rows_done }).collect();
        let series = Series { samples: &samples, now: NOW, time: NOW - 20 * MIN..=NOW + to };
        sentence(&series, &series.parts(240))
    }

    #[test]
    fn it_tells_the_speed_now_its_bounds_and_for_how_long_it_stood_still() {
        let samples = [(-180_000, 0), (-170_000, 150_000), (-40_000, 150_000), (-20_000, 200_000), (-10_000, 323_000)];
        let said = said(&samples, 0);
        let told = "now 12,300, least 0, most 15,000; stood still for 2 min 10 s";
        assert_eq!(said, format!("rows per second over the last 2 min 50 s: {told}"));
    }

    #[test]
    fn one_that_stands_still_now_has_no_speed_now() {
        let said = said(&[(-50_000, 0), (-40_000, 100)], 0);
        assert_eq!(said, "rows per second over the last 50 s: now 0, least 0, most 10; stood still for 40 s");
    }

    #[test]
    fn of_one_that_is_over_it_tells_when_it_was() {
        let said = said(&[(-80_000, 0), (-70_000, 100)], -60_000);
        let when = "from 2026-11-24 18:58:40 UTC to 2026-11-24 18:58:50 UTC";
        assert_eq!(said, format!("rows per second {when}: in the end 10, least 10, most 10"));
    }

    #[test]
    fn where_no_speed_is_known_it_tells_why() {
        assert!(said(&[], 0).starts_with("no samples yet"));
        assert!(said(&[(-5_000, 1)], 0).starts_with("no speed yet"));
        let over = said(&[(-500_000, 1)], -500_000);
        assert!(over.starts_with("no speed is known: it was over before"), "{over}");
        let long_over = said(&[], -2 * 60 * MIN);
        assert!(long_over.starts_with("no speed is known: of samples older than an hour"), "{long_over}");
    }

    #[test]
    fn of_old_samples_it_tells_no_more_than_was_kept() {
        let samples = [(-300 * MIN, 0), (-295 * MIN, 3_000), (-275 * MIN, 3_000), (-270 * MIN, 6_000)];
        let samples = Vec::from(samples.map(|(at, rows_done)| Sample { at: NOW + at, rows_done }));
        let series = Series { samples: &samples, now: NOW, time: NOW - 300 * MIN..=NOW - 270 * MIN };
        let parts = series.parts(240);
        let said = sentence(&series, &parts);
        assert!(said.ends_with(": in the end 10, least 0, most 10; stood still for up to 20 min"), "{said}");
        let between = "between 2026-11-24 14:05:00 UTC and 2026-11-24 14:25:00 UTC";
        assert_eq!(stood_still(&series, &parts[1]), format!("stood still for some time {between}"));
    }
}
