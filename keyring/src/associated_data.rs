//! What a cell is bound to, as a template: `messages.encrypted_content:{id}`

mod ambiguity;

pub use ambiguity::{Ambiguity, KeyKind};

/// A parsed template, ready to render for any row of its table
///
/// Names in braces are primary key columns; `{{` and `}}` are literal braces;
/// the empty text means no associated data. Columns of varying length need a separator
/// that neither can contain, or two rows can render the same bytes: see [`Template::ambiguity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    arity: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Column(usize),
}

impl Template {
    /// Refuses whatever does not name primary key columns only
    ///
    /// # Errors
    ///
    /// An unknown column, a brace that is not closed, one that was not opened.
    pub fn parse(text: &str, primary_key: &[String]) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if let Some(after) = after.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(TemplateError::NotOpened(text.to_owned()));
            }
            let Some((column, after)) = after.split_once('}') else {
                return Err(TemplateError::NotClosed(text.to_owned()));
            };
            let Some(index) = primary_key.iter().position(|known| known == column) else {
                return Err(TemplateError::UnknownColumn { column: column.to_owned(), known: primary_key.to_vec() });
            };
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Column(index));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self { pieces, arity: primary_key.len() })
    }

    /// The row's associated data
    ///
    /// `key` holds the primary key's canonical texts, in the order that `parse`
    /// was given: integers in decimal, uuids in lower case with hyphens, bytes
    /// in hex, text as it is. Nothing is canonicalised here.
    ///
    /// # Panics
    ///
    /// When `key` has another number of columns than the primary key.
    #[must_use]
    pub fn render(&self, key: &[String]) -> Vec<u8> {
        assert_eq!(key.len(), self.arity, "one text per primary key column");
        let mut out = Vec::new();
        for piece in &self.pieces {
            let text = match piece {
                Piece::Text(text) => text,
                Piece::Column(index) => &key[*index],
            };
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// Names at least one primary key column: an application that changes the
    /// key must re-encrypt in the same `UPDATE`
    ///
    /// A template that names only some columns of a composite key still lets
    /// cells be swapped between rows that share those.
    #[must_use]
    pub fn binds_to_row(&self) -> bool {
        let is_column = |piece: &Piece| matches!(piece, Piece::Column(_));
        self.pieces.iter().any(is_column)
    }
}

/// Why a text is no template
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Only primary key columns can be named
    #[error("{column:?} is not a primary key column: known are {}", known.join(", "))]
    UnknownColumn {
        /// The name in the braces
        column: String,
        /// The primary key
        known: Vec<String>,
    },
    /// A `{` without `}`; holds the template
    #[error("a brace is not closed in {0:?}: write {{{{ for a literal brace")]
    NotClosed(String),
    /// A `}` without `{`; holds the template
    #[error("a brace is closed that was not opened in {0:?}: write }}}} for a literal brace")]
    NotOpened(String),
}

impl TemplateError {
    /// Stable: what configuration errors are grouped by
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownColumn { .. } => "template_unknown_column",
            Self::NotClosed(_) => "template_not_closed",
            Self::NotOpened(_) => "template_not_opened",
        }
    }
}
