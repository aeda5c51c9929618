//! Whether two rows can render the same bytes, so that a cell could be moved between them

use super::{Piece, Template};

/// What the canonical texts of a primary key column look like
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// All of one length: a uuid
    Fixed,
    /// Digits, perhaps after a minus
    Integer,
    /// Bytes in hex
    Hex,
    /// Anything
    Text,
}

/// How two rows can render the same bytes
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// By their values alone: nothing parts these two columns
    Unparted(usize, usize),
    /// When a value of a text column contains one of these texts
    Contained(Vec<String>),
}

impl KeyKind {
    /// Whether a text that begins so ends a value before it
    fn ends_before(self, text: &str) -> bool {
        text.chars().next().is_some_and(|first| match self {
            Self::Fixed => true,
            Self::Integer => !first.is_ascii_digit(),
            Self::Hex => !first.is_ascii_hexdigit(),
            Self::Text => false,
        })
    }

    /// Whether a text that ends so cannot be a part of a value after it
    fn begins_after(self, text: &str) -> bool {
        text.chars().next_back().is_some_and(|last| match self {
            Self::Fixed => true,
            Self::Integer => !last.is_ascii_digit() && last != '-',
            Self::Hex => !last.is_ascii_hexdigit(),
            Self::Text => false,
        })
    }
}

impl Template {
    /// How two rows can render the same bytes, if they can; `kind` says what a column's texts look like
    ///
    /// A reader who knows the template finds some columns from the left and some from the right. What is left in the
    /// middle is found too if it is a single column.
    pub fn ambiguity(&self, kind: impl Fn(usize) -> KeyKind) -> Option<Ambiguity> {
        let mut middle = self.pieces.as_slice();
        while let [first, rest @ ..] = middle {
            let found = match (first, rest.first()) {
                (Piece::Text(_), _) => true,
                (Piece::Column(c), _) if kind(*c) == KeyKind::Fixed => true,
                (Piece::Column(c), Some(Piece::Text(text))) => kind(*c).ends_before(text),
                (Piece::Column(_), _) => false,
            };
            if !found {
                break;
            }
            middle = rest;
        }
        while let [rest @ .., last] = middle {
            let found = match (last, rest.last()) {
                (Piece::Text(_), _) => true,
                (Piece::Column(c), _) if kind(*c) == KeyKind::Fixed => true,
                (Piece::Column(c), Some(Piece::Text(text))) => kind(*c).begins_after(text),
                (Piece::Column(_), _) => false,
            };
            if !found {
                break;
            }
            middle = rest;
        }
        let mut separators = Vec::new();
        let (mut last, mut between) = (None, String::new());
        for piece in middle {
            match piece {
                Piece::Text(text) => between.push_str(text),
                Piece::Column(c) if kind(*c) == KeyKind::Fixed => {}
                Piece::Column(next) => {
                    let separator = std::mem::take(&mut between);
                    let Some(column) = last.replace(*next) else { continue };
                    let has_text = [kind(column), kind(*next)].contains(&KeyKind::Text);
                    if separator.is_empty() || (!has_text && !kind(column).ends_before(&separator)) {
                        return Some(Ambiguity::Unparted(column, *next));
                    }
                    if has_text {
                        separators.push(needle(separator));
                    }
                }
            }
        }
        (!separators.is_empty()).then_some(Ambiguity::Contained(separators))
    }
}

/// What no value may contain. A separator that ends as it begins, such as `::`, can be met half in a value: then its first
/// character may not occur either.
fn needle(separator: String) -> String {
    let ends_as_it_begins = |n: &usize| separator.is_char_boundary(*n) && separator.ends_with(&separator[..*n]);
    match (1..separator.len()).any(|n| ends_as_it_begins(&n)) {
        true => separator.chars().take(1).collect(),
        false => separator,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` and `m` are integers, `t` and `s` texts, `u` is a uuid, `b` bytes.
    fn ambiguity(template: &str) -> Option<Ambiguity> {
        let names = ["n", "m", "t", "s", "u", "b"].map(str::to_owned);
        let kinds = [KeyKind::Integer, KeyKind::Integer, KeyKind::Text, KeyKind::Text, KeyKind::Fixed, KeyKind::Hex];
        Template::parse(template, &names).unwrap().ambiguity(|i| kinds[i])
    }

    #[test]
    fn columns_that_nothing_parts_are_named() {
        let cases = [
            ("{n}{m}", (0, 1)),
            ("t:{n}{m}", (0, 1)),
            ("{t}{n}", (2, 0)),
            ("{n}{t}", (0, 2)),
            ("{t}{s}", (2, 3)),
            ("{n}{b}", (0, 5)),
            ("{n}7{m}", (0, 1)),
            ("{b}1{n}", (5, 0)),
            ("{n}{u}{m}", (0, 1)),
            ("{t}{n}:{s}", (2, 0)),
        ];
        for (template, (column, next)) in cases {
            assert_eq!(ambiguity(template), Some(Ambiguity::Unparted(column, next)), "{template}");
        }
    }

    #[test]
    fn a_template_that_is_read_in_one_way_only_is_passed() {
        let cases = [
            "",
            "fixed",
            "{n}",
            "{t}",
            "x{t}y",
            "{n}:{m}",
            "{n}-{m}",
            "{t}:{n}",
            "{n}:{t}",
            "{u}{t}",
            "{t}{u}",
            "{u}{n}",
            "{n}{u}",
            "{n}:{t}:{m}",
            "{b}:{n}",
            "{u}{u}",
            "{n}:{u}{t}",
        ];
        for template in cases {
            assert_eq!(ambiguity(template), None, "{template}");
        }
    }

    #[test]
    fn texts_are_parted_by_what_they_do_not_contain() {
        let contained = |texts: &[&str]| Some(Ambiguity::Contained(texts.iter().map(|t| (*t).to_owned()).collect()));
        assert_eq!(ambiguity("{t}:{s}"), contained(&[":"]));
        assert_eq!(ambiguity("{t}/:{n}/{s}"), contained(&["/:", "/"]));
        assert_eq!(ambiguity("{t}::{s}"), contained(&[":"]), "one colon can be a value's");
        assert_eq!(ambiguity("{t}-{n}"), contained(&["-"]), "a minus can be the number's");
    }

    #[test]
    fn what_is_passed_renders_apart() {
        let values = |name: &str| -> Vec<&str> {
            match name {
                "n" | "m" => vec!["1", "-1", "11", "0", "10", "-11"],
                "b" => vec!["", "1a", "a1", "ff"],
                _ => vec!["", ":", "1", ":1", "1:", "-1", "a"],
            }
        };
        for template in ["{n}:{m}", "{n}-{m}", "{t}:{n}", "{n}:{t}", "{n}:{t}:{m}", "{b}:{n}"] {
            let names = ["n", "m", "t", "s", "u", "b"].map(str::to_owned);
            let parsed = Template::parse(template, &names).unwrap();
            let mut seen = std::collections::HashMap::new();
            for n in values("n") {
                for m in values("m") {
                    for t in values("t") {
                        for b in values("b") {
                            let key = [n, m, t, "", "", b].map(str::to_owned);
                            let named: Vec<_> = names
                                .iter()
                                .zip(&key)
                                .filter(|(c, _)| template.contains(&format!("{{{c}}}")))
                                .collect();
                            let named = format!("{named:?}");
                            let before = seen.insert(parsed.render(&key), named.clone());
                            assert!(before.is_none_or(|b| b == named), "{template}");
                        }
                    }
                }
            }
        }
    }
}
