//! Readable ticks: speeds by 1, 2 or 5 times a power of ten, times by what clocks count in.

use crate::dashboard::numbers::utc;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// What may lie between two times.
const STEPS: [i64; 20] = [
    SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    3 * DAY,
    7 * DAY,
];
/// So many labels stand side by side on a narrow screen.
const MOST: i64 = 5;

/// The ticks above zero for speeds up to `most`: two or three, the last of them at or above it.
pub(super) fn speeds(most: f64) -> Vec<f64> {
    let most = most.max(0.2);
    // the power is one too low, because three steps reach further than one
    let power = 10_f64.powf(most.log10().floor() - 1.0);
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0].map(|step| step * power);
    // a hair more, so that three times a tenth reaches three tenths
    let reaches = |times: f64, step: f64| step * times * (1.0 + 1e-9) >= most;
    let found = steps.iter().find_map(|step| [2.0, 3.0].into_iter().find(|n| reaches(*n, *step)).map(|n| (*step, n)));
    let (step, times) = found.unwrap_or((most / 2.0, 2.0));
    (1..=times as i32).map(|n| f64::from(n) * step).collect()
}

/// A speed in at most six letters: `0.2`, `500`, `12k`, `1.5M`.
pub(super) fn short(speed: f64) -> String {
    let (digits, unit) = match speed {
        s if s < 999.5 => (s, ""),
        s if s < 999_500.0 => (s / 1e3, "k"),
        s if s < 999_500_000.0 => (s / 1e6, "M"),
        s if s < 999_500_000_000.0 => (s / 1e9, "G"),
        s => return format!("{s:.0e}"),
    };
    let text = if digits < 99.95 { super::at(digits) } else { format!("{digits:.0}") };
    text + unit
}

/// At most six times between `from` and `to` with what is written at them. Midnight is written as its day.
pub(super) fn times(from: i64, to: i64) -> Vec<(i64, String)> {
    let span = to - from;
    let step = STEPS.into_iter().find(|step| span / step <= MOST).unwrap_or((span / MOST / DAY + 1) * DAY);
    let first = from + (step - from.rem_euclid(step)) % step;
    let ticks = (first..=to).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    ticks.map(|at| (at, label(at, step))).collect()
}

fn label(at: i64, step: i64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = utc(at); // 2026-11-24 19:02:11 UTC
    if at.rem_euclid(DAY) == 0 {
        let month = text[5..7].parse().map_or(0, |month: usize| month.saturating_sub(1));
        return format!("{} {}", text[8..10].trim_start_matches('0'), MONTHS[month % 12]);
    }
    text[11..if step < MINUTE { 19 } else { 16 }].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_axis_has_two_or_three_round_ticks_and_is_more_than_half_full() {
        let told = |most| speeds(most).into_iter().map(short).collect::<Vec<_>>();
        assert_eq!(told(12_300.0), ["5k", "10k", "15k"]);
        assert_eq!(told(16_000.0), ["10k", "20k"]);
        assert_eq!(told(0.0), ["0.1", "0.2"]);
        assert_eq!(told(0.3), ["0.1", "0.2", "0.3"]);
        assert_eq!(told(850.0), ["500", "1k"]);
        assert_eq!(told(f64::from(u32::MAX)), ["2G", "4G", "6G"]);
        let mut most = 0.21;
        while most < 1e22 {
            let ticks = speeds(most);
            let top = ticks[ticks.len() - 1];
            assert!((2..=3).contains(&ticks.len()) && top * 1.000_001 >= most && most > top * 0.5, "{most}: {ticks:?}");
            assert!(ticks.iter().all(|tick| short(*tick).len() <= 6), "{ticks:?}");
            most *= 1.07;
        }
    }

    #[test]
    fn a_time_axis_has_readable_times_and_midnight_is_a_day() {
        const MIDNIGHT: i64 = 1_795_564_800_000; // 2026-11-25
        let told =
            |from, to| times(MIDNIGHT + from, MIDNIGHT + to).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(told(-13 * MINUTE, 7 * MINUTE), ["23:50", "23:55", "25 Nov", "00:05"]);
        assert_eq!(told(-DAY, 0), ["24 Nov", "06:00", "12:00", "18:00", "25 Nov"]);
        assert_eq!(told(0, 10 * DAY), ["25 Nov", "27 Nov", "29 Nov", "1 Dec", "3 Dec", "5 Dec"]);
        assert_eq!(told(HOUR, HOUR + 22_000), ["01:00:00", "01:00:05", "01:00:10", "01:00:15", "01:00:20"]);
    }

    #[test]
    fn no_time_axis_has_more_labels_than_fit() {
        let mut span = 1;
        while span < 250_000_000_000_000 {
            let ticks = times(86_399_999, 86_399_999 + span);
            assert!(ticks.len() <= 6, "{span}: {ticks:?}");
            span = span * 3 / 2 + 1;
        }
    }
}
