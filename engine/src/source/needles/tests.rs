use super::*;
use ::base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};

/// Headers of keys that were drawn at random, and some whose bytes are marks, breaks, zeros or the ends of ranges.
fn keys() -> Vec<Header> {
    let mut keys: Vec<Header> =
        (0..24).map(|_| [1, random::<1>()[0], random::<1>()[0], random::<1>()[0], random::<1>()[0]]).collect();
    let marks =
        [*b"\x01/+\\\"", *b"\x01\0\0\0\0", *b"\x01\x80\xff\x7f\xc3", *b"\x01\r\n\t ", *b"\x01'&<>", *b"\x01=%/?"];
    keys.extend(marks);
    keys.extend([[1, 0xff, 0xff, 0xff, 0xff], [1, 0xfb, 0xef, 0xbe, 0xfb], [1, b'^', b'[', b'(', b'$']]);
    keys
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// As a cell stands inside of something: `before` bytes are in front of it.
fn value(header: &Header, before: usize) -> Vec<u8> {
    [&random::<7>()[..before], header, &random::<28>()].concat()
}

fn text(bytes: &[u8], each: impl Fn(u8) -> String) -> String {
    bytes.iter().map(|b| each(*b)).collect()
}

fn utf16(text: &str, big: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|c| if big { c.to_be_bytes() } else { c.to_le_bytes() }).collect()
}

fn wrapped(text: &str, every: usize, line: &str) -> String {
    text.as_bytes().chunks(every).map(|c| std::str::from_utf8(c).unwrap()).collect::<Vec<_>>().join(line)
}

/// What applications, databases and their tools make of bytes.
fn clothes(cell: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (hex, base64, url) = (hex::encode(cell), STANDARD.encode(cell), URL_SAFE.encode(cell));
    let json = serde_json::to_string(&cell.iter().map(|b| char::from(*b)).collect::<String>()).unwrap();
    let marks = |text: &str, each: fn(char) -> String| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { each(c) }).collect()
    };
    let graphic = |b: u8| b.is_ascii_graphic() && !b"%=+\\&".contains(&b);
    let own = |b: u8, escape: String| if graphic(b) { char::from(b).to_string() } else { escape };
    let mut all: Vec<(&'static str, Vec<u8>)> = vec![("bytes", cell.to_vec())];
    all.extend(
        [
            ("hex", hex.clone()),
            ("upper hex", hex.to_uppercase()),
            ("hex of a dump", text(cell, |b| format!("{b:02x} "))),
            ("hex of C", text(cell, |b| format!("0x{b:02X}, "))),
            ("hex in lines", wrapped(&hex, 3, "\n")),
            ("base64", base64.clone()),
            ("base64url", url.clone()),
            ("base64url without padding", URL_SAFE_NO_PAD.encode(cell)),
            ("base64 in lines", wrapped(&base64, 5, "\n")),
            ("base64 in lines of Windows", wrapped(&base64, 4, "\r\n")),
            ("base64 in lines, in JSON", wrapped(&base64, 5, "\\n")),
            ("base64 in PHP's JSON", base64.replace('/', "\\/")),
            ("base64 in JSON in JSON", base64.replace('/', "\\\\/")),
            ("base64 with JSON's escapes", marks(&base64, |c| format!("\\u{:04x}", c as u32))),
            ("base64 with upper escapes", marks(&base64, |c| format!("\\u{:04X}", c as u32))),
            ("base64url with JSON's escapes", marks(&url, |c| format!("\\u{:04x}", c as u32))),
            ("base64 in a form", marks(&base64, |c| format!("%{:02X}", c as u32))),
            ("base64 in a lower form", marks(&base64, |c| format!("%{:02x}", c as u32))),
            ("base64 in a form in a form", marks(&base64, |c| format!("%25{:02X}", c as u32))),
            ("base64 in a form that was read twice", base64.replace('+', " ")),
            ("base64 in HTML", marks(&base64, |c| format!("&#{};", c as u32))),
            ("base64 in XML", marks(&base64, |c| format!("&#x{:X};", c as u32))),
            ("base64 quoted-printable", marks(&base64, |c| format!("={:02X}", c as u32))),
            ("base64 in soft lines", wrapped(&base64, 5, "=\r\n")),
            ("octal", text(cell, |b| own(b, format!("\\{b:03o}")))),
            ("octal in JSON", text(cell, |b| own(b, format!("\\\\{b:03o}")))),
            ("C", text(cell, |b| own(b, format!("\\x{b:02x}")))),
            ("C, all of it", text(cell, |b| format!("\\x{b:02x}"))),
            ("Rust", String::from_utf8(cell.iter().flat_map(|b| std::ascii::escape_default(*b)).collect()).unwrap()),
            ("characters in JSON", json),
            ("characters", cell.iter().map(|b| char::from(*b)).collect()),
            ("JSON's escapes", text(cell, |b| own(b, format!("\\u{b:04x}")))),
            ("Rust's escapes", cell.iter().map(|b| char::from(*b)).flat_map(char::escape_unicode).collect()),
            ("a form", text(cell, |b| own(b, format!("%{b:02X}")))),
            ("a lower form", text(cell, |b| own(b, format!("%{b:02x}")))),
            ("a form, all of it", text(cell, |b| format!("%{b:02X}"))),
            ("quoted-printable", text(cell, |b| own(b, format!("={b:02X}")))),
            ("HTML", text(cell, |b| own(b, format!("&#{b};")))),
            ("a buffer", serde_json::to_string(cell).unwrap()),
            ("a buffer of signed bytes", format!("{:?}", cell.iter().map(|b| *b as i8).collect::<Vec<_>>())),
        ]
        .map(|(name, text)| (name, text.into_bytes())),
    );
    all
}

#[test]
fn a_cell_is_found_in_all_clothes_wherever_it_begins() {
    for header in keys() {
        let found = Finder::new(&[header]).unwrap();
        for before in 0..4 {
            for (name, worn) in clothes(&value(&header, before)) {
                assert!(found.finds(&worn), "{name} of {header:?} after {before}: {worn:?}");
            }
        }
    }
}

#[test]
fn two_layers_of_base64_and_hex_are_found_wherever_they_begin() {
    for header in keys() {
        let found = Finder::new(&[header]).unwrap();
        for before in 0..3 {
            let cell = value(&header, before);
            let (base64, url) = (STANDARD.encode(&cell), URL_SAFE.encode(&cell));
            let inner = [hex::encode(&cell), hex::encode_upper(&cell), base64.replace('/', "\\/"), base64, url];
            for text in inner {
                for key in ["k", "ke", "key"] {
                    let row = format!("{{\"{key}\":\"{text}\"}}");
                    let outer = [
                        hex::encode(&row),
                        hex::encode_upper(&row),
                        STANDARD.encode(&row),
                        URL_SAFE_NO_PAD.encode(&row),
                        wrapped(&STANDARD.encode(&row), 7, "\n"),
                    ];
                    for worn in outer {
                        assert!(found.finds(worn.as_bytes()), "{header:?}: {row} as {worn}");
                    }
                }
            }
        }
    }
}

#[test]
fn texts_in_utf_16_are_found_in_either_order() {
    for header in keys() {
        let found = Finder::new(&[header]).unwrap();
        let cell = value(&header, 2);
        for big in [false, true] {
            for text in [STANDARD.encode(&cell), hex::encode(&cell), cell.iter().map(|b| char::from(*b)).collect()] {
                assert!(found.finds(&utf16(&text, big)), "{header:?} as {text:?}");
            }
        }
    }
}

#[test]
fn a_cell_of_another_key_is_not_found() {
    let keys = keys();
    for header in &keys[..12] {
        let found = Finder::new(&[*header]).unwrap();
        let other = loop {
            let other = [1, random::<1>()[0], random::<1>()[0], random::<1>()[0], random::<1>()[0]];
            if (1..5).all(|i| other[i] != header[i]) {
                break other;
            }
        };
        for (name, worn) in clothes(&value(&other, 1)) {
            assert!(!found.finds(&worn), "{name} of {other:?} is taken for {header:?}");
        }
    }
}

#[test]
fn several_keys_are_looked_for_at_once() {
    let keys = keys();
    let found = Finder::new(&keys[..12]).unwrap();
    assert!(keys[..12].iter().all(|k| found.finds(STANDARD.encode(value(k, 1)).as_bytes())));
    assert!(!found.finds(STANDARD.encode(value(&[1, 2, 3, 4, 5], 1)).as_bytes()));
}

#[test]
fn texts_inside_of_base64_make_letters_and_digits_alone() {
    for text in keys().iter().flat_map(texts) {
        for offset in 0..3 {
            let made = base64::of_text(&text, offset, "");
            assert!(made.len() > 6 && made.bytes().all(|c| c.is_ascii_alphanumeric()), "{made}");
        }
    }
}
