//! Every code that the API can answer stands in `docs/errors.md`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const PAGE: &str = include_str!("../../../docs/errors.md");

/// Where codes are made, and how.
const PLACES: [&str; 5] =
    ["entities/src/ledger", "producer/src/http", "producer/src/dashboard", "http/src", "storage/src/http"];
const MAKERS: [(&str, usize); 6] = [
    ("refused(", 0),
    ("Problem::new(", 1),
    ("unauthorized(", 0),
    ("too_many(", 0),
    ("field(", 1),
    ("ValueError { code: ", 0),
];

fn sources(at: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(at).unwrap_or_else(|e| panic!("{}: {e}", at.display())) {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

/// The literal that stands as argument number `nth` of what `rest` begins with.
fn literal(rest: &str, nth: usize) -> Option<String> {
    let argument = rest.splitn(nth + 2, ',').nth(nth)?.trim();
    let code = argument.strip_prefix('"')?.split('"').next()?;
    let plain = !code.is_empty() && code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    plain.then(|| code.to_owned())
}

/// What the ledger calls failures, with its advice.
fn causes() -> BTreeSet<String> {
    let text = include_str!("../../../entities/src/ledger/failures/causes.rs");
    let arms = text.split_once("match code {").expect("the table").1.split("=>").map(|arm| {
        let pattern = arm.rsplit_once(['}', ')']).map_or(arm, |(_, pattern)| pattern);
        pattern.split('"').skip(1).step_by(2)
    });
    arms.flatten().map(str::to_owned).filter(|code| !code.ends_with('_')).collect()
}

fn codes() -> BTreeSet<String> {
    let mut codes = made_in(&PLACES, &MAKERS);
    // `Problem::invalid` makes this one.
    codes.insert("invalid_request".to_owned());
    codes.extend(causes());
    codes
}

/// What steps of the engine fail with or wait for: the page has those that an operator meets most.
fn codes_of_steps() -> BTreeSet<String> {
    made_in(&["engine/src"], &[("refused(", 0), ("code: ", 0)])
}

fn made_in(places: &[&str], makers: &[(&str, usize)]) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut files, mut codes) = (Vec::new(), BTreeSet::new());
    places.iter().for_each(|place| sources(&root.join(place), &mut files));
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        // As the formatter may break lines anywhere.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for (maker, nth) in makers {
            codes.extend(text.split(maker).skip(1).filter_map(|rest| literal(rest, *nth)));
        }
    }
    codes
}

#[test]
fn every_code_that_the_sources_make_stands_in_the_page() {
    let codes = codes();
    for known in [
        "rotation_open",
        "key_in_use",
        "token_expired",
        "rate_limited",
        "cross_origin",
        "not_base64",
        "no_keyset",
        "value_altered",
    ] {
        assert!(codes.contains(known), "the scan misses {known}: {codes:?}");
    }
    let missing: Vec<_> = codes.iter().filter(|code| !PAGE.contains(&format!("| `{code}` |"))).collect();
    assert!(missing.is_empty(), "docs/errors.md says nothing of {missing:?}");
}

#[test]
fn the_page_invents_no_code() {
    let codes = &codes() | &codes_of_steps();
    let told = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let told = told.filter(|code| !code.ends_with('…'));
    let invented: Vec<_> = told.filter(|code| !codes.contains(*code)).collect();
    assert!(invented.is_empty(), "no source makes {invented:?}");
}
