//! What else is going on in a source: transactions that are open, copies that are behind.

/// A transaction that is open in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTransaction {
    /// Names this transaction and no later one.
    pub id: String,
    /// Whose it is and since when, for people.
    pub what: String,
}

/// A copy of a source that could take its place and has not replayed everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyBehind {
    /// What the source's server calls it.
    pub name: String,
    /// How far it is behind, or why that cannot be seen, for people.
    pub what: String,
}
