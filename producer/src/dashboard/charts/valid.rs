//! What every chart must be, whatever it is drawn from: well-formed, of finite numbers, and allowed by a strict policy.

use super::Sample;

/// Every element is closed where it was opened, every attribute is quoted and stands once, and nothing is styled, scripted or
/// not a number.
pub(super) fn assert_valid(svg: &str) {
    for never in ["NaN", "inf", "style=", "<style", "<script", "onload", "javascript:"] {
        assert!(!svg.contains(never), "{never} in {svg}");
    }
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some(begin) = rest.find('<') {
        assert_text(&rest[..begin], svg);
        let end = begin + rest[begin..].find('>').unwrap_or_else(|| panic!("an open tag in {svg}"));
        let tag = &rest[begin + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in {svg}");
            continue;
        }
        let (name, attributes) = tag.trim_end_matches('/').split_once(' ').unwrap_or((tag.trim_end_matches('/'), ""));
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric()), "<{tag}> in {svg}");
        assert_attributes(attributes, svg);
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_text(rest, svg);
    assert!(open.is_empty(), "{open:?} open in {svg}");
}

fn assert_attributes(attributes: &str, svg: &str) {
    let mut names = Vec::new();
    let mut rest = attributes;
    while !rest.is_empty() {
        let Some((name, value)) = rest.split_once("=\"") else { panic!("{rest:?} in {svg}") };
        let Some((value, next)) = value.split_once('"') else { panic!("{rest:?} in {svg}") };
        assert_text(value, svg);
        assert!(name.bytes().all(|b| b.is_ascii_alphabetic() || b"-0123456789".contains(&b)), "{name:?} in {svg}");
        assert!(!names.contains(&name), "{name} twice in {svg}");
        if ["width", "height"].contains(&name) {
            let number = value.trim_end_matches('%').parse::<f64>();
            assert!(number.is_ok_and(|n| (0.0..1e6).contains(&n)), "{name} {value:?} in {svg}");
        }
        names.push(name);
        rest = next.strip_prefix(' ').unwrap_or(next);
    }
}

/// Between tags an ampersand begins an escape.
fn assert_text(text: &str, svg: &str) {
    for (at, _) in text.match_indices('&') {
        let known = ["&#", "&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|escape| text[at..].starts_with(escape));
        assert!(known, "a bare ampersand in {svg}");
    }
}

/// Samples of every kind: none, one, of one time, of the largest and least numbers, with clocks that were set back.
pub(super) fn any_samples() -> Vec<Vec<Sample>> {
    let sample = |(at, rows_done)| Sample { at, rows_done };
    let mut all: Vec<Vec<Sample>> = [
        &[][..],
        &[(1_795_546_790_000, 5)],
        &[(1_795_546_790_000, 5), (1_795_546_790_000, 7)],
        &[(i64::MIN, i64::MIN), (i64::MAX, i64::MAX)],
        &[(i64::MIN, i64::MAX), (0, 0), (i64::MAX, i64::MIN)],
        &[(1_795_546_799_999, i64::MIN), (1_795_546_800_000, i64::MAX)],
        &[(1_795_546_799_998, i64::MAX), (1_795_546_799_999, 0), (1_795_546_800_000, i64::MAX)],
    ]
    .map(|samples| samples.iter().copied().map(sample).collect())
    .into();
    // a generator of its own, so that what fails once fails again
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: i64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(state >> 33).unwrap_or(0) % below
    };
    for _ in 0..200 {
        let (mut at, mut rows) = (1_795_546_800_000 - next(20_000_000), 0_i64);
        let samples = (0..next(150)).map(|_| {
            at += [10_000, 0, -next(100_000), next(400_000), 10_000, 10_000][next(6) as usize];
            rows = rows.saturating_add([next(100_000), -next(1_000), 0, i64::MAX / 3][(next(40) as usize).min(3)]);
            Sample { at, rows_done: rows }
        });
        all.push(samples.collect());
    }
    all
}

#[test]
#[should_panic(expected = "closed in")]
fn what_is_not_closed_is_not_valid() {
    assert_valid("<svg><g></svg>");
}

#[test]
#[should_panic(expected = "a bare ampersand")]
fn a_bare_ampersand_is_not_valid() {
    assert_valid("<p a=\"b\">c & d</p>");
}
