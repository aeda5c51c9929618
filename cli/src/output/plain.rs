//! Text that comes from data, made harmless for terminals: what an application's user wrote into a row's key must not
//! move the cursor, set the title, hide words or turn a line's direction.

/// One piece of data: every control and bidirectional character becomes `\u{…}`.
pub(crate) fn plain(data: &str) -> String {
    let mut text = String::with_capacity(data.len());
    for c in data.chars() {
        if steers(c) { text.extend(c.escape_unicode()) } else { text.push(c) }
    }
    text
}

/// A whole text of ours, of which pieces can be data: lines and the colours that this program uses stay.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(colour) = colour(rest) {
            out.push_str(colour);
            rest = &rest[colour.len()..];
            continue;
        }
        match c {
            '\n' | '\t' => out.push(c),
            c if steers(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// A line of JSON: the serializer leaves some of these characters as they are, which only stand inside strings.
pub(super) fn in_json(object: &str) -> String {
    let mut out = String::with_capacity(object.len());
    for c in object.chars() {
        if steers(c) { out += &format!("\\u{:04x}", u32::from(c)) } else { out.push(c) }
    }
    out
}

/// The escape sequence at the beginning of `text`, when it does nothing but colour: none that hides, blinks or inverts.
fn colour(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("\x1b[")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != ';').filter(|at| rest[*at..].starts_with('m'))?;
    let harmless = |n: &str| matches!(n.parse(), Ok(0..=4 | 22..=24 | 31..=37 | 39 | 90..=97_u8)) || n.is_empty();
    rest[..end].split(';').all(harmless).then(|| &text[..2 + end + 1])
}

fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "mallory\x1b]0;PWNED\x07\x1b[2J\x1b[8m\u{202e}\u{9b}31m\r\x7f";

    #[test]
    fn no_control_or_bidirectional_character_of_data_is_left() {
        for text in [plain(EVIL), printable(EVIL)] {
            assert!(text.starts_with("mallory\\u{1b}]0;PWNED\\u{7}\\u{1b}[2J\\u{1b}[8m\\u{202e}"), "{text}");
            assert!(!text.chars().any(steers), "{text:?}");
        }
        assert_eq!(plain("a\nb\tc é"), "a\\u{a}b\\u{9}c é");
    }

    #[test]
    fn lines_and_colours_of_ours_stay() {
        let ours = "\x1b[31;1merror:\x1b[0m one\n\ttwo";
        assert_eq!(printable(ours), ours);
        assert_eq!(printable("\x1b[31"), "\\u{1b}[31");
    }

    #[test]
    fn json_stays_the_same_json() {
        let object = serde_json::json!({ "key": EVIL });
        let line = in_json(&object.to_string());
        assert!(!line.chars().any(steers), "{line:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), object);
    }
}
