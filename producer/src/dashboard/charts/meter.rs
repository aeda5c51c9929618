//! A meter: how much of a limit is used, and whether that is much.

use super::escaped;

/// The least share of a meter, in percent, that something takes which is there at all.
const LEAST: f64 = 0.6;

/// How much of a limit is used.
pub(crate) struct Meter<'a> {
    /// What is measured.
    pub(crate) name: &'a str,
    /// So much of it.
    pub(crate) used: i64,
    /// The limit.
    pub(crate) most: i64,
    /// Both, as people read them.
    pub(crate) text: &'a str,
    /// `warn`, `bad`; empty: calm.
    pub(crate) tone: &'a str,
    /// What the tone says; empty: nothing.
    pub(crate) word: &'a str,
}

/// The meter above its text. It is full only when the limit is reached.
pub(crate) fn meter(meter: &Meter<'_>) -> String {
    let most = meter.most.max(1);
    let used = meter.used.clamp(0, most);
    let width = match used {
        0 => 0.0,
        used if used == most => 100.0,
        used => (used as f64 * 100.0 / most as f64).clamp(LEAST, 100.0 - LEAST),
    };
    let [name, text, tone, word] = [meter.name, meter.text, meter.tone, meter.word].map(escaped);
    let told = if word.is_empty() { text.clone() } else { format!("{text}: {word}") };
    let filled =
        if used == 0 { String::new() } else { format!("<rect class=\"used\" width=\"{width:.2}%\" height=\"100%\"/>") };
    let word = if word.is_empty() { word } else { format!("<span class=\"state {tone}\">{word}</span>") };
    format!(
        "<div class=\"meter {tone}\"><svg role=\"meter\" aria-label=\"{name}\" aria-valuemin=\"0\" aria-valuenow=\"{used}\" \
         aria-valuemax=\"{most}\" aria-valuetext=\"{told}\" width=\"100%\" height=\"8\">\
         <rect class=\"track\" width=\"100%\" height=\"100%\"/>{filled}</svg><span>{text}</span>{word}</div>"
    )
}

#[cfg(test)]
mod tests {
    use super::{super::valid::assert_valid, *};

    fn drawn(used: i64, most: i64) -> String {
        let html = meter(&Meter { name: "Age", used, most, text: "9 d of 10 d", tone: "warn", word: "soon due" });
        assert_valid(&html);
        html
    }

    #[test]
    fn a_meter_tells_its_numbers_and_its_state_by_word_and_colour() {
        let html = drawn(9, 10);
        assert!(
            html.contains("aria-valuenow=\"9\" aria-valuemax=\"10\" aria-valuetext=\"9 d of 10 d: soon due\""),
            "{html}"
        );
        assert!(
            html.contains("<span class=\"state warn\">soon due</span>") && html.contains("width=\"90.00%\""),
            "{html}"
        );
    }

    #[test]
    fn a_meter_is_full_only_at_its_limit_and_empty_only_at_nothing() {
        assert!(drawn(9_999_999, 10_000_000).contains("width=\"99.40%\""));
        assert!(drawn(1, 10_000_000).contains("width=\"0.60%\""));
        assert!(drawn(11, 10).contains("class=\"used\" width=\"100.00%\""));
        assert!(!drawn(0, 10).contains("class=\"used\"") && !drawn(-1, 0).contains("class=\"used\""));
    }
}
