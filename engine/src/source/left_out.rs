//! What the scan for strays leaves out.

use super::{OWNER, Place};
use reseal_config::ColumnPattern;

/// Reseal's own columns, which may live beside the data: abandoned cells are kept, a wrapped key
/// begins like a cell, and a proof's predicate names headers.
const OWN_COLUMNS: [(&str, &str); 3] =
    [("reseal_quarantine", "abandoned_cell"), ("reseal_keys", "wrapped_dek"), ("reseal_proofs", "predicate")];

/// Registered columns, those that the operator excluded, and our own.
pub(super) struct LeftOut<'a> {
    registered: &'a [Place],
    ignored: Vec<ColumnPattern>,
}

impl<'a> LeftOut<'a> {
    /// What cannot be parsed names nothing: the configuration has refused it.
    pub(super) fn new(registered: &'a [Place], ignored: &[String]) -> Self {
        Self { registered, ignored: ignored.iter().filter_map(|text| ColumnPattern::parse(text)).collect() }
    }

    pub(super) fn is_registered(&self, schema: &str, table: &str, column: &str) -> bool {
        self.registered.iter().any(|(s, t, c)| (s.as_str(), t.as_str(), c.as_str()) == (schema, table, column))
    }

    pub(super) fn column(&self, schema: &str, table: &str, column: &str) -> bool {
        OWN_COLUMNS.contains(&(table, column))
            || table == OWNER
            || self.is_registered(schema, table, column)
            || self.ignored.iter().any(|pattern| pattern.names(schema, table, column))
    }

    /// All of a table, so that nothing of it needs to be asked.
    pub(super) fn table(&self, schema: &str, table: &str) -> bool {
        self.ignored.iter().any(|pattern| pattern.names_all_of(schema, table))
    }

    /// Some column of a table whose columns cannot be listed.
    pub(super) fn is_named(&self, schema: &str, table: &str) -> bool {
        self.ignored.iter().any(|pattern| pattern.is_about(schema, table))
    }
}
