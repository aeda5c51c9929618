//! A heat strip per table: how its batches stand, over the key space. The forms tell what the colours tell: what has failed rises above
//! its strip, what is leased hangs below it.

use super::{
    bin::{Bin, Look},
    escaped,
};
use crate::dashboard::numbers::{count, counted};
use std::fmt::Write;

/// Tables that are shown.
const TABLES: usize = 12;
/// Pieces of a table that are told apart.
const BINS: usize = 120;
/// What all tables may take together: a page has a weight.
const BYTES: usize = 7_800;
/// In pixels, what rises above and hangs below included.
const HEIGHT: i64 = 26;

/// One table.
pub(crate) struct Strip<'a> {
    /// Its name.
    pub(crate) table: &'a str,
    /// Its key space in equal pieces, in the order of its keys.
    pub(crate) bins: &'a [Bin],
}

/// The strips of a rotation with their legend. Of more than twelve tables those with failed batches come first, and it says how
/// many are not shown. They take 8 KB at most, whatever the number of batches, at the cost of wider pieces
/// where batches of all kinds stand side by side.
pub(crate) fn strip(strips: &[Strip<'_>]) -> String {
    if strips.iter().all(|strip| strip.bins.is_empty()) {
        return "<p class=\"nothing\">no batches yet: planning cuts the tables into batches</p>".to_owned();
    }
    let mut shown: Vec<&Strip<'_>> = strips.iter().collect();
    if shown.len() > TABLES {
        shown.sort_by_key(|strip| all(strip.bins).failed == 0);
    }
    let hidden = shown.split_off(shown.len().min(TABLES));
    let most = shown.iter().map(|strip| strip.bins.len()).max().unwrap_or(0);
    let room = BYTES - LEGEND.len() - 200;
    let drawn = |width: usize| shown.iter().map(|strip| table(strip, width)).collect::<String>();
    let mut width = most.div_ceil(BINS).max(1);
    let mut tables = drawn(width);
    while tables.len() > room && width < most {
        width += 1;
        tables = drawn(width);
    }
    format!("<div class=\"strips\">{LEGEND}{tables}{}</div>", more(&hidden))
}

const LEGEND: &str = "<ul class=\"legend\">\
     <li><svg width=\"12\" height=\"26\" aria-hidden=\"true\"><rect class=\"f\" width=\"12\"/></svg> has failed batches</li>\
     <li><svg width=\"12\" height=\"26\" aria-hidden=\"true\"><rect class=\"l\" width=\"12\"/></svg> leased</li>\
     <li><svg width=\"60\" height=\"26\" aria-hidden=\"true\"><rect class=\"d1\" width=\"12\"/><rect class=\"d2\" x=\"12\" width=\"12\"/>\
     <rect class=\"d3\" x=\"24\" width=\"12\"/><rect class=\"d4\" x=\"36\" width=\"12\"/><rect class=\"d5\" x=\"48\" width=\"12\"/></svg> \
     partly to wholly done</li>\
     <li><svg width=\"12\" height=\"26\" aria-hidden=\"true\"><path class=\"edge\" d=\"M.5 5.5h11v15h-11z\"/><rect class=\"p\" width=\"12\"/></svg> pending</li></ul>";

/// One table's strip, of pieces of so many bins.
fn table(strip: &Strip<'_>, width: usize) -> String {
    let name = escaped(strip.table);
    let sum = all(strip.bins);
    let told = format!("{}: {}", counted(sum.batches(), "batch", "batches"), sum.told());
    let mut html = format!(
        "<div class=\"strip\"><p><span class=\"name\">{name}</span> <span class=\"numbers\">{told}</span></p>\
         <svg role=\"img\" aria-label=\"{name}, {told}\" width=\"100%\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {0} {HEIGHT}\" preserveAspectRatio=\"none\"><path class=\"edge\" d=\"M0 5.5h{0}v15h-{0}z\"/>",
        strip.bins.len().max(1)
    );
    let mut before = 0_i64;
    for piece in pieces(strip.bins, width) {
        let after = before.saturating_add(piece.bin.batches());
        let which = match after.saturating_sub(before) {
            1 => format!("batch {}", count(after)),
            _ => format!("{}–{}", count(before.saturating_add(1)), count(after)),
        };
        if after > before {
            // writing to a text cannot fail
            _ = write!(
                html,
                "<rect class=\"{}\" x=\"{}\" width=\"{}\"><title>{which}: {}</title></rect>",
                piece.bin.look().class(),
                piece.from,
                piece.width,
                piece.bin.told()
            );
        }
        before = after;
    }
    html + "</svg></div>"
}

/// Neighbouring bins that are shown as one.
struct Piece {
    from: usize,
    width: usize,
    bin: Bin,
}

/// Bins joined by so many, and further where neighbours are wholly done, or wholly wait.
fn pieces(bins: &[Bin], width: usize) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (n, joined) in bins.chunks(width.max(1)).enumerate() {
        let next = Piece { from: n * width.max(1), width: joined.len(), bin: all(joined) };
        match pieces.last_mut() {
            Some(last)
                if last.bin.look() == next.bin.look() && matches!(next.bin.look(), Look::Done | Look::Pending) =>
            {
                last.width += next.width;
                last.bin = last.bin.and(&next.bin);
            }
            _ => pieces.push(next),
        }
    }
    pieces
}

fn all(bins: &[Bin]) -> Bin {
    bins.iter().fold(Bin::default(), |sum, bin| sum.and(bin))
}

/// What is not shown, if anything.
fn more(hidden: &[&Strip<'_>]) -> String {
    let failed = hidden.iter().filter(|strip| all(strip.bins).failed > 0).count();
    let tables = |n: usize| counted(i64::try_from(n).unwrap_or(i64::MAX), "more table", "more tables");
    match (hidden.len(), failed) {
        (0, _) => String::new(),
        (n, 0) => format!("<p class=\"more\">and {}, none with failed batches</p>", tables(n)),
        (n, failed) => format!("<p class=\"more\">and {}, {failed} with failed batches</p>", tables(n)),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::valid::assert_valid, *};

    fn done(batches: i64) -> Bin {
        Bin { done: batches, ..Bin::default() }
    }

    fn pending(batches: i64) -> Bin {
        Bin { pending: batches, ..Bin::default() }
    }

    /// The titles of the pieces.
    fn titles(html: &str) -> Vec<&str> {
        html.split("<title>").skip(1).filter_map(|rest| rest.split('<').next()).collect()
    }

    fn drawn(strips: &[Strip<'_>]) -> String {
        let html = strip(strips);
        assert_valid(&html);
        html
    }

    #[test]
    fn each_piece_tells_its_batches_and_what_looks_alike_throughout_is_one() {
        let mixed = Bin { pending: 20, done: 80, ..Bin::default() };
        let failed = Bin { failed: 1, ..Bin::default() };
        let bins = [done(100), done(100), mixed, mixed, failed, pending(99), pending(100)];
        let html = drawn(&[Strip { table: "app:messages", bins: &bins }]);
        let told = [
            "1–200: 200 done",
            "201–300: 80 done, 20 pending",
            "301–400: 80 done, 20 pending",
            "batch 401: 1 failed",
            "402–600: 199 pending",
        ];
        assert_eq!(titles(&html), told);
        assert!(
            html.contains("viewBox=\"0 0 7 26\"") && html.contains("<rect class=\"f\" x=\"4\" width=\"1\">"),
            "{html}"
        );
        let label = "role=\"img\" aria-label=\"app:messages, 600 batches: 1 failed, 360 done, 239 pending\"";
        assert!(html.contains(label), "{html}");
    }

    #[test]
    fn tables_of_batches_of_all_kinds_take_8_kb_at_most_and_lose_no_batch() {
        let many = |i: i64| Bin { pending: i * 37 % 101, leased: i % 3, failed: i % 5 / 4, done: 1_000_000 + i };
        let bins: Vec<Bin> = (0..120).map(many).collect();
        let strips = ["app:a", "app:b", "app:c"].map(|table| Strip { table, bins: &bins });
        let html = drawn(&strips);
        assert!(html.len() <= 8_000, "{}", html.len());
        let last = format!("–{}: ", count(all(&bins).batches()));
        assert_eq!(titles(&html).iter().filter(|title| title.contains(&last)).count(), 3, "{html}");
    }

    #[test]
    fn a_table_of_few_kinds_keeps_every_bin_and_one_of_too_many_bins_gets_wider_ones() {
        let bins: Vec<Bin> = (0..120).map(|i| if i == 60 { Bin { failed: 1, ..done(9) } } else { done(10) }).collect();
        let html = drawn(&[Strip { table: "app:a", bins: &bins }]);
        assert_eq!(titles(&html), ["1–600: 600 done", "601–610: 1 failed, 9 done", "611–1,200: 590 done"]);
        let bins = [Bin { leased: 1, ..Bin::default() }; 130];
        let html = drawn(&[Strip { table: "app:a", bins: &bins }]);
        assert_eq!((titles(&html).len(), titles(&html)[64]), (65, "129–130: 2 leased"));
    }

    #[test]
    fn of_many_tables_those_with_failed_batches_come_first_and_the_others_are_counted() {
        let names: Vec<String> = (0..40).map(|n| format!("app:t{n:02}")).collect();
        let failed = [Bin { failed: 1, ..Bin::default() }];
        let fine = [done(1)];
        let strips = |failing: usize| {
            let bins = move |n: usize| n + failing >= 40;
            names.iter().enumerate().map(move |(n, table)| (table, bins(n)))
        };
        let draw = |failing: usize| {
            let strips: Vec<_> = strips(failing)
                .map(|(table, fails)| Strip { table, bins: if fails { &failed } else { &fine } })
                .collect();
            drawn(&strips)
        };
        let html = draw(2);
        let place = |name: &str| html.find(&format!("\"name\">{name}<"));
        assert!(place("app:t38") < place("app:t39") && place("app:t39") < place("app:t00"), "{html}");
        assert!(place("app:t38").is_some() && place("app:t09").is_some() && place("app:t10").is_none(), "{html}");
        assert!(html.contains("<p class=\"more\">and 28 more tables, none with failed batches</p>"), "{html}");
        assert!(draw(20).contains("and 28 more tables, 8 with failed batches"));
    }

    #[test]
    fn where_there_are_no_batches_a_sentence_says_so_and_what_makes_no_sense_is_still_a_strip() {
        assert!(drawn(&[]).contains("no batches yet"));
        assert!(drawn(&[Strip { table: "app:a", bins: &[] }]).contains("no batches yet"));
        let odd =
            [Bin { pending: i64::MAX, leased: -1, failed: i64::MIN, done: i64::MAX }, done(i64::MAX), Bin::default()];
        let html = drawn(&[Strip { table: "app:a", bins: &odd }, Strip { table: "app:b", bins: &[] }]);
        assert!(titles(&html).iter().all(|title| title.contains(" done")), "a piece of nothing: {html}");
    }

    #[test]
    fn a_name_with_markup_is_text() {
        let html = drawn(&[Strip { table: "<b x=\"y\">&'", bins: &[done(1)] }]);
        assert!(!html.contains("<b"), "{html}");
    }
}
