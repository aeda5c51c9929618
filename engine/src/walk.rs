//! Cutting a table into batches, a stretch at a time: what planning writes down and a dry run counts.

use crate::{
    engine::Target,
    error::EngineError,
    source::{KeyType, Range, Shape},
};
use reseal_entities::ledger::plan::Bound;

/// Batches that are cut at once, and written in one transaction.
const STRETCH: i64 = 200;

/// A walk along one table's primary key.
pub(crate) struct Walk<'a> {
    target: &'a Target,
    range: Range,
    batch_rows: i64,
}

impl<'a> Walk<'a> {
    /// From `after` on, up to `max_key`.
    pub(crate) fn new(target: &'a Target, after: Option<String>, max_key: String, batch_rows: i64) -> Self {
        Self { target, range: Range { after, up_to: Some(max_key) }, batch_rows }
    }

    /// The next batch ends, and whether they are the last ones.
    pub(crate) async fn stretch(&mut self) -> Result<(Vec<Bound>, bool), EngineError> {
        let Target { source, shape, .. } = self.target;
        let bounds = source.bounds(shape, &self.range, self.batch_rows, STRETCH).await?;
        let max_key = self.range.up_to.as_deref().unwrap_or_default();
        let last =
            (bounds.len() as i64) < STRETCH || bounds.last().is_none_or(|b| reaches(shape, &b.up_to_key, max_key));
        self.range.after = bounds.last().map(|b| b.up_to_key.clone());
        Ok((bounds, last))
    }
}

/// True when `key` is the largest planned key. A row that vanished meanwhile ends the walk by giving
/// fewer bounds, so equality is enough.
fn reaches(shape: &Shape, key: &str, max_key: &str) -> bool {
    match shape.key.as_slice() {
        [one] if one.ty == KeyType::Integer => key.parse::<i64>().ok() >= max_key.parse::<i64>().ok(),
        _ => key == max_key,
    }
}
