//! The batches of one piece of a key space: how many stand where, and what of it asks for attention first.

use crate::dashboard::numbers::count;

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

/// What a bin looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Failed,
    Leased,
    /// Something is done, and so many quarters of it.
    Partly(u8),
    Done,
    Pending,
}

impl Bin {
    /// What asks for attention first: what has failed, then what is leased, then what is done.
    pub(super) fn look(&self) -> Look {
        match self {
            Self { failed: 1.., .. } => Look::Failed,
            Self { leased: 1.., .. } => Look::Leased,
            Self { done: ..=0, .. } => Look::Pending,
            Self { pending: ..=0, .. } => Look::Done,
            Self { done, .. } => Look::Partly((*done as f64 * 4.0 / self.batches() as f64) as u8),
        }
    }

    pub(super) fn batches(&self) -> i64 {
        self.parts().iter().fold(0, |sum, (n, _)| n.saturating_add(sum))
    }

    /// `3 failed, 80 done, 17 pending`; what there is none of is left out.
    pub(super) fn told(&self) -> String {
        let parts = self.parts().into_iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{} {word}", count(n)));
        parts.collect::<Vec<_>>().join(", ")
    }

    /// Both together.
    pub(super) fn and(&self, other: &Self) -> Self {
        let sum = |a: i64, b: i64| a.max(0).saturating_add(b.max(0));
        Self {
            pending: sum(self.pending, other.pending),
            leased: sum(self.leased, other.leased),
            failed: sum(self.failed, other.failed),
            done: sum(self.done, other.done),
        }
    }

    fn parts(&self) -> [(i64, &'static str); 4] {
        let parts = [(self.failed, "failed"), (self.leased, "leased"), (self.done, "done"), (self.pending, "pending")];
        parts.map(|(n, word)| (n.max(0), word))
    }
}

impl Look {
    /// The class in the style sheet, in as few letters as there are.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Failed => "f",
            Self::Leased => "l",
            Self::Partly(0) => "d1",
            Self::Partly(1) => "d2",
            Self::Partly(2) => "d3",
            Self::Partly(_) => "d4",
            Self::Done => "d5",
            Self::Pending => "p",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bin(pending: i64, leased: i64, failed: i64, done: i64) -> Bin {
        Bin { pending, leased, failed, done }
    }

    #[test]
    fn what_asks_for_attention_first_is_seen() {
        let class = |bin: Bin| bin.look().class();
        assert_eq!(class(bin(99, 9, 1, 99)), "f");
        assert_eq!(class(bin(99, 1, 0, 99)), "l");
        assert_eq!(class(bin(99, 0, 0, 0)), "p");
        assert_eq!(class(bin(0, 0, 0, 1)), "d5");
        let quarters = [1, 24, 25, 50, 75, 99].map(|done| class(bin(100 - done, 0, 0, done)));
        assert_eq!(quarters, ["d1", "d1", "d2", "d3", "d4", "d4"], "whole only when it is done");
        assert_eq!(class(bin(1, 0, 0, i64::MAX)), "d4");
    }

    #[test]
    fn a_bin_tells_what_there_is_of_it() {
        assert_eq!(bin(1_000, 2, 3, 80).told(), "3 failed, 2 leased, 80 done, 1,000 pending");
        assert_eq!(bin(20, 0, 0, 80).told(), "80 done, 20 pending");
        assert_eq!((bin(-1, 0, 0, 0).told(), bin(i64::MAX, 1, -7, 1).batches()), (String::new(), i64::MAX));
    }
}
