//! What is counted in a column, and the answer of the one statement that counts it.

use super::{CellColumn, Header, SourceError, quoted};
use sqlx::{ColumnIndex, Decode, Row, Type};

/// What is counted in one column.
#[derive(Clone, Debug)]
pub struct Question {
    /// The column.
    pub column: String,
    /// It holds base64.
    pub text: bool,
    /// Headers of retired keys.
    pub retired: Vec<Header>,
    /// Headers of the keys that explain a cell: the column's own keyset's, not retired, not destroyed.
    /// None: its cells need not name a key, so that is not asked.
    pub known: Option<Vec<Header>>,
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

/// The select list that answers `questions`, four counts each. `among` says in SQL whether a column's
/// cell begins with one of some headers (false for NULL).
pub(super) fn select_list(questions: &[Question], among: impl Fn(&Question, &[Header]) -> String) -> String {
    let terms = questions.iter().map(|q| {
        let c = quoted(&q.column);
        let unaccounted = q.known.as_ref().map_or("false".to_owned(), |known| {
            format!("{c} IS NOT NULL AND NOT {}", among(q, &[q.retired.as_slice(), known].concat()))
        });
        format!(
            "count({c}), count(*) - count({c}), count(*) FILTER (WHERE {}), count(*) FILTER (WHERE {unaccounted})",
            among(q, &q.retired)
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

/// Sums counts by the first bytes of cells: five, or seven characters of base64.
pub(super) fn by_key(column: &CellColumn, counts: Vec<(Option<Vec<u8>>, i64)>) -> Vec<KeyCount> {
    let mut keys: Vec<KeyCount> = Vec::new();
    for (start, cells) in counts {
        let mut start = start.unwrap_or_default();
        if column.is_text() {
            start.push(b'A'); // seven characters are five bytes and two bits, which an eighth completes
        }
        let key_id = column.layout.key_id(&start).map(|id| id.0);
        match keys.iter_mut().find(|k| k.key_id == key_id) {
            Some(key) => key.cells += cells,
            None => keys.push(KeyCount { key_id, cells }),
        }
    }
    keys
}
