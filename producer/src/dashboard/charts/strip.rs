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
/// Pieces of all tables, once neighbours that are wholly done, or wholly wait, are one: about 12 KB.
const PIECES: usize = 140;
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
/// many are not shown. It takes about 12 KB whatever the number of batches, at the cost of wider pieces where
/// they are very mixed.
pub(crate) fn strip(strips: &[Strip<'_>]) -> String {
    if strips.iter().all(|strip| strip.bins.is_empty()) {
        return "<p class=\"nothing\">no batches yet: planning cuts the tables into batches</p>".to_owned();
    }
    let mut shown: Vec<&Strip<'_>> = strips.iter().collect();
    if shown.len() > TABLES {
        shown.sort_by_key(|strip| all(strip.bins).failed == 0);
    }
    let hidden = shown.split_off(shown.len().min(TABLES));
    let least = shown.iter().map(|strip| strip.bins.len().div_ceil(BINS)).max().unwrap_or(1).max(1);
    let most = shown.iter().map(|strip| strip.bins.len()).max().unwrap_or(1);
    let total = |width: usize| shown.iter().map(|strip| pieces(strip.bins, width).len()).sum::<usize>();
    let width = (least..most).find(|width| total(*width) <= PIECES).unwrap_or(most);

    let mut html = format!("<div class=\"strips\">{LEGEND}");
    for strip in shown {
        html += &table(strip, width);
    }
    html + &more(&hidden) + "</div>"
}

const LEGEND: &str = "<ul class=\"legend\">\
     <li><svg width=\"12\" height=\"26\" aria-hidden=\"true\"><rect class=\"f\" width=\"12\"/></svg> has failed batches</li>\
     <li><svg width=\"12\" height=\"26\" aria-hidden=\"true\"><rect class=\"l\" width=\"12\"/></svg> leased</li>\
     <li><svg width=\"60\" height=\"26\" aria-hidden=\"true\"><rect class=\"d1\" width=\"12\"/><rect class=\"d2\" x=\"12\" width=\"12\"/>\
     <rect class=\"d3\" x=\"24\" width=\"12\"/><rect class=\"d4\" x=\"36\" width=\"12\"/><rect class=\"d5\" x=\"48\" width=\"12\"/></svg> \
     partly to wholly done</li>\
     <li><svg width=\"12\" height=\"26\" aria-hidden=\"true\"><rect class=\"p\" width=\"12\"/></svg> pending</li></ul>";

/// One table's strip, of pieces of so many bins.
fn table(strip: &Strip<'_>, width: usize) -> String {
    let name = escaped(strip.table);
    let sum = all(strip.bins);
    let told = format!("{}: {}", counted(sum.batches(), "batch", "batches"), sum.told());
    let mut html = format!(
        "<div class=\"strip\"><p><span class=\"name\">{name}</span> <span class=\"numbers\">{told}</span></p>\
         <svg role=\"img\" aria-label=\"{name}, {told}\" width=\"100%\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\">",
        strip.bins.len().max(1)
    );
    let mut before = 0_i64;
    for piece in pieces(strip.bins, width) {
        let after = before.saturating_add(piece.bin.batches());
        let which = match after.saturating_sub(before) {
            1 => format!("batch {}", count(after)),
            _ => format!("batches {}–{}", count(before.saturating_add(1)), count(after)),
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
