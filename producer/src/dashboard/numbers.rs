//! Numbers, sizes and times as all pages write them. What is in progress is never said to be over. Templates lend what they
//! show, so most of these take a number or a reference to one.

use reseal_entities::ledger::length;
use std::{
    borrow::Borrow,
    time::{Duration, UNIX_EPOCH},
};

/// The last millisecond of the year 9999, after which there is no calendar to write it in.
pub(crate) const END_OF_TIME_MS: i64 = 253_402_300_799_999;

/// `12345` as `12,345`.
pub(crate) fn count(number: impl Borrow<i64>) -> String {
    let number = *number.borrow();
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "−".to_owned() } else { String::new() };
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 batch`, `2,000 batches`.
pub(crate) fn counted(number: i64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A speed without its unit: `1,235`, and to the tenth below ten.
pub(crate) fn speed(rows_per_second: f64) -> String {
    // `as` makes a number of whatever it gets; what is slower than a tenth is not called none
    match rows_per_second.max(0.0) {
        0.0 => "0".to_owned(),
        slow if slow < 0.1 => "under 0.1".to_owned(),
        slow if slow < 9.95 => format!("{slow:.1}"),
        fast => count(fast.round() as i64),
    }
}

/// `1,235 rows/s`.
pub(crate) fn rate(rows_per_second: impl Borrow<f64>) -> String {
    format!("{} rows/s", speed(*rows_per_second.borrow()))
}

/// How long something took or takes: `340 ms`, `1.3 s`, `2 min 10 s`, `7 d 1 h`.
pub(crate) fn duration(ms: impl Borrow<i64>) -> String {
    let ms = *ms.borrow();
    match ms {
        ..=0 => "0 s".to_owned(),
        1..1_000 => format!("{ms} ms"),
        1_000..10_000 if ms % 1_000 != 0 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => length(ms),
    }
}

/// Between two lengths of time.
pub(crate) fn range(from_ms: impl Borrow<i64>, to_ms: impl Borrow<i64>) -> String {
    let [from, to] = [*from_ms.borrow(), *to_ms.borrow()].map(length);
    if from == to { from } else { format!("{from} to {to}") }
}

/// A limit as the value of a field; none is empty.
pub(crate) fn field<T: ToString>(limit: &Option<T>) -> String {
    limit.as_ref().map(T::to_string).unwrap_or_default()
}

/// A text in a table: what is longer than 40 characters is cut, and its page has the whole of it.
pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

/// How long ago something was, rounded down: `just now`, `14 s ago`.
pub(crate) fn ago(ms: impl Borrow<i64>) -> String {
    let ms = *ms.borrow();
    if ms < 1_000 { "just now".to_owned() } else { format!("{} ago", length(ms - ms % 1_000)) }
}

/// How much of something is done, rounded down: never `100 %` while something is left, never `0 %` once something is
/// done. Of nothing it is a dash.
pub(crate) fn percent(done: impl Borrow<i64>, total: impl Borrow<i64>) -> String {
    match ((*done.borrow()).max(0), (*total.borrow()).max(0)) {
        (_, 0) => "–".to_owned(),
        (0, _) => "0 %".to_owned(),
        (done, total) if done >= total => "100 %".to_owned(),
        (done, total) => match i128::from(done) * 100 / i128::from(total) {
            0 => "<1 %".to_owned(),
            percent => format!("{percent} %"),
        },
    }
}

/// Unix milliseconds as `2026-11-24 19:02:11 UTC`.
pub(crate) fn utc(ms: impl Borrow<i64>) -> String {
    let ms = *ms.borrow();
    let since = Duration::from_millis(ms.clamp(0, END_OF_TIME_MS).unsigned_abs());
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// `1.5 MiB`.
pub(crate) fn bytes(bytes: impl Borrow<i64>) -> String {
    let bytes = *bytes.borrow();
    let (mut size, mut unit) = (bytes.max(0) as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        // what would be rounded to 1024.0 is one of the next
        if size < 1_023.95 {
            break;
        }
        (size, unit) = (size / 1_024.0, next);
    }
    if unit == "B" { format!("{size:.0} B") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let told = [0, 999, 1_000, 12_345, -1_234_567, i64::MIN].map(count);
        assert_eq!(told, ["0", "999", "1,000", "12,345", "−1,234,567", "−9,223,372,036,854,775,808"]);
        assert_eq!((counted(1, "batch", "batches"), counted(2_000, "batch", "batches")), {
            ("1 batch".to_owned(), "2,000 batches".to_owned())
        });
    }

    #[test]
    fn a_speed_is_rounded_and_what_crawls_does_not_stand() {
        let told = [1_234.5, 9.96, 9.94, 0.5, 0.04, 0.0, -3.0].map(rate);
        let expected = ["1,235", "10", "9.9", "0.5", "under 0.1", "0", "0"].map(|n| format!("{n} rows/s"));
        assert_eq!(told, expected);
        assert_eq!([f64::NAN, f64::NEG_INFINITY].map(speed), ["0", "0"]);
        assert_eq!(speed(f64::INFINITY), count(i64::MAX));
    }

    #[test]
    fn a_percentage_is_100_only_when_all_is_done_and_0_only_while_nothing_is() {
        assert_eq!(percent(0, 10), "0 %");
        assert_eq!(percent(1, 10_000_000), "<1 %");
        assert_eq!(percent(1, 100), "1 %");
        assert_eq!(percent(9_999_999, 10_000_000), "99 %");
        assert_eq!(percent(i64::MAX - 1, i64::MAX), "99 %");
        assert_eq!(percent(10, 10), "100 %");
        assert_eq!(percent(12, 10), "100 %", "rows that were planned twice");
        assert_eq!((percent(0, 0), percent(-1, 10)), ("–".to_owned(), "0 %".to_owned()));
    }

    #[test]
    fn a_length_of_time_has_its_two_largest_units() {
        let told = [-5, 0, 340, 1_000, 1_390, 9_999, 10_001, 130_000, 3_600_000, 609_000_000].map(duration);
        let expected = ["0 s", "0 s", "340 ms", "1 s", "1.3 s", "9.9 s", "11 s", "2 min 10 s", "1 h", "7 d 1 h"];
        assert_eq!(told, expected);
        assert_eq!(duration(i64::MAX), "106751991167 d 7 h");
    }

    #[test]
    fn what_was_is_as_long_ago_as_the_last_full_second() {
        assert_eq!([-1, 999, 14_999, 130_000].map(ago), ["just now", "just now", "14 s ago", "2 min 10 s ago"]);
    }

    #[test]
    fn a_time_is_utc_and_says_so() {
        assert_eq!(utc(1_700_000_000_999), "2023-11-14 22:13:20 UTC");
        assert_eq!((utc(i64::MIN), utc(i64::MAX)), {
            ("1970-01-01 00:00:00 UTC".to_owned(), "9999-12-31 23:59:59 UTC".to_owned())
        });
    }

    #[test]
    fn bytes_are_told_in_the_unit_that_fits() {
        let told = [-1, 0, 1_023, 1_024, 1_572_864, 1_048_575, i64::MAX].map(bytes);
        assert_eq!(told, ["0 B", "0 B", "1023 B", "1.0 KiB", "1.5 MiB", "1.0 MiB", "8192.0 PiB"]);
    }
}
