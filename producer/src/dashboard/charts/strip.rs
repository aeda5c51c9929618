//! A heat strip per table: how its batches stand, over the key space.

use super::escaped;

/// How many batches of one piece of a table's key space stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bin {
    /// Batches that wait.
    pub(crate) pending: i64,
    /// Batches that workers hold.
    pub(crate) leased: i64,
    /// Batches that have failed.
    pub(crate) failed: i64,
    /// Batches that are done.
    pub(crate) done: i64,
}

/// One table.
pub(crate) struct Strip<'a> {
    /// Its name.
    pub(crate) table: &'a str,
    /// Its key space in equal pieces, in the order of its keys.
    pub(crate) bins: &'a [Bin],
}

/// The strips of a rotation.
pub(crate) fn strip(strips: &[Strip<'_>]) -> String {
    strips.iter().map(|strip| format!("<p>{}</p>", escaped(strip.table))).collect()
}
