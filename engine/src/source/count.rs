//! What is counted in a column, and the answer of the one statement that counts it.

use super::{Header, SourceError, quoted};
use sqlx::{ColumnIndex, Decode, Row, Type};

/// What is counted in one column.
#[derive(Clone, Debug)]
pub struct Question {
    /// The column.
    pub column: String,
    /// Headers of retired keys.
    pub retired: Vec<Header>,
    /// Headers of the keys that explain a cell: the column's own keyset's, not retired, not destroyed.
    pub known: Vec<Header>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Answer {
    /// Cells that are not NULL.
    pub cells: i64,
    /// Cells that are NULL.
    pub nulls: i64,
    /// Cells under a retired key.
    pub under_retired: i64,
    /// Cells that neither a known nor a retired key explains.
    pub unaccounted: i64,
}

/// Cells under one key in one column.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct KeyCount {
    /// The key id in the header; none: not a cell's header at all.
    pub key_id: Option<u32>,
    /// So many cells.
    pub cells: i64,
}

/// The select list that answers `questions`, four counts each. `header` gives the first bytes of a
/// column, `among` whether they are one of some headers.
pub(super) fn select_list(
    questions: &[Question],
    header: impl Fn(&str) -> String,
    among: impl Fn(&str, &[Header]) -> String,
) -> String {
    let terms = questions.iter().map(|q| {
        let c = quoted(&q.column);
        let (first, explained) = (header(&c), [q.retired.as_slice(), &q.known].concat());
        format!(
            "count({c}), count(*) - count({c}), count(*) FILTER (WHERE {}), \
             count(*) FILTER (WHERE {c} IS NOT NULL AND NOT {})",
            among(&first, &q.retired),
            among(&first, &explained)
        )
    });
    terms.collect::<Vec<_>>().join(", ")
}

/// Reads the answers to `questions` from the row that [`select_list`] gave.
pub(super) fn answers<R: Row>(row: &R, questions: &[Question]) -> Result<Vec<Answer>, SourceError>
where
    usize: ColumnIndex<R>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let answer = |i: usize| {
        Ok(Answer {
            cells: row.try_get(4 * i)?,
            nulls: row.try_get(4 * i + 1)?,
            under_retired: row.try_get(4 * i + 2)?,
            unaccounted: row.try_get(4 * i + 3)?,
        })
    };
    (0..questions.len()).map(answer).collect()
}
