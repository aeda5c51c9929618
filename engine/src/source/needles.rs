//! How a cell's header looks in whatever a copy may wear: one pattern that finds all of it in one look.
//!
//! A copy is seldom stored as it was. It stands in JSON, in a form, in a message that was encoded again, in a dump of a
//! row. A database's own patterns are too slow for so many ways (PostgreSQL's took sixty times as long as two of them), so
//! the values are read here.

mod base64;
#[cfg(test)]
mod tests;

use super::{Header, SourceError};
use regex::bytes::{Regex, RegexBuilder};
use reseal_keyring::cell::OVERHEAD;

/// Nothing shorter holds a whole cell, whatever it wears.
pub(super) const LENGTH_MIN: usize = OVERHEAD;

/// Values that are too long for one look are looked at in parts that overlap by so much.
pub(super) const OVERLAP: usize = 4096;

/// So many keys are looked for by one pattern: each of them makes it larger.
const KEYS_MAX: usize = 8;

/// Finds cells with one of some headers, wherever they stand in a value.
pub(super) struct Finder(Vec<Regex>);

impl Finder {
    pub(super) fn new(headers: &[Header]) -> Result<Self, SourceError> {
        let built = headers.chunks(KEYS_MAX).map(|headers| {
            let needles: Vec<String> = headers.iter().flat_map(needles).collect();
            RegexBuilder::new(&format!("(?s-u){}", needles.join("|")))
                .size_limit(1 << 28)
                .dfa_size_limit(1 << 25)
                .build()
                .map_err(|_| SourceError::refused("source_too_large", "these keys are too many to look for at once"))
        });
        Ok(Self(built.collect::<Result<_, _>>()?))
    }

    pub(super) fn finds(&self, value: &[u8]) -> bool {
        value.len() >= LENGTH_MIN && self.0.iter().any(|pattern| pattern.is_match(value))
    }
}

fn needles(header: &Header) -> Vec<String> {
    let mut needles = vec![escaped(header), hexadecimal(header), decimals(header)];
    needles.extend((0..3).map(|offset| base64::of(header, offset, GAP)));
    for inner in texts(header) {
        needles.push(in_hexadecimal(&inner));
        needles.extend((0..3).map(|offset| base64::of_text(&inner, offset, r"(?:\s|\\+(?:[nr]|01[25]))*")));
    }
    needles
}

/// What may stand between two characters of base64: the breaks of lines, escaped or not, and the zero bytes of UTF-16.
const GAP: &str =
    r"(?:[\s=\x00]|\\+(?:[nrt]|u000[aAdD9]|01[125]|000)|%(?:25)*(?:0[aAdD9]|20)|&#(?:1[03]|[xX][aAdD]);)*";

/// The bytes as they are, or each of them escaped in a way of its own.
fn escaped(header: &Header) -> String {
    header.iter().map(|b| byte(*b)).collect::<Vec<_>>().join(r"(?:\x00|=\s+)*")
}

/// One byte: as it is, as the character of the same number, or in the escapes of bytea, C, JSON, forms, quoted-printable
/// and HTML. Backslashes are doubled whenever a text is quoted once more.
fn byte(byte: u8) -> String {
    let (hex, two) = (any_case(&format!("{byte:x}")), any_case(&format!("{byte:02x}")));
    let own = match byte {
        ..0x80 => format!(r"\x{byte:02x}"),
        _ => format!(r"\x{byte:02x}|\x{:02x}\x{:02x}", 0xc0 | byte >> 6, 0x80 | byte & 0x3f),
    };
    let more = match byte {
        0x07 => r"|\\+a",
        0x08 => r"|\\+b",
        b'\t' => r"|\\+t",
        b'\n' => r"|\\+n",
        0x0b => r"|\\+v",
        0x0c => r"|\\+f",
        b'\r' => r"|\\+r",
        0x1b => r"|\\+e",
        b' ' => r"|\+",
        b'"' => r#"|\\*"+|&quot;"#,
        b'&' => "|&amp;",
        b'\'' => r"|\\*'+|&apos;",
        b'<' => "|&lt;",
        b'>' => "|&gt;",
        b'\\' => r"|\\+",
        0x21..=0x7e if !byte.is_ascii_alphanumeric() => &format!(r"|\\+\x{byte:02x}"),
        _ => "",
    };
    format!(r"(?:{own}|\\+(?:[xXuU]\{{?0*{hex}\}}?|0*{byte:o})|[%=](?:25)*{two}|&#(?:[xX]0*{hex}|0*{byte});{more})")
}

/// Two digits a byte, in either case, in whatever order of marks and breaks dumps write them.
fn hexadecimal(header: &Header) -> String {
    let digits = |byte: &u8| {
        let (high, low) = (any_case(&format!("{:x}", byte >> 4)), any_case(&format!("{:x}", byte & 15)));
        format!(r"{high}(?:[\s\x00]|\\+(?:[nr]|01[125]|000))*{low}")
    };
    let between = r"(?:[\s:;,_%=\x00-]|\\+(?:[nrtx]|01[125]|000)|0x)*";
    header.iter().map(digits).collect::<Vec<_>>().join(between)
}

/// A list of numbers, signed or not, as JSON writes a buffer.
fn decimals(header: &Header) -> String {
    let number = |byte: &u8| match *byte {
        small @ ..0x80 => small.to_string(),
        large => format!("(?:{large}|-{})", 256 - u16::from(large)),
    };
    format!("(?:^|[^0-9.]){}(?:[^0-9]|$)", header.iter().map(number).collect::<Vec<_>>().join(r"[\s,;]+"))
}

/// The header as a text, where that is encoded once more.
fn texts(header: &Header) -> Vec<Vec<u8>> {
    let hex = hex::encode(header);
    let mut texts = vec![hex.to_uppercase(), hex];
    texts.extend((0..3).flat_map(|offset| base64::texts(header, offset)));
    texts.sort_unstable();
    texts.dedup();
    texts.into_iter().map(String::into_bytes).collect()
}

fn in_hexadecimal(text: &[u8]) -> String {
    any_case(&hex::encode(text))
}

/// Lower-case letters in either case.
fn any_case(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_lowercase() { format!("[{c}{}]", c.to_ascii_uppercase()) } else { c.into() })
        .collect()
}
