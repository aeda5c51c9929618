//! Numbers and times for people.

use std::time::{Duration, UNIX_EPOCH};

/// Unix milliseconds as RFC 3339, UTC.
pub(crate) fn time(ms: i64) -> String {
    // Beyond the year 9999 there is no RFC 3339.
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0).min(253_402_300_799_999));
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
}

/// `1234567` as `1 234 567`, with narrow no-break spaces.
pub(crate) fn grouped(number: impl TryInto<i64>) -> String {
    let number: i64 = number.try_into().unwrap_or(i64::MAX);
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`, `2 entries`, `2 batches`.
pub(crate) fn count(number: impl TryInto<i64>, what: &str) -> String {
    let number: i64 = number.try_into().unwrap_or(i64::MAX);
    let words = match what.strip_suffix("ry") {
        _ if number == 1 => what.to_owned(),
        Some(stem) => format!("{stem}ries"),
        None if what.ends_with("ch") => format!("{what}es"),
        None => format!("{what}s"),
    };
    format!("{} {words}", grouped(number))
}

/// `8 123 rows/s`; to the tenth below ten.
pub(crate) fn per_second(rows: f64) -> String {
    if rows < 10.0 { format!("{rows:.1} rows/s") } else { format!("{} rows/s", grouped(rows as i64)) }
}

/// A length of time, to the second; to the tenth below ten seconds.
pub(crate) fn seconds(length: Duration) -> String {
    if length < Duration::from_secs(10) {
        format!("{:.1} s", length.as_secs_f64())
    } else {
        humantime::format_duration(Duration::from_secs(length.as_secs())).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three_and_times_are_utc() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(-1_234_567), "-1\u{202f}234\u{202f}567");
        assert_eq!(count(1, "entry"), "1 entry");
        assert_eq!(count(0, "entry"), "0 entries");
        assert_eq!(count(2, "key"), "2 keys");
        assert_eq!(count(2, "batch"), "2 batches");
        assert_eq!(count(100_000, "row"), "100\u{202f}000 rows");
        assert_eq!(per_second(8_123.9), "8\u{202f}123 rows/s");
        assert_eq!(per_second(0.52), "0.5 rows/s");
        assert_eq!(time(1_700_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(seconds(Duration::from_millis(1_250)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(3_700)), "1h 1m 40s");
    }
}
