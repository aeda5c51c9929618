//! Base64 of bytes that begin anywhere in what is encoded.

use crate::source::Header;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The six bits of each character that `bytes` have a part in, `offset` bytes after a multiple of three: those that are
/// known, and their values.
fn sextets(bytes: &[u8], offset: usize) -> Vec<(u8, u8)> {
    let (first, end) = (8 * offset, 8 * (offset + bytes.len()));
    let bit = |at: usize| {
        let known = (first..end).contains(&at);
        let set = known && bytes[(at - first) / 8] >> (7 - at % 8) & 1 == 1;
        (u8::from(known), u8::from(set))
    };
    let character = |n: usize| {
        (6 * n..6 * n + 6).map(bit).fold((0, 0), |(mask, value), (known, set)| (mask << 1 | known, value << 1 | set))
    };
    (first / 6..end.div_ceil(6)).map(character).collect()
}

/// Both alphabets, with the escapes of the characters that are no letters and no digits: every fifth header or so has some.
pub(super) fn of(header: &Header, offset: usize, gap: &str) -> String {
    let character = |(mask, value): (u8, u8)| {
        let fits: Vec<u8> = (0..64).filter(|v| v & mask == value).collect();
        let class: String = fits.iter().filter(|v| **v < 62).map(|v| char::from(ALPHABET[usize::from(*v)])).collect();
        let mut ways = Vec::new();
        if !class.is_empty() {
            ways.push(format!("[{class}]"));
        }
        if fits.contains(&62) {
            // A form that is read twice has a space for the plus.
            ways.push(
                r"[+ -]|\\+(?:[xXuU]\{?0*2[bBdD]\}?|0*5[35])|[%=](?:25)*2[bBdD0]|&#(?:[xX]0*2[bBdD]|0*4[35]);|&plus;"
                    .to_owned(),
            );
        }
        if fits.contains(&63) {
            ways.push(
                r"\\*[/_]|\\+(?:[xXuU]\{?0*[25][fF]\}?|0*57|0*137)|[%=](?:25)*[25][fF]|&#(?:[xX]0*[25][fF]|0*47|0*95);|&sol;"
                    .to_owned(),
            );
        }
        if ways.len() == 1 && !class.is_empty() { ways.concat() } else { format!("(?:{})", ways.join("|")) }
    };
    sextets(header, offset).into_iter().map(character).collect::<Vec<_>>().join(gap)
}

/// The characters that no neighbour has a part in, as they stand in a text: in both alphabets, and with JSON's escape.
pub(super) fn texts(header: &Header, offset: usize) -> Vec<String> {
    let text = whole(header, offset);
    vec![text.replace('+', "-").replace('/', "_"), text.replace('/', "\\/"), text]
}

/// A text inside of base64. No letter, digit or mark of one makes a character that differs between the alphabets.
pub(super) fn of_text(text: &[u8], offset: usize, gap: &str) -> String {
    whole(text, offset).chars().map(String::from).collect::<Vec<_>>().join(gap)
}

fn whole(bytes: &[u8], offset: usize) -> String {
    let whole = sextets(bytes, offset).into_iter().filter(|(mask, _)| *mask == 63);
    whole.map(|(_, value)| char::from(ALPHABET[usize::from(value)])).collect()
}
